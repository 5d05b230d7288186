# SPDX-License-Identifier: Apache-2.0
"""Greedy answers of a policy to held-out goals, the same ones each time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.evaluation.comparison import Difference, Values, compare_values
from samtok_ros.reinforcement.data import VALIDATED, PromptSource
from samtok_ros.reinforcement.judge import MaskJudge
from samtok_ros.reinforcement.policy import Policy
from samtok_ros.reinforcement.prompts import GOALS, ScenePrompt
from samtok_ros.reinforcement.sampling import draw_answers, load_policy
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.training.scene_images import MAX_OBJECTS, Scenes
from samtok_ros.words.answers import is_no_target

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_AT_ONCE = 32


class HeldOutGoals:
    """Goals in scenes that nothing is trained on."""

    def __init__(self, scenes: Scenes, mask_tokenizer: MaskTokenizer, seed: int,
                 most_tokens: int) -> None:
        """Keep what is needed to ask and to judge.

        Args:
            scenes: to draw goals from.
            mask_tokenizer: draws the masks of answers.
            seed: of the goals.
            most_tokens: longest answer.
        """
        # Goals point at nothing, so that no codes are needed.
        codes = np.zeros((len(scenes), MAX_OBJECTS + 1, mask_tokenizer.config.codebook_depth),
                         np.int64)
        self._source = PromptSource(scenes, codes, GOALS, seed)
        self._judge = MaskJudge(scenes, mask_tokenizer)
        self._most_tokens = most_tokens

    def values(self, policy: Policy, processor: 'ProcessorMixin', count: int,
               ) -> dict[int, Values]:
        """Ask the first `count` goals and score the answers.

        Returns:
            by scene: values of grounding_giou and grounding_iou50 for goals that name one thing,
            of several_giou, of no_target_recall, and of false_refusal for all goals that name
            something.
        """
        scenes: dict[int, Values] = {}
        for start in range(0, count, _AT_ONCE):
            prompts = [self._source.draw(VALIDATED, number)
                       for number in range(start, min(start + _AT_ONCE, count))]
            turns = [self._source.messages(prompt) for prompt in prompts]
            answers = draw_answers(policy, processor, turns, 0, self._most_tokens)
            for prompt, (said,) in zip(prompts, answers, strict=True):
                values = scenes.setdefault(prompt.scene, {})
                for name, value in _values(prompt, said, self._judge.scores(prompt, [said])[0]):
                    values.setdefault(name, []).append(float(value))
        return scenes

    def compare(self, before: Path, after: Path, count: int) -> list[Difference]:
        """Ask two models the first `count` goals."""
        first, second = (self.values(*load_policy(folder), count) for folder in (before, after))
        return compare_values([(first[scene], second[scene]) for scene in first])


def mean_values(scenes: Mapping[int, Values]) -> dict[str, float]:
    """Return the mean of each figure over all answers."""
    names = dict.fromkeys(name for values in scenes.values() for name in values)
    return {name: float(np.mean([value for values in scenes.values()
                                 for value in values.get(name, [])])) for name in names}


def _values(prompt: ScenePrompt, said: str, score: float) -> Iterator[tuple[str, float]]:
    if not prompt.targets:
        yield 'no_target_recall', score
        return
    yield 'false_refusal', is_no_target(said)
    yield 'grounding_giou' if len(prompt.targets) == 1 else 'several_giou', score
    if len(prompt.targets) == 1:
        yield 'grounding_iou50', score > 0.5
