# SPDX-License-Identifier: Apache-2.0
"""The points of a masked thing, and what had to be removed to be sure of them.

Depth cameras average across edges, so that the rim of a thing trails off towards what is behind
it; and a mask may have splinters on other things. Three steps remove such points, and each says how
many: the mask is eroded, pixels whose depth jumps against their neighbours go, and so does what
lies apart from the rest: in depth, in splinters of the mask, or on another thing.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.main_part import main_part
from samtok_ros.lifting.support_plane import UP_OF_CAMERA, SupportPlane, plane_axes
from samtok_ros.settings.lifting import PointSettings

# A point this near to the median is never called an outlier: most things one can grasp are smaller.
_ALWAYS_KEPT_M = 0.08
_SIGMAS = 5.0
_MAD_TO_SIGMA = 1.4826
# The rest of a longer thing follows on it without a gap: no step of this width with fewer points.
# Table does so too, where a mask has spilled over its rim; but it does not rise from itself.
_STEP_M = 0.02
_STEP_SHARE = 0.003
_MIN_RISE_M = 0.008
_NOISE_SIGMAS = 4.0
# Depth noise grows with distance; a jump of this share of the depth is none.
_JUMP_SHARE = 0.015
_KEPT_SHARE_OF_EROSION = 0.3
_SPLINTER_SHARE = 0.2


@dataclass(frozen=True)
class PointCounts:
    """Pixels of the mask by what became of them; the parts add up to `mask`."""

    mask: int
    eroded: int
    no_depth: int
    out_of_range: int
    edges: int
    outliers: int
    kept: int


@dataclass(frozen=True, eq=False)
class TargetPoints:
    """The visible surface of a masked thing.

    Attributes:
        points_m: (N, 3) float64, optical frame.
        rows, columns: (N,) pixel of each point.
        counts: what became of the pixels of the mask.
        erosion_px: erosion that was used.
        depth_median_m: of all readings in the eroded mask, in or out of range; NaN for none.
        truncated: the mask touches the border of the image.
    """

    points_m: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    counts: PointCounts
    erosion_px: int
    depth_median_m: float
    truncated: bool


def lift_mask(
    mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel, settings: PointSettings,
    support: SupportPlane | None = None,
) -> TargetPoints:
    """Lift a mask with the depth image of its own stamp.

    Args:
        mask: (H, W) bool.
        depth_m: (H, W) float32 metres along the optical axis, NaN for no reading.
        camera: calibration of both.
        settings: how points are chosen.
        support: plane around the thing.
    Returns:
        The points that are left; none is a result too.
    Raises:
        ImageError: mask, depth image and calibration differ in size.
    """
    check_sizes(mask, depth_m, camera)
    inner, erosion_px = erode(mask, settings.erosion_px)
    has_depth = inner & np.isfinite(depth_m)
    in_range = has_depth & (depth_m >= settings.min_depth_m) & (depth_m <= settings.max_depth_m)
    smooth = in_range & ~on_edges(depth_m, settings.jump_m)
    whole = smooth & without_splinters(mask)
    rows, columns = np.nonzero(whole)
    points_m = camera.points(rows, columns, depth_m[rows, columns].astype(np.float64))
    near = _near_the_rest(points_m, support)
    points_m, rows, columns = points_m[near], rows[near], columns[near]
    median = float(np.median(depth_m[has_depth])) if has_depth.any() else float('nan')
    up = UP_OF_CAMERA if support is None else support.normal
    kept = main_part(points_m @ np.stack(plane_axes(up)).T, median / float(camera.matrix[0, 0]),
                     np.column_stack([rows, columns]), depth_m)
    stages = [*(int(np.count_nonzero(part)) for part in
                (mask, inner, has_depth, in_range, smooth)), int(np.count_nonzero(kept))]
    removed = [before - after for before, after in zip(stages, stages[1:], strict=False)]
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return TargetPoints(
        points_m[kept], rows[kept], columns[kept], PointCounts(stages[0], *removed, stages[-1]),
        erosion_px, median, bool(border.any()))


def erode(mask: np.ndarray, pixels: int) -> tuple[np.ndarray, int]:
    """Take the rim off a mask, but leave enough of a thin thing.

    Returns:
        (H, W) bool and the erosion that was used: the largest up to `pixels` that leaves three
        tenths of the mask.
    """
    enough = _KEPT_SHARE_OF_EROSION * np.count_nonzero(mask)
    padded = np.pad(mask.astype(np.uint8), 1)  # what lies outside the image counts as outside
    for radius in range(pixels, 0, -1):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        smaller = cv2.erode(padded, disc)[1:-1, 1:-1] > 0
        if np.count_nonzero(smaller) >= enough:
            return smaller, radius
    return mask, 0


def without_splinters(mask: np.ndarray) -> np.ndarray:
    """Leave out the parts of a mask that are small against its largest one.

    What something in front cuts in two stays here as long as its parts are of comparable size;
    which of them are one thing is found out later.

    Returns:
        (H, W) bool: the mask, perhaps a little more, without its splinters.
    """
    closed = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, labels, facts, _ = cv2.connectedComponentsWithStats(closed)
    areas = facts[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # what is not in the mask
    return (areas >= max(_SPLINTER_SHARE * areas.max(), 1))[labels]


def on_edges(depth_m: np.ndarray, jump_m: float) -> np.ndarray:
    """Mark (H, W) bool the pixels whose depth jumps against the median of their 5 x 5 neighbours.

    The smooth slope of an inclined surface is none: its pixels agree with the median around them.
    """
    filled = np.where(np.isfinite(depth_m), depth_m, 0).astype(np.float32)
    middle = cv2.medianBlur(filled, 5)
    threshold = np.maximum(jump_m, _JUMP_SHARE * filled)
    return (np.abs(filled - middle) > threshold) & (middle > 0)


def _near_the_rest(points_m: np.ndarray, support: SupportPlane | None) -> np.ndarray:
    """Mark (N,) the points whose depth is near that of the others, or follows without a gap.

    What follows must rise from the support.
    """
    if not len(points_m):
        return np.zeros(0, np.bool_)
    away = points_m[:, 2] - np.median(points_m[:, 2])
    reach = max(_ALWAYS_KEPT_M, _SIGMAS * _MAD_TO_SIGMA * np.median(np.abs(away)))
    rises = np.ones(len(away), np.bool_)
    if support is not None:
        rises = support.heights(points_m) > max(_MIN_RISE_M, _NOISE_SIGMAS * support.noise_m)
    least = max(_STEP_SHARE * len(away), 1)
    follows = (away <= _reach_of(away[rises], reach, least)) & (
        -away <= _reach_of(-away[rises], reach, least))
    return (np.abs(away) <= reach) | (rises & follows)


def _reach_of(away_m: np.ndarray, reach_m: float, least: float) -> float:
    """Return how far points go beyond a reach, step by step from the last one within it."""
    start = reach_m - _STEP_M
    counts = np.bincount(((away_m[away_m > start] - start) / _STEP_M).astype(int))
    gaps = np.flatnonzero(counts < least)
    return max(reach_m, start + _STEP_M * (gaps[0] if len(gaps) else len(counts)))


def check_sizes(mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel) -> None:
    """Refuse a mask, a depth image and a calibration that do not belong together.

    Raises:
        ImageError: they differ in size.
    """
    wanted = mask.shape
    calibrated = (camera.size.height, camera.size.width)
    for name, got in (('depth image', depth_m.shape), ('camera_info', calibrated)):
        if got != wanted:
            raise ImageError(
                f'{name} and mask differ in size', expected='{} x {}'.format(*wanted),
                got='{} x {}'.format(*got),
                fix='use depth that is aligned to the colour image, and its camera_info')
