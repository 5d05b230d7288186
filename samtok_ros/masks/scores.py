# SPDX-License-Identifier: Apache-2.0
"""How well predicted masks agree with true ones: pure functions, all results in 0..1.

An empty truth stands for "nothing in the image fits", an empty prediction for "nothing found". A
prediction of several masks is scored as their union. Where a score has no samples it is None.

Source: samtok-spec 4.1, 4.3 and 4.8; differs: no epsilon in the divisions, changes below 1e-5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ImageError


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of one prediction against its truth; all that the scores need."""

    prediction_px: int
    truth_px: int
    intersection_px: int

    @property
    def union_px(self) -> int:
        """Pixels in either mask."""
        return self.prediction_px + self.truth_px - self.intersection_px

    @property
    def iou(self) -> float:
        """Intersection over union; 1 if both are empty, 0 if only one is."""
        return self.intersection_px / self.union_px if self.union_px else 1.0


def overlap(prediction: np.ndarray, truth: np.ndarray) -> Overlap:
    """Count the pixels of two masks.

    Args:
        prediction: (H, W) bool.
        truth: (H, W) bool.
    Raises:
        ImageError: not two masks of one size.
    """
    if prediction.shape != truth.shape or {prediction.dtype, truth.dtype} != {np.dtype(bool)}:
        raise ImageError(
            'masks cannot be compared',
            expected=f'two masks of one size, bool, as the truth is {truth.shape} {truth.dtype}',
            got=f'{prediction.shape} {prediction.dtype}',
        )
    counts = (np.count_nonzero(mask) for mask in (prediction, truth, prediction & truth))
    return Overlap(*map(int, counts))


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return intersection over union of two (H, W) bool masks; 1 if both are empty."""
    return overlap(prediction, truth).iou


def mean_iou(overlaps: Sequence[Overlap]) -> float | None:
    """Return the mean IoU over the samples that have a target."""
    return _mean([sample.iou for sample in overlaps if sample.truth_px])


def giou(overlaps: Sequence[Overlap]) -> float | None:
    """Return the generalised IoU: the mean over all samples.

    A sample without a target counts 1 if nothing was predicted and 0 otherwise. Not to be confused
    with the generalised IoU of boxes.
    """
    return _mean([sample.iou for sample in overlaps])


def ciou(overlaps: Sequence[Overlap]) -> float | None:
    """Return the cumulative IoU: all intersections over all unions, so large regions dominate."""
    union_px = sum(sample.union_px for sample in overlaps)
    return sum(sample.intersection_px for sample in overlaps) / union_px if union_px else None


def iou_share(overlaps: Sequence[Overlap], threshold: float = 0.5) -> float | None:
    """Return the share of samples with a target whose IoU is above the threshold."""
    return _mean([sample.iou > threshold for sample in overlaps if sample.truth_px])


def n_acc(overlaps: Sequence[Overlap]) -> float | None:
    """Return the share of samples without a target for which nothing was predicted."""
    return _mean([sample.prediction_px == 0 for sample in overlaps if not sample.truth_px])


def t_acc(overlaps: Sequence[Overlap]) -> float | None:
    """Return the share of samples with a target for which something was predicted."""
    return _mean([sample.prediction_px > 0 for sample in overlaps if sample.truth_px])


def _mean(values: Sequence[float]) -> float | None:
    return float(sum(values) / len(values)) if values else None
