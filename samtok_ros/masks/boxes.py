# SPDX-License-Identifier: Apache-2.0
"""Mask -> the smallest box around it."""

from dataclasses import replace

import numpy as np

from samtok_ros.regions import Region


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return x, y, right and bottom edge (outside) of a (H, W) bool mask, None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def with_mask(region: Region, mask: np.ndarray, mask_score: float | None) -> Region:
    """Return a region with its mask, the box around it, and the IoU that the decoder predicts."""
    box = box_of_mask(mask)
    return replace(region, mask=mask, mask_score=mask_score,
                   box_xyxy=None if box is None else tuple(map(float, box)))
