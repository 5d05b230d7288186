# SPDX-License-Identifier: Apache-2.0
"""Sample -> Result: encode the regions of the question, ask, and write down the masks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import DeviceError, ImageError, SamtokError
from samtok_ros.evaluation.datasets.coco_masks import coco_to_mask, mask_to_coco
from samtok_ros.evaluation.datasets.panoptic import PanopticSegment
from samtok_ros.evaluation.datasets.result import DrawnMask, Result
from samtok_ros.evaluation.datasets.sample import Sample
from samtok_ros.image.zoom import ZoomRule
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import Instruction, RegionReference, Round, joined
from samtok_ros.pipeline import Pipeline
from samtok_ros.regions import Answer
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary


@dataclass(frozen=True)
class Asking:
    """How samples are asked.

    Attributes:
        limits: of each answer.
        zoom: descriptions of small regions get an enlarged picture of them; None: never.
    """

    limits: GenerationLimits
    zoom: ZoomRule | None = None


def ask_sample(pipeline: Pipeline, number: int, sample: Sample, image_rgb: np.ndarray,
               how: Asking) -> Result:
    """Ask one sample by free generation; one that cannot be asked becomes a skipped result.

    Args:
        pipeline: the model.
        number: of the sample in its data set.
        sample: what to ask.
        image_rgb: (H, W, 3) uint8, its image.
        how: limits and zoom.
    Raises:
        DeviceError: the device is out of memory.
    """
    size = image_rgb.shape[:2]
    try:
        if sample.size_hw is not None and tuple(sample.size_hw) != size:
            raise ImageError('image is not of the size that the data set says',
                             expected='{} x {}'.format(*sample.size_hw),
                             got='{} x {}'.format(*size))
        truth = tuple(
            DrawnMask(mask_to_coco(_decoded(mask.segmentation, size)), mask.label, mask.is_crowd)
            for mask in sample.truth)
        regions = [_decoded(mask, size) for mask in sample.regions]
        started_s = time.monotonic()
        answer = _ask(pipeline, sample, image_rgb, regions, how)
    except DeviceError:
        raise
    except SamtokError as error:
        return skipped_result(number, sample, error.message, str(error))
    said = tuple(DrawnMask(mask_to_coco(region.mask), region.label) for region in answer.regions)
    return Result(
        number, sample.sample_id, str(sample.image), sample.question, answer.text,
        answer.finish_reason, len(answer.malformed), size,
        tuple(DrawnMask(mask_to_coco(mask)) for mask in regions), said, truth, sample.facts,
        round(time.monotonic() - started_s, 4))


def skipped_result(number: int, sample: Sample, reason: str, detail: str) -> Result:
    """Return the result of a sample that cannot be asked."""
    return Result(number, sample.sample_id, str(sample.image), sample.question,
                  facts=sample.facts, skipped=reason, detail=detail)


def _ask(pipeline: Pipeline, sample: Sample, image_rgb: np.ndarray,
         regions: Sequence[np.ndarray], how: Asking) -> Answer:
    if how.zoom is not None:
        return pipeline.describe_region(image_rgb, regions[0], how.zoom, how.limits)
    vocabulary = pipeline.language_model.vocabulary
    question, pointers = _pointed(sample.question, regions, vocabulary)
    history = [Round(_instruction(earlier.question, vocabulary), earlier.answer)
               for earlier in sample.earlier]
    for first in sample.asked_before:
        answer = pipeline.ask(image_rgb, first, (), how.limits, history=history)
        history.append(Round((first,), answer.text))
    return pipeline.ask(image_rgb, question, pointers, how.limits, history=history)


def _decoded(segmentation: object, size_hw: tuple[int, int]) -> np.ndarray:
    if isinstance(segmentation, PanopticSegment):
        return segmentation.mask(size_hw)
    return coco_to_mask(segmentation, size_hw)


def _pointed(
    question: str, regions: Sequence[np.ndarray], vocabulary: MaskVocabulary,
) -> tuple[str, list[np.ndarray | RegionReference]]:
    """Make references of the mask words in a question; typed ones would be taken literally."""
    pointers: list[np.ndarray | RegionReference] = list(regions)
    pieces: list[str] = []
    for part in _instruction(question, vocabulary):
        if isinstance(part, RegionReference):
            pointers.append(part)
            part = f'<region:{len(pointers)}>'
        pieces.append(part)
    return ''.join(pieces), pointers


def _instruction(text: str, vocabulary: MaskVocabulary) -> Instruction:
    parts: list[str | RegionReference] = []
    at = 0
    for span in SpanParser(vocabulary).parse(text).spans:
        parts += [text[at:span.start], RegionReference(span.codes)]
        at = span.end
    return joined([*parts, text[at:]])
