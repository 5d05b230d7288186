# SPDX-License-Identifier: Apache-2.0
"""Which predicted mask belongs to which true one.

The greedy ways are the published ones, kept to compare with published figures. The best ways treat
both sides alike and do not depend on the order.
"""

from collections.abc import Sequence

import numpy as np

from samtok_ros.masks.scores import iou


def iou_matrix(said: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> np.ndarray:
    """Return the (S, T) float64 IoU of each predicted with each true (H, W) bool mask.

    Two empty masks count 0 here: nothing is no match for nothing.
    """
    return np.array([[iou(one, other) if one.any() or other.any() else 0.0 for other in true]
                     for one in said], np.float64).reshape(len(said), len(true))


def greedy_ious(ious: np.ndarray) -> list[float]:
    """Return the IoU of pairs, the largest first, each mask once, until none overlaps."""
    left, found = ious.copy(), []
    while left.size and left.max() > 0:
        row, column = np.unravel_index(left.argmax(), left.shape)
        found.append(float(left[row, column]))
        left = np.delete(np.delete(left, row, axis=0), column, axis=1)
    return found


def greedy_hits(ious: np.ndarray, similarities: np.ndarray, bar: float = 0.5) -> int:
    """Count pairs, the largest IoU first, until the first that fails one of the bars.

    The published loop: a true mask with the wrong phrase ends it, whatever comes behind.

    Args:
        ious: (T, S) IoU of true with predicted masks.
        similarities: (T, P) likeness of true with predicted phrases, P may differ from S.
        bar: what both must reach.
    Raises:
        IndexError: a mask that comes up has no phrase.
    """
    left, likes, hits = ious.copy(), similarities.copy(), 0
    while left.size:
        row, column = np.unravel_index(left.argmax(), left.shape)
        if left[row, column] < bar or likes[row, column] < bar:
            return hits
        hits += 1
        left[row, :] = left[:, column] = 0
        likes[row, :] = likes[:, column] = 0
    return hits


def best_pairs(weights: np.ndarray) -> list[tuple[int, int]]:
    """Return the one-to-one pairs with the largest sum of weights, those of weight 0 left out."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(weights, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)
            if weights[row, column] > 0]


def symmetric_iou(ious: np.ndarray) -> float:
    """Return the IoU of the best pairs, where every mask without a partner counts 0.

    Twice the sum over the pairs, over the number of masks on both sides; 1 if there are none.
    """
    masks = sum(ious.shape)
    if not masks:
        return 1.0
    return 2.0 * sum(float(ious[pair]) for pair in best_pairs(ious)) / masks if ious.size else 0.0
