# SPDX-License-Identifier: Apache-2.0
"""An upright oriented box around a thing of which one side is seen.

One view shows the front and, from above, the top. What stands on a plane reaches down to it, so the
box does. Away from the camera the box reaches as far as points were seen; of a thing whose visible
side is round about an upright axis, a bottle or a ball, it holds the hidden half too.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samtok_ros.lifting.round_shape import find_round_shape
from samtok_ros.lifting.support_plane import UP_OF_CAMERA, SupportPlane, plane_axes

_LOW, _HIGH = 1.0, 99.0
_MIN_POINTS = 20
_MIN_EXTENT_M = 0.002
# A side that would look shorter than this is not missed: it may be lost in the rim. Nor is one that
# narrows downwards by this angle, or is short against what is seen above it: that of a ball.
_UNSEEN_M = 0.01
_NARROWS = np.radians(5)
_UNSEEN_SHARE = 0.3


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
    up = UP_OF_CAMERA if support is None else support.normal
    heights = points_m @ up + (0.0 if support is None else support.offset_m)
    low, high = np.percentile(heights, (_LOW, _HIGH))
    completed = support is not None and _stands(points_m, up, low, high, rim_m)
    if completed:
        low = 0.0
    level = np.stack(plane_axes(up))
    footprint = points_m @ level.T
    middle, axes, lengths = _smallest_rectangle(footprint)
    lengths = lengths + 2 * rim_m
    round_shape = find_round_shape(footprint, heights, rim_m)
    if round_shape is not None:
        middle, lengths = _holding(middle, axes, lengths, *round_shape)
    first, second = axes @ level
    if lengths[1] > lengths[0]:
        first, second, lengths = second, -first, lengths[::-1]
    height = max(high - low, _MIN_EXTENT_M)
    base = -(0.0 if support is None else support.offset_m)
    centre = middle @ level + up * (base + low + height / 2)
    rotation = np.column_stack([first, second, up])
    if np.linalg.det(rotation) < 0:
        rotation[:, 1] *= -1
    return OrientedBox(centre, rotation, np.array([*lengths, height]), completed)


def quaternion_xyzw(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Return a (3, 3) rotation as x, y, z, w of length 1, with w of 0 or more."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    # Of the four products of q with itself, the one with the largest diagonal is the exact one.
    squares = np.array([
        [1 + a - e - i, b + d, c + g, h - f],
        [b + d, 1 - a + e - i, f + h, c - g],
        [c + g, f + h, 1 - a - e + i, d - b],
        [h - f, c - g, d - b, 1 + a + e + i]])
    row = squares[np.diag(squares).argmax()]
    x, y, z, w = row / np.linalg.norm(row) * (1 if row[3] >= 0 else -1)
    return float(x), float(y), float(z), float(w)


def _stands(
    points_m: np.ndarray, up: np.ndarray, low: float, high: float, rim_m: float,
) -> bool:
    """Tell whether a thing stands on the plane: its sides reach down, or could not be seen.

    What floats clearly above the plane, in a gripper or on another thing, is not pulled down: the
    side that it would have down to the plane would be seen, and is not. Seen from straight above
    nobody can tell; then it stands.
    """
    middle = points_m.mean(axis=0)
    down = np.arcsin(np.clip(-(middle @ up) / np.linalg.norm(middle), 0, 1))
    missing = low * max(np.cos(down + _NARROWS), 0)
    return bool(low < 0.5 * high or missing < _UNSEEN_M + rim_m + _UNSEEN_SHARE * (high - low))


def _holding(
    middle: np.ndarray, axes: np.ndarray, lengths: np.ndarray, centre: np.ndarray, radius_m: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return middle (2,) and lengths (2,) of a rectangle that is made to hold a circle."""
    at, of_circle = middle @ axes.T, centre @ axes.T
    low = np.minimum(at - lengths / 2, of_circle - radius_m)
    high = np.maximum(at + lengths / 2, of_circle + radius_m)
    return (low + high) / 2 @ axes, high - low


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
