# SPDX-License-Identifier: Apache-2.0
"""What another number format or device changes about the codes and masks of a mask tokenizer."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.heldout_scenes import EvaluationScene
from samtok_ros.masks.scores import iou
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

LEAST_AREA = 0.003
"""Share of the image below which a mask is left out, as in training."""


@dataclass(frozen=True)
class PrecisionReport:
    """Agreement of a mask tokenizer with the same one in float32 on the CPU.

    Attributes:
        model: name and hash of the mask tokenizer.
        device, dtype: of the one that is compared.
        masks: how many were sent through both.
        codes_share: share of the masks whose codes are all the same.
        first_code_share: share of the masks whose first code is the same.
        same_codes_iou_mean, same_codes_iou_min: of the masks that both draw from the same codes.
        same_codes_iou_p01: all but one in a hundred of these masks agree better than this.
        truth_iou: mean IoU of true masks with what comes back from their codes, compared one.
        truth_iou_float32: the same in float32.
    """

    model: str
    device: str
    dtype: str
    masks: int
    codes_share: float
    first_code_share: float
    same_codes_iou_mean: float
    same_codes_iou_p01: float
    same_codes_iou_min: float
    truth_iou: float
    truth_iou_float32: float

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def compare_precisions(
    reference: MaskTokenizer, other: MaskTokenizer, scenes: Iterable[EvaluationScene],
) -> PrecisionReport:
    """Send every true mask of the scenes through both.

    Args:
        reference: in float32 on the CPU.
        other: with the same weights.
        scenes: pictures with their truth.
    Raises:
        ConfigError: no scene has a mask that is large enough.
    """
    equal: list[np.ndarray] = []
    same_codes, truth, truth_float32 = [], [], []
    for scene in scenes:
        ids, counts = np.unique(scene.segmentation, return_counts=True)
        large = ids[(ids > 0) & (counts >= LEAST_AREA * scene.segmentation.size)]
        if not len(large):
            continue
        masks = np.stack([scene.mask(object_id) for object_id in large])
        features, other_features = (one.embed_image(scene.image_rgb) for one in (reference, other))
        codes, other_codes = reference.encode(features, masks), other.encode(other_features, masks)
        drawn = reference.decode(features, codes).masks
        equal.append(codes == other_codes)
        same_codes += _ious(other.decode(other_features, codes).masks, drawn)
        truth += _ious(other.decode(other_features, other_codes).masks, masks)
        truth_float32 += _ious(drawn, masks)
    if not equal:
        raise ConfigError('no scene has a mask to compare', fix='take more scenes')
    levels = np.concatenate(equal)
    return PrecisionReport(
        reference.tokenizer_id, str(other.device), str(other.dtype).removeprefix('torch.'),
        len(levels), float(levels.all(axis=1).mean()), float(levels[:, 0].mean()),
        float(np.mean(same_codes)), float(np.quantile(same_codes, 0.01)), min(same_codes),
        float(np.mean(truth)), float(np.mean(truth_float32)))


def _ious(found: np.ndarray, wanted: np.ndarray) -> list[float]:
    return [iou(*pair) for pair in zip(found, wanted, strict=True)]
