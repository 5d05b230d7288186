# SPDX-License-Identifier: Apache-2.0
"""An upright oriented box around a thing of which one side is seen.

One view shows the front and, from above, the top. What stands on a plane reaches down to it, so the
box does; how far it reaches away from the camera is known where its top is seen, and is an estimate
otherwise. Whoever uses the box must know that: see `completed` and `back_seen`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samtok_ros.lifting.support_plane import SupportPlane

_LOW, _HIGH = 1.0, 99.0
_MIN_POINTS = 20
_MIN_EXTENT_M = 0.002
# Cosine of the angle between view and vertical from which on sides are too foreshortened to count.
_FROM_ABOVE = 0.82


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """A box in the optical frame.

    Attributes:
        centre_m: (3,) float64.
        rotation: (3, 3) float64, columns are its axes: the longer horizontal one, the shorter
            one, and up.
        extents_m: (3,) float64 full lengths along these axes.
        completed: True when it was extended down to the support plane.
    """

    centre_m: np.ndarray
    rotation: np.ndarray
    extents_m: np.ndarray
    completed: bool

    def corners(self) -> np.ndarray:
        """Return (8, 3) float64 corners; the first four are the lower ones."""
        signs = np.array([[x, y, z] for z in (-1, 1) for x, y in
                          ((-1, -1), (1, -1), (1, 1), (-1, 1))])
        return self.centre_m + (signs * self.extents_m / 2) @ self.rotation.T


def fit_box(
    points_m: np.ndarray, support: SupportPlane | None, rim_m: float = 0.0,
) -> OrientedBox | None:
    """Fit the box; None when there are too few points for one.

    Args:
        points_m: (N, 3) visible surface, optical frame.
        support: plane it stands on; without one, up is the camera's up and nothing is completed.
        rim_m: width of the rim that was taken off the mask; the box gets it back on each side.
    """
    if len(points_m) < _MIN_POINTS:
        return None
    up = np.array([0.0, -1.0, 0.0]) if support is None else support.normal
    heights = points_m @ up + (0.0 if support is None else support.offset_m)
    low, high = np.percentile(heights, (_LOW, _HIGH))
    completed = support is not None and _stands(points_m, up, low, high)
    if completed:
        low = 0.0
    east, north = _plane_axes(up)
    footprint = np.column_stack([points_m @ east, points_m @ north])
    middle, axes, lengths = _smallest_rectangle(footprint)
    lengths = lengths + 2 * rim_m
    plane_axes = np.stack([east, north])
    first, second = axes @ plane_axes
    if lengths[1] > lengths[0]:
        first, second, lengths = second, -first, lengths[::-1]
    height = max(high - low, _MIN_EXTENT_M)
    base = -(0.0 if support is None else support.offset_m)
    centre = middle @ plane_axes + up * (base + low + height / 2)
    rotation = np.column_stack([first, second, up])
    if np.linalg.det(rotation) < 0:
        rotation[:, 1] *= -1
    return OrientedBox(centre, rotation, np.array([*lengths, height]), completed)


def _stands(points_m: np.ndarray, up: np.ndarray, low: float, high: float) -> bool:
    """Tell whether a thing stands on the plane: its sides reach down, or cannot be seen.

    What floats clearly above the plane, in a gripper or on another thing, is not pulled down.
    """
    middle = points_m.mean(axis=0)
    from_above = -(middle @ up) / np.linalg.norm(middle)
    return bool(low < 0.5 * high or from_above > _FROM_ABOVE)


def _plane_axes(up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two axes across `up`: to the right of the image, and away from the camera."""
    right = np.array([1.0, 0.0, 0.0])
    if abs(up @ right) > 0.9:
        right = np.array([0.0, 0.0, 1.0])
    east = right - (right @ up) * up
    east /= np.linalg.norm(east)
    return east, np.cross(up, east)


def _smallest_rectangle(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre (2,), axes (2, 2) in rows and lengths (2,) of the rectangle around points.

    A percent at each end of each axis is left out: single wrong readings must not make it larger.
    """
    centre = points.mean(axis=0)
    millimetres = ((points - centre) * 1000).astype(np.float32)
    _, _, angle_deg = cv2.minAreaRect(millimetres)
    angle = np.radians(angle_deg)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    along = (points - centre) @ axes.T
    low, high = np.percentile(along, (_LOW, _HIGH), axis=0)
    return centre + (low + high) / 2 @ axes, axes, np.maximum(high - low, _MIN_EXTENT_M)
