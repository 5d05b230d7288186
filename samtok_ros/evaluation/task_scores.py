# SPDX-License-Identifier: Apache-2.0
"""Is an answer right? Judged against the scene, not against one wording.

Each function takes what the model said about a scene and returns figures in 0..1 by name.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.masks.scores import iou, overlap
from samtok_ros.training.descriptors import (
    COLOUR_WORDS,
    SHAPE_PLURALS,
    SIZE_WORDS,
    Descriptor,
    Truth,
    holds,
)
from samtok_ros.training.question import Question
from samtok_ros.training.texts import write
from samtok_ros.words.answers import NO_TARGET

IOU_BAR = 0.5
_RELATION = '(left of|right of|in front of|behind)'
_CAPTION = re.compile(rf'An? ([a-z ]+?)(?:, {_RELATION} the ([a-z ]+))?\.')
_BETWEEN = re.compile(rf'The ([a-z ]+) is {_RELATION} the ([a-z ]+)\.')
_FENCE = re.compile(r'```json\n(.*)\n```', re.DOTALL)


@dataclass(frozen=True)
class SaidRegion:
    """One span of an answer.

    Attributes:
        words: the span as it stands in the answer.
        label: phrase that the answer gives it.
        mask: (H, W) bool.
    """

    words: str
    label: str
    mask: np.ndarray


@dataclass(frozen=True)
class SaidAnswer:
    """What a model answered.

    Attributes:
        text: with the spans.
        regions: of the spans, in order.
    """

    text: str
    regions: tuple[SaidRegion, ...]


@dataclass(frozen=True)
class SceneTruth:
    """What is so.

    Attributes:
        things: the objects of the scene by id.
        segmentation: (H, W) uint8 object ids.
    """

    things: Mapping[int, object]
    segmentation: np.ndarray

    def mask(self, object_ids: Sequence[int]) -> np.ndarray:
        """Return the (H, W) bool union of the masks of some objects."""
        return np.isin(self.segmentation, object_ids)

    def shown_by(self, mask: np.ndarray) -> int | None:
        """Return the id of the object whose mask this is, None if it is nobody's."""
        ious = {number: iou(mask, self.mask([number])) for number in self.things}
        best = max(ious, key=ious.__getitem__, default=None)
        return best if best is not None and ious[best] >= IOU_BAR else None


Scores = dict[str, float]
Score = Callable[[Question, SaidAnswer, SceneTruth], Scores]


def region_caption(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """Size, colour and shape all right; and what is said of its place true."""
    thing = truth.things[question.regions[0]]
    found = _CAPTION.fullmatch(said.text)
    if not found:
        return {'attributes': 0.0, 'place': 0.0}
    anchors = [] if found[3] is None else [
        other for other in named(found[3], truth.things.values()) if other is not thing]
    is_true = any(holds(found[2], thing, anchor) is Truth.TRUE for anchor in anchors)
    described = descriptor_of(found[1])
    return {'attributes': float(described is not None and described.size is not None
                                and described.colour is not None and described.shape is not None
                                and described.matches(thing)),
            'place': float(is_true)}


def relation(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """Both things named right, and a relation that is true."""
    first, second = (truth.things[number] for number in question.regions)
    found = _BETWEEN.fullmatch(said.text)
    if not found:
        return {'names': 0.0, 'relation': 0.0}
    names = [descriptor_of(words) for words in (found[1], found[3])]
    right = all(name is not None and name.colour is not None and name.shape is not None
                and name.matches(thing)
                for name, thing in zip(names, (first, second), strict=True))
    return {'names': float(right),
            'relation': float(holds(found[2], first, second) is Truth.TRUE)}


def exact(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """Exactly the one right answer."""
    return {'right': float(said.text == write(question.reply, {}))}


def segmentation(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """IoU of the union of all masks with the union of the targets; no target must be said."""
    if not question.targets:
        if write(question.reply, {}) != NO_TARGET:
            return exact(question, said, truth)
        return {'no_target': float(said.text == NO_TARGET)}
    found = np.zeros(truth.segmentation.shape, np.bool_)
    for region in said.regions:
        found |= region.mask
    return {'giou': overlap(found, truth.mask(question.targets)).iou}


def categories(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """Objects that were found under their own name, among those there are and those said."""
    shown = [(truth.shown_by(region.mask), region.label) for region in said.regions]
    right = {number for number, label in shown
             if number in question.targets and truth.things[number].shape == label}
    return _recall_and_precision(len(right), len(question.targets), len(shown))


def grounded_caption(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """Objects with a phrase that is true of them and a mask that is theirs."""
    right = set()
    for region in said.regions:
        number = truth.shown_by(region.mask)
        words = region.label.removeprefix('an ').removeprefix('a ')
        described = descriptor_of(words)
        if number is not None and described is not None and described.shape and (
                described.matches(truth.things[number])):
            right.add(number)
    return _recall_and_precision(len(right), len(question.targets), len(said.regions))


def scene_graph(question: Question, said: SaidAnswer, truth: SceneTruth) -> Scores:
    """Triplets with right labels, right masks and a true predicate."""
    wanted = len(question.targets) // 2
    by_words = {region.words: region for region in said.regions}
    fenced = _FENCE.fullmatch(said.text)
    try:
        triplets = json.loads(fenced[1]) if fenced else []
        right = {triplet for item in triplets
                 if (triplet := _true_triplet(item, by_words, truth))}
    except (ValueError, TypeError, KeyError, AttributeError):
        return _recall_and_precision(0, wanted, 0)
    return _recall_and_precision(len(right), wanted, len(triplets))


def _true_triplet(item: dict, by_words: Mapping[str, SaidRegion], truth: SceneTruth):
    """Return (subject id, predicate, object id) when all of it is right, else None."""
    ids = []
    for end in ('subject', 'object'):
        number = truth.shown_by(by_words[item[end]['mask_2d']].mask)
        described = descriptor_of(item[end]['label'])
        if number is None or described is None or not described.matches(truth.things[number]):
            return None
        ids.append(number)
    ends = [truth.things[number] for number in ids]
    is_true = holds(item['predicate'], *ends) is Truth.TRUE
    return (ids[0], item['predicate'], ids[1]) if is_true and ids[0] != ids[1] else None


SCORES: dict[str, Score] = {
    'caption': region_caption, 'relation': relation, 'choice': exact, 'relative': segmentation,
    'rounds': segmentation, 'categories': categories, 'grounded caption': grounded_caption,
    'scene graph': scene_graph}
"""How the answers of each task are judged."""


def descriptor_of(words: str) -> Descriptor | None:
    """Read a noun phrase such as 'large red mug'; None when a word is not known."""
    found: dict[str, str] = {}
    for word in words.split():
        kind = ('size' if word in SIZE_WORDS else 'colour' if word in COLOUR_WORDS
                else 'shape' if word in SHAPE_PLURALS else None)
        if kind is None or kind in found:
            return None
        found[kind] = word
    return Descriptor(**found) if found else None


def named(words: str, things) -> list:
    """Return the things that a noun phrase is true of."""
    descriptor = descriptor_of(words)
    return [] if descriptor is None else descriptor.among(things)


def _recall_and_precision(right: int, wanted: int, said: int) -> Scores:
    # More may be right than was wanted: what is asked for is a choice of all that is so.
    return {'recall': min(right / wanted, 1.0), 'precision': right / said if said else 0.0}
