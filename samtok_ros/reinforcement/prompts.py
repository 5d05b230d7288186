# SPDX-License-Identifier: Apache-2.0
"""Prompts with their true answers, drawn from described scenes: what a policy is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.training.questions import draw_question
from samtok_ros.words.vocabulary import MaskVocabulary

GOALS: Mapping[str, float] = {'single': 0.57, 'several': 0.15, 'none': 0.28}
"""Shares of the families when nothing else is asked for.

As many of nothing as in the supervised training. With half of that, the model learns not to refuse.
"""


@dataclass(frozen=True)
class ScenePrompt:
    """One instruction about one scene.

    Attributes:
        scene: its number in the store.
        family: of the question, such as 'single'.
        kind: finer, such as 'left of'.
        instruction: what is asked, mask words included.
        answer: the true answer, mask words included.
        targets: object ids that the answer names, in its order.
    """

    scene: int
    family: str
    kind: str
    instruction: str
    answer: str
    targets: tuple[int, ...]


def draw_prompt(describe: Callable, codes: np.ndarray, seed: Sequence[int],
                mix: Mapping[str, float] = GOALS) -> ScenePrompt:
    """Draw a scene and a question about it; equal seeds give equal prompts.

    Args:
        describe: number of a scene -> its SceneDescription.
        codes: (S, 13, D) codes of the true masks by object id, -1 where there is none.
        seed: of the draw.
        mix: families with their shares.
    """
    rng = np.random.default_rng(seed)
    families, shares = zip(*mix.items(), strict=True)
    while True:
        scene = int(rng.integers(len(codes)))
        family = families[int(rng.choice(len(families), p=np.array(shares) / sum(shares)))]
        question = draw_question(describe(scene), rng, family)
        named = [*question.targets, *question.regions]
        # A thing that is hidden has no mask, and so no words.
        if (codes[scene, named] >= 0).all() and not question.earlier:
            vocabulary = MaskVocabulary()
            return ScenePrompt(
                scene, question.family, question.kind,
                question.filled_instruction(codes[scene], vocabulary),
                question.answer(codes[scene], vocabulary), question.targets)
