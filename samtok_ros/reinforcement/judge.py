# SPDX-License-Identifier: Apache-2.0
"""How right an answer is by the mask that its words draw."""

from collections.abc import Sequence

import numpy as np

from samtok_ros.masks.scores import iou
from samtok_ros.reinforcement.prompts import ScenePrompt
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.training.scene_images import Scenes
from samtok_ros.words.answers import answer_part, is_no_target, parse_mask_list


class MaskJudge:
    """Draws the masks of answers and compares them with those of the scene."""

    def __init__(self, scenes: Scenes, mask_tokenizer: MaskTokenizer) -> None:
        """Keep what is needed to draw."""
        self._scenes = scenes
        self._tokenizer = mask_tokenizer

    def scores(self, prompt: ScenePrompt, answers: Sequence[str]) -> list[float]:
        """Score several answers to one prompt, 0..1 each.

        A goal with targets: IoU of the union of all masks with the union of the targets. One
        without: 1 for "No target." and nothing else. Any other prompt: 1 for exactly the true
        answer.
        """
        if not prompt.targets:
            wanted = answer_part(prompt.answer)
            return [float(answer_part(answer) == wanted) for answer in answers]
        spoken = [() if is_no_target(answer) else
                  tuple(item.codes for item in parse_mask_list(answer)) for answer in answers]
        masks = self._masks(prompt.scene, sorted({codes for said in spoken for codes in said}))
        truth = np.isin(self._scenes.segmentation(prompt.scene), prompt.targets)
        empty = np.zeros(truth.shape, np.bool_)
        return [iou(np.logical_or.reduce([masks[codes] for codes in said] or [empty]), truth)
                for said in spoken]

    def _masks(self, scene: int, codes: Sequence[tuple[int, ...]]) -> dict[tuple, np.ndarray]:
        if not codes:
            return {}
        features = self._tokenizer.embed_image(np.asarray(self._scenes.rgb(scene)))
        drawn = self._tokenizer.decode(features, np.array(codes, np.int64)).masks
        return dict(zip(codes, drawn, strict=True))
