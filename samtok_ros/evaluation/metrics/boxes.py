# SPDX-License-Identifier: Apache-2.0
"""Boxes as the published scripts take them: right and bottom edge are the last pixel itself.

The package's own boxes have these edges outside. A box of one pixel has no area here.
"""

import numpy as np

from samtok_ros.masks.boxes import box_of_mask

Box = tuple[float, float, float, float]


def inclusive_box(mask: np.ndarray) -> Box | None:
    """Return left, top, right and bottom (inside) of a (H, W) bool mask, None if it is empty."""
    box = box_of_mask(mask)
    if box is None:
        return None
    left, top, right, bottom = box
    return float(left), float(top), float(right - 1), float(bottom - 1)


def box_iou(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes; 0 if neither has an area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
