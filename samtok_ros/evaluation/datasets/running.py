# SPDX-License-Identifier: Apache-2.0
"""Runs a model over its share of a data set, from where an earlier run ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.evaluation.datasets.asking import Asking, ask_sample, skipped_result
from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.datasets.run_directory import RunDirectory, Share
from samtok_ros.evaluation.datasets.sample import Sample, Samples, Skipped
from samtok_ros.pipeline import Pipeline

LoadImage = Callable[[Path], np.ndarray]


@dataclass(frozen=True)
class Work:
    """What one process does.

    Attributes:
        run: folder of the run, its manifest written.
        share: which samples.
        how: limits and zoom.
        load_image: path -> (H, W, 3) uint8, as people see it; raises ImageError.
        most_samples: the data set ends after so many; None: at its end.
    """

    run: RunDirectory
    share: Share
    how: Asking
    load_image: LoadImage
    most_samples: int | None = None


def run_samples(pipeline: Pipeline, samples: Samples, work: Work) -> Iterator[Result]:
    """Ask every sample of the share that was not asked yet; write and give each result.

    What an earlier run skipped is tried again, as images or packages may have come since.

    Args:
        pipeline: the model.
        samples: of the whole data set, in its order.
        work: what this process does.
    Raises:
        SamtokError: the data set is damaged, or the device is out of memory; what is written stays
            and the next run goes on behind it.
    """
    answered = work.run.answered()
    images = _LastImage(work.load_image)
    with work.run.writer(work.share) as writer:
        for number, sample in enumerate(islice(samples, work.most_samples)):
            if not work.share.takes(number) or number in answered:
                continue
            result = _result(pipeline, number, sample, images, work.how)
            writer.add(result)
            yield result


def _result(pipeline: Pipeline, number: int, sample: Sample | Skipped, images: '_LastImage',
            how: Asking) -> Result:
    if isinstance(sample, Skipped):
        return Result(number, sample.sample_id, facts=sample.facts, skipped=sample.reason,
                      detail=sample.detail)
    if not sample.image.is_file():
        return skipped_result(number, sample, 'image is missing', str(sample.image))
    try:
        image_rgb = images.get(sample.image)
    except ImageError as error:
        return skipped_result(number, sample, 'image cannot be read', str(error))
    return ask_sample(pipeline, number, sample, image_rgb, how)


class _LastImage:
    """Keeps the last image, as neighbouring samples often share it."""

    def __init__(self, load: LoadImage) -> None:
        self._load = load
        self._last: tuple[Path, np.ndarray] | None = None

    def get(self, path: Path) -> np.ndarray:
        if self._last is None or self._last[0] != path:
            self._last = path, self._load(path)
        return self._last[1]
