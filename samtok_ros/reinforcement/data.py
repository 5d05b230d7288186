# SPDX-License-Identifier: Apache-2.0
"""The data set that GRPO draws its prompts from: numbers, each of which stands for one prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.reinforcement.prompts import ScenePrompt, draw_prompt
from samtok_ros.reinforcement.sampling import as_messages
from samtok_ros.training.scene_images import Scenes

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, eq=False)
class PromptSource:
    """Where prompts come from.

    Attributes:
        scenes: pictures with their truth.
        codes: (S, 13, D) of the true masks by object id, -1 where there is none.
        mix: families with their shares.
        seed: of the draws.
    """

    scenes: Scenes
    codes: np.ndarray
    mix: Mapping[str, float]
    seed: int

    def draw(self, stream: int, number: int) -> ScenePrompt:
        """Draw prompt `number` of a stream; streams are independent of each other."""
        return draw_prompt(self.scenes.description, self.codes, [self.seed, stream, number],
                           self.mix)

    def messages(self, prompt: ScenePrompt) -> list[dict]:
        """Return a prompt as the model's processor takes it, with its picture."""
        return as_messages(prompt.instruction, self.scenes.rgb(prompt.scene))


TRAINED, VALIDATED = 1, 2
"""Streams of prompts: drawn in the training, asked in its validations."""


def prompt_dataset(source: PromptSource, count: int) -> 'Dataset':
    """Return a data set of `count` prompts for trl; they are drawn as they are read."""
    from datasets import Dataset

    def read(rows: dict[str, list[int]]) -> dict[str, list]:
        # A group of answers shares its prompt: the same number several times in a row.
        known = {number: source.draw(TRAINED, number) for number in set(rows['number'])}
        prompts = [known[number] for number in rows['number']]
        return {'prompt': [source.messages(prompt) for prompt in prompts], 'scene_prompt': prompts}

    return Dataset.from_dict({'number': list(range(count))}).with_transform(read)
