# SPDX-License-Identifier: Apache-2.0
"""The plane on which a thing stands, from the depth around its mask.

That is the largest one around it, unless another one is seen to touch it and the largest is not:
with a level camera most of what is around a thing is the wall behind it.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from samtok_ros.lifting.camera_model import CameraModel

_RING_SHARE = 0.6
_MIN_RING_PX = 12
_GAP_PX = 3
_TRIES = 150
_MAX_SAMPLES = 3000
_MIN_SHARE = 0.25
_MIN_SAMPLES = 60
# Where a thing touches a plane, its lowest seen points lie beside readings of the plane.
_RIM_PX = (2, 6)
_BESIDE_PX = 9
_TOUCHES_M = 0.015
_TOUCHES_SHARE = 0.25
_MIN_TOUCHING = 0.08
_MIN_SHARE_OF_SECOND = 0.2
UP_OF_CAMERA = np.array([0.0, -1.0, 0.0])
"""Up where there is no support to say so, optical frame."""


@dataclass(frozen=True, eq=False)
class SupportPlane:
    """A plane in the optical frame.

    Attributes:
        normal: (3,) float64 of length 1, towards the camera's side: up, for a table.
        offset_m: normal . point + offset_m is the height of a point above the plane.
        noise_m: standard deviation of the depth readings around it.
        share: of the readings around the thing that lie on it, 0..1.
    """

    normal: np.ndarray
    offset_m: float
    noise_m: float
    share: float

    def heights(self, points_m: np.ndarray) -> np.ndarray:
        """Return (N,) heights of (N, 3) points above the plane, metres."""
        return points_m @ self.normal + self.offset_m


def find_support(
    mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel, tolerance_m: float = 0.006,
) -> SupportPlane | None:
    """Find the plane that a thing stands on, robustly; None where there is none around it.

    Args:
        mask: (H, W) bool.
        depth_m: (H, W) float32 metres, NaN for no reading.
        camera: calibration of both.
        tolerance_m: a point this near to the plane, or three parts in a thousand of its depth, is
            on it.
    Source: random sample consensus, Fischler and Bolles 1981.
    """
    points = _points_around(mask, depth_m, camera)
    first = _largest_plane(points, tolerance_m)
    if first is None:
        return None
    rest = points[np.abs(first.heights(points)) > _tolerance(points, tolerance_m)]
    most = len(rest) / len(points)
    if most < _MIN_SHARE_OF_SECOND or _touching(mask, depth_m, camera, first) >= _MIN_TOUCHING:
        return first
    second = _largest_plane(rest, tolerance_m)
    if (second is None or second.share * most < _MIN_SHARE_OF_SECOND
            or _touching(mask, depth_m, camera, second) < _MIN_TOUCHING):
        return first
    return replace(second, share=second.share * most)


def _tolerance(points_m: np.ndarray, least_m: float) -> np.ndarray:
    return np.maximum(least_m, 0.003 * points_m[:, 2])


def _largest_plane(points: np.ndarray, tolerance_m: float) -> SupportPlane | None:
    """Fit the plane that most of (N, 3) points lie on; None where too few lie on any."""
    if len(points) < _MIN_SAMPLES:
        return None
    rng = np.random.default_rng(0)  # the same image gives the same plane
    if len(points) > _MAX_SAMPLES:
        points = points[rng.choice(len(points), _MAX_SAMPLES, replace=False)]
    tolerance = _tolerance(points, tolerance_m)
    corners = points[rng.integers(len(points), size=(_TRIES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals, corners = normals[lengths > 1e-9], corners[lengths > 1e-9]
    if not len(normals):
        return None
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = -np.einsum('ij,ij->i', normals, corners[:, 0])
    near = np.abs(points @ normals.T + offsets) <= tolerance[:, None]
    on_plane = near[:, near.sum(axis=0).argmax()]
    for _ in range(2):  # refined on its own points, which then change a little
        if on_plane.mean() < _MIN_SHARE or on_plane.sum() < _MIN_SAMPLES // 2:
            return None
        normal, offset = _least_squares(points[on_plane])
        on_plane = np.abs(points @ normal + offset) <= tolerance
    noise = float(np.std(points[on_plane] @ normal + offset))
    return SupportPlane(normal, offset, noise, float(on_plane.mean()))


def _touching(
    mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel, plane: SupportPlane,
) -> float:
    """Return the share of the rim of a mask that lies on a plane, and beside readings of it.

    It is 0 for anything that does not rise from the plane, or lies behind it.
    """
    rows, columns = np.nonzero(mask)
    margin = 2 * _BESIDE_PX
    top, left = max(rows.min() - margin, 0), max(columns.min() - margin, 0)
    patch = np.s_[top:rows.max() + margin + 1, left:columns.max() + margin + 1]
    inside, depth = mask[patch].astype(np.uint8), depth_m[patch]
    outside = _grown(inside, _RIM_PX[1]) - _grown(inside, _GAP_PX)
    skin, core = (1 - _grown(1 - inside, width) for width in _RIM_PX)
    heights = np.full(depth.shape, np.nan)
    at = np.nonzero(np.isfinite(depth) & ((outside | skin) > 0))
    heights[at] = plane.heights(camera.points(
        at[0] + top, at[1] + left, depth[at].astype(np.float64)))
    own = heights[(skin > 0) & np.isfinite(heights)]
    if not len(own):
        return 0.0
    low, high = np.percentile(own, (1, 99))
    if high < _TOUCHES_M or low < -_TOUCHES_M:
        return 0.0
    on_plane = (outside > 0) & (np.abs(heights) <= np.maximum(4 * plane.noise_m, 0.006))
    beside = _grown(on_plane.astype(np.uint8), _BESIDE_PX) > 0
    rim = (skin > core) & np.isfinite(heights)
    low_rim = rim & beside & (heights < max(_TOUCHES_M, _TOUCHES_SHARE * high))
    return np.count_nonzero(low_rim) / max(np.count_nonzero(rim), 1)


def _grown(part: np.ndarray, radius_px: int) -> np.ndarray:
    return cv2.dilate(part, np.ones((2 * radius_px + 1,) * 2, np.uint8))


def _points_around(mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Return the points in a ring around the mask that is wide enough to see past its shadow."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return np.empty((0, 3))
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    width = max(_MIN_RING_PX, int(_RING_SHARE * extent))
    top, left = max(rows.min() - width, 0), max(columns.min() - width, 0)
    patch = np.s_[top:rows.max() + width + 1, left:columns.max() + width + 1]
    grown = _grown(mask[patch].astype(np.uint8), _GAP_PX)
    around_rows, around_columns = np.nonzero((grown == 0) & np.isfinite(depth_m[patch]))
    around_rows, around_columns = around_rows + top, around_columns + left
    # Every other pixel is plenty, and a ring of a large thing has many.
    step = max(1, len(around_rows) // (4 * _MAX_SAMPLES))
    around_rows, around_columns = around_rows[::step], around_columns[::step]
    depths = depth_m[around_rows, around_columns].astype(np.float64)
    return camera.points(around_rows, around_columns, depths)


def _least_squares(points_m: np.ndarray) -> tuple[np.ndarray, float]:
    centre = points_m.mean(axis=0)
    normal = np.linalg.svd(points_m - centre, full_matrices=False)[2][2]
    offset = -float(normal @ centre)
    # The camera, at the origin, is above the plane.
    return (normal, offset) if offset > 0 else (-normal, -offset)


def plane_axes(up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two axes across `up`: to the right of the image, and away from the camera."""
    right = np.array([1.0, 0.0, 0.0])
    if abs(up @ right) > 0.9:
        right = np.array([0.0, 0.0, 1.0])
    east = right - (right @ up) * up
    east /= np.linalg.norm(east)
    return east, np.cross(up, east)
