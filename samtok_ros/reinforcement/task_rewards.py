# SPDX-License-Identifier: Apache-2.0
"""Which rewards count for which task."""

from collections.abc import Callable, Sequence

from samtok_ros.reinforcement.prompts import ScenePrompt
from samtok_ros.reinforcement.rewards import (
    exact_match,
    graded_match,
    no_repeat,
    no_target,
    no_triplet_repeat,
    phrase_match,
    phrase_span_match,
    spans_of,
    triplet_match,
    triplets_of,
)
from samtok_ros.words.answers import NO_TARGET, answer_part

MATCHES: dict[str, Callable[[Sequence[str], Sequence[str]], float]] = {
    'exact': exact_match, 'graded': graded_match}
"""How the spans of an answer are compared with the true ones."""


def textual_reward(prompt: ScenePrompt, answer: str, match: str) -> float:
    """Sum the rewards of a task for one answer; see rewards.py.

    Tasks that are answered in words alone, such as multiple choice, have 1 for exactly the true
    answer.

    Args:
        prompt: what was asked.
        answer: what came.
        match: key of MATCHES.
    """
    said = answer_part(answer)
    if prompt.family == 'scene graph':
        found = triplets_of(said)
        return triplet_match(found, triplets_of(prompt.answer)) + no_triplet_repeat(found)
    if prompt.family == 'grounded caption':
        return (phrase_span_match(said, prompt.answer) + phrase_match(said, prompt.answer)
                + no_repeat(said))
    if prompt.targets:
        return MATCHES[match](spans_of(said), spans_of(prompt.answer)) + no_repeat(said)
    if prompt.answer == NO_TARGET:
        return no_target(said) + no_repeat(said)
    return float(said == answer_part(prompt.answer))
