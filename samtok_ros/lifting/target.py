# SPDX-License-Identifier: Apache-2.0
"""A mask and the depth image of its stamp in; points, box and quality out."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from samtok_ros.lifting.alignment import Alignment, measure_alignment
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.oriented_box import OrientedBox, fit_box
from samtok_ros.lifting.support_plane import SupportPlane, find_support
from samtok_ros.lifting.target_points import TargetPoints, check_sizes, lift_mask
from samtok_ros.settings.lifting import PointSettings, QualitySettings

_MILLIMETRE_SCALE = 100.0
# When less of what has depth hangs together, it is not known which part of the mask is the thing.
_MIN_MAIN_SHARE = 1 / 3


class LiftStatus(IntEnum):
    """How lifting ended; the numbers are those of the message."""

    OK = 0
    EMPTY = 1
    NO_DEPTH = 2
    OUT_OF_RANGE = 3
    TOO_FEW_POINTS = 4
    MISALIGNED = 5
    REFUSED = 6
    LOST = 7


@dataclass(frozen=True, eq=False)
class LiftedTarget:
    """What is known in 3D of one masked thing; all in the optical frame.

    Attributes:
        status, message: whether the points can be used, and if not, why and what to do.
        surface: the points with their counts.
        support: plane it stands on, None if none was found.
        alignment: None without a support plane.
        box: None when there are too few points.
    """

    status: LiftStatus
    message: str
    surface: TargetPoints
    support: SupportPlane | None
    alignment: Alignment | None
    box: OrientedBox | None

    @property
    def depth_share(self) -> float:
        """Share of the eroded mask with a reading in range, 0..1."""
        counts = self.surface.counts
        inner = counts.mask - counts.eroded
        return (inner - counts.no_depth - counts.out_of_range) / inner if inner else 0.0

    @property
    def depth_median_m(self) -> float:
        """Median depth of the points; NaN without points."""
        points = self.surface.points_m
        return float(np.median(points[:, 2])) if len(points) else float('nan')

    @property
    def depth_spread_m(self) -> float:
        """Distance between the 5th and the 95th percentile of depth; NaN without points."""
        if not len(self.surface.points_m):
            return float('nan')
        low, high = np.percentile(self.surface.points_m[:, 2], (5, 95))
        return float(high - low)


def lift_target(
    mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel, points: PointSettings,
    quality: QualitySettings,
) -> LiftedTarget:
    """Lift a mask and judge the result.

    Args:
        mask: (H, W) bool.
        depth_m: (H, W) float32 metres along the optical axis, NaN for no reading; of the same
            stamp as the mask.
        camera: calibration of both.
        points: how points are chosen.
        quality: when they are good enough.
    Raises:
        ImageError: mask, depth image and calibration differ in size.
    """
    check_sizes(mask, depth_m, camera)
    support = find_support(mask, depth_m, camera)
    surface = lift_mask(mask, depth_m, camera, points, support)
    status, message = _judge_readings(surface, points, quality)
    if status != LiftStatus.OK:
        return LiftedTarget(status, message, surface, None, None, None)
    alignment = support and measure_alignment(mask, depth_m, camera, support)
    box = fit_box(surface.points_m, support, rim_m=_rim_m(surface, camera))
    if alignment and alignment.is_off:
        x, y = alignment.shift_px
        status, message = LiftStatus.MISALIGNED, (
            f'the depth image fits the mask {np.hypot(x, y):.0f} px aside (x {x:+d}, y {y:+d}): '
            'use depth that is aligned to the colour image and of the same moment')
    return LiftedTarget(status, message, surface, support, alignment, box)


def _judge_readings(
    surface: TargetPoints, points: PointSettings, quality: QualitySettings,
) -> tuple[LiftStatus, str]:
    counts = surface.counts
    inner = counts.mask - counts.eroded
    readings = inner - counts.no_depth
    if not counts.mask:
        return LiftStatus.EMPTY, 'the mask is empty'
    if readings < quality.min_depth_share * inner:
        return LiftStatus.NO_DEPTH, (
            f'{readings} of {inner} pixels of the target have depth: shiny, transparent or too '
            'near for the camera')
    if readings - counts.out_of_range < quality.min_depth_share * inner:
        return LiftStatus.OUT_OF_RANGE, _out_of_range(surface.depth_median_m, points)
    if counts.kept < quality.min_points:
        return LiftStatus.TOO_FEW_POINTS, (
            f'{counts.kept} points are left of {counts.mask} pixels, expected at least '
            f'{quality.min_points}')
    if counts.kept < _MIN_MAIN_SHARE * (readings - counts.out_of_range):
        return LiftStatus.TOO_FEW_POINTS, (
            f'only {counts.kept} of {readings - counts.out_of_range} pixels with depth hang '
            'together: the mask covers several things, or depth is noise')
    return LiftStatus.OK, ''


def _out_of_range(median_m: float, points: PointSettings) -> str:
    text = (f'the target is {median_m:.3g} m away, expected {points.min_depth_m:g} to '
            f'{points.max_depth_m:g} m')
    if median_m > _MILLIMETRE_SCALE:
        text += ': the depth image seems to hold millimetres, but 32FC1 means metres (REP 118)'
    elif median_m < 0.01:
        text += ': the depth image seems to hold metres, but 16UC1 means millimetres (REP 118)'
    return text


def _rim_m(surface: TargetPoints, camera: CameraModel) -> float:
    """Return the width of the rim that erosion took away, in metres at the target."""
    return (surface.erosion_px + 0.5) * surface.depth_median_m / float(camera.matrix[0, 0])
