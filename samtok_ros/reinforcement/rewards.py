# SPDX-License-Identifier: Apache-2.0
"""Textual rewards: how right an answer is by its words alone. No mask is drawn.

Spans are compared as exact strings. Sums of these rewards, with equal weights, make up the reward
of a task:

    referring, with thinking   graded_match + answer_format + no_repeat of thinking and of answer
    nothing to find            no_target + no_repeat of the answer
    grounded caption           phrase_span_match + phrase_match + no_repeat of the answer
    scene graph                triplet_match + no_triplet_repeat

Source: samtok-spec 5.3.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from samtok_ros.words.answers import NO_TARGET

SPAN = re.compile(r'<\|mt_start\|>(<\|mt_\d{4}\|>)(<\|mt_\d{4}\|>)<\|mt_end\|>')
_WORD = re.compile(r'<\|mt_\d{4}\|>')
_PHRASE = re.compile(r'<\|object_ref_start\|>((?:(?!<\|object_ref_).)*)<\|object_ref_end\|>',
                     re.DOTALL)
_PHRASE_SPAN = re.compile(r'<\|object_ref_end\|>\s*(' + SPAN.pattern + ')')
_FORMAT = re.compile(r'<think>.*?</think>\s*<answer>.*?</answer>', re.DOTALL)
_THINKING = re.compile(r'<think>(.*?)</think>', re.DOTALL)
_FENCE = re.compile(r'```json\n(.*)\n```', re.DOTALL)

FIRST_WORD_ONLY = 0.4
SAME_LABELS, PER_SPAN = 0.5, 0.25
SILENT = 0.2
MOST_REPEATS, MOST_TRIPLET_REPEATS = 3, 2


@dataclass(frozen=True)
class Triplet:
    """One edge of a scene graph; spans and labels as they stand in the answer."""

    subject_span: str
    subject_label: str
    predicate: str
    object_span: str
    object_label: str

    @property
    def labels(self) -> tuple[str, str, str]:
        """Everything but the spans."""
        return self.subject_label, self.predicate, self.object_label


def spans_of(text: str) -> list[str]:
    """Return the well-formed spans of a text, in order, repetitions included."""
    return [found[0] for found in SPAN.finditer(text)]


def exact_match(predicted: Sequence[str], true: Sequence[str]) -> float:
    """Return N_TP / max(N_pred, N_gt), the published reward of mask generation.

    A span that is said twice is right once and counts twice, so repeating costs. Nothing said where
    nothing is to be found is right.

    Args:
        predicted: spans of the answer.
        true: spans of the true answer.
    """
    return _matched(predicted, true, lambda one, other: float(one == other))


def graded_match(predicted: Sequence[str], true: Sequence[str]) -> float:
    """Return the match with part of the credit for a right first word.

    The first word alone draws a coarse mask. Its credit makes a sparse reward denser.

    Source: differs: the published code also grades a wrong end word, which `spans_of` never gives.
    """
    return _matched(predicted, true, _grade)


def answer_format(text: str) -> float:
    """Return 1 if the whole text is a thinking part and an answer part in their tags, else 0."""
    return float(_FORMAT.fullmatch(text.strip()) is not None)


def thinking_part(text: str) -> str:
    """Return what stands in the thinking tags, '' without them."""
    found = _THINKING.search(text)
    return found[1] if found else ''


def no_repeat(text: str) -> float:
    """Return 0 if a span stands in the text more than three times, else 1."""
    return float(max(Counter(spans_of(text)).values(), default=0) <= MOST_REPEATS)


def no_target(text: str) -> float:
    """Return the reward where nothing is to be found: 1 for saying so, 0.2 for no mask word."""
    if _WORD.search(text):
        return 0.0
    return 1.0 if NO_TARGET in text else SILENT


def phrase_span_match(text: str, truth: str) -> float:
    """Return the graded match of those spans that follow a phrase."""
    predicted, true = ([found[1] for found in _PHRASE_SPAN.finditer(part)]
                       for part in (text, truth))
    return graded_match(predicted, true)


def phrase_match(text: str, truth: str) -> float:
    """Return how many phrases are right, over the greater of both numbers; case does not count."""
    predicted, true = ([found[1].strip().lower() for found in _PHRASE.finditer(part)]
                       for part in (text, truth))
    return _matched(predicted, true, lambda one, other: float(one == other))


def triplets_of(text: str) -> list[Triplet]:
    """Read a scene graph; one that is damaged has no triplets."""
    fenced = _FENCE.search(text)
    try:
        rows = json.loads(fenced[1]) if fenced else []
        return [Triplet(row['subject']['mask_2d'], row['subject']['label'], row['predicate'],
                        row['object']['mask_2d'], row['object']['label']) for row in rows]
    except (ValueError, TypeError, KeyError):
        return []


def triplet_match(predicted: Sequence[Triplet], true: Sequence[Triplet]) -> float:
    """Return the match of scene graphs, with part of the credit for right labels."""
    return _matched(predicted, true, _grade_triplet)


def no_triplet_repeat(predicted: Sequence[Triplet]) -> float:
    """Return 0 if a triplet is said more than twice, else 1."""
    return float(max(Counter(predicted).values(), default=0) <= MOST_TRIPLET_REPEATS)


def _matched(predicted: Sequence, true: Sequence, grade: Callable) -> float:
    """Sum the best grade of each different prediction, over the greater of both numbers."""
    if not predicted and not true:
        return 1.0
    unique = dict.fromkeys(predicted)
    total = sum(max((grade(one, other) for other in true), default=0.0) for one in unique)
    return total / max(len(predicted), len(true))


def _grade(predicted: str, true: str) -> float:
    if predicted == true:
        return 1.0
    first, other = SPAN.fullmatch(predicted), SPAN.fullmatch(true)
    return FIRST_WORD_ONLY if first and other and first[1] == other[1] else 0.0


def _grade_triplet(predicted: Triplet, true: Triplet) -> float:
    if predicted == true:
        return 1.0
    if predicted.labels != true.labels:
        return 0.0
    return SAME_LABELS + PER_SPAN * (_grade(predicted.subject_span, true.subject_span)
                                     + _grade(predicted.object_span, true.object_span))
