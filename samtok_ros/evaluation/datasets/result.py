# SPDX-License-Identifier: Apache-2.0
"""What a model answered to one sample: a line of a results file, enough for every figure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.coco_masks import coco_to_mask


@dataclass(frozen=True)
class DrawnMask:
    """A mask of a result.

    Attributes:
        coco: size and compressed run lengths.
        label: phrase or category.
        is_crowd: of a true mask that stands for a group.
    """

    coco: Mapping[str, object]
    label: str = ''
    is_crowd: bool = False

    @property
    def mask(self) -> np.ndarray:
        """The (H, W) bool mask."""
        return coco_to_mask(self.coco)


@dataclass(frozen=True)
class Result:
    """One sample, asked or left out.

    Attributes:
        number: of the sample in its data set, from 0; what resuming and sharding go by.
        sample_id: name of the sample in its data set.
        image: path of the image.
        question: what was asked.
        text: the answer, mask words included.
        finish_reason: see regions.FinishReason.
        malformed: damaged spans in the answer.
        size_hw: of the image.
        regions: masks that the question pointed at, in order.
        said: masks of the answer, in order.
        truth: masks of the right answer.
        facts: see Sample.
        seconds: that the answer took.
        skipped: why the sample was left out; empty if it was asked.
        detail: of the reason.
    """

    number: int
    sample_id: str
    image: str = ''
    question: str = ''
    text: str = ''
    finish_reason: str = ''
    malformed: int = 0
    size_hw: tuple[int, int] = (0, 0)
    regions: tuple[DrawnMask, ...] = ()
    said: tuple[DrawnMask, ...] = ()
    truth: tuple[DrawnMask, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0
    skipped: str = ''
    detail: str = ''

    def union(self, masks: tuple[DrawnMask, ...]) -> np.ndarray:
        """Return the (H, W) bool union of its `said` or `truth`; empty without any."""
        found = np.zeros(self.size_hw, np.bool_)
        for drawn in masks:
            found |= drawn.mask
        return found

    def to_line(self) -> str:
        """Return one line of JSON without its end; from_line reads it back."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> 'Result':
        """Read a line.

        Raises:
            ConfigError: it is no result.
        """
        try:
            fields = json.loads(line)
            for name in ('regions', 'said', 'truth'):
                fields[name] = tuple(DrawnMask(**drawn) for drawn in fields[name])
            fields['size_hw'] = tuple(fields['size_hw'])
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError('a line of the results is damaged', got=f'{error!r:.80}',
                              fix='remove the line and run the same command again') from error
