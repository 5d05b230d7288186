# SPDX-License-Identifier: Apache-2.0
"""Does the depth image lie where the mask says? Depth of another moment or camera does not.

What stands on a plane rises above it where its mask is, and not around it. If that is clearly more
so a few pixels to the side, depth and colour do not belong together: the calibration between the
cameras is wrong, the depth image is not aligned, or something moved in between. A mask in which
nothing rises says nothing: a card beside a carton looks the same.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.support_plane import SupportPlane

_MIN_RISE_M = 0.008
_NOISE_SIGMAS = 4.0
# This share of a mask must rise, by so much more than a lid that is nearly flat does in noise.
_MIN_SHARE = 0.05
_CLEARLY = 1.5
_MIN_FIT = 0.5
_BETTER_BY = 0.23
_REACH_PX = 44
_FINE_UP_TO_PX = 64
_GAP_PX, _RING_PX = 2, 6
# Of a part that must have readings for its share to mean something.
_MIN_KNOWN = 0.3


@dataclass(frozen=True)
class Alignment:
    """How mask and depth fit.

    Attributes:
        fit: share of the mask that rises above the support plane, less that of the ring around it:
            1 where the mask is just what rises, 0 for anything that is as flat as its support.
        best_fit: the same where it is best, up to some tens of pixels aside.
        shift_px: x and y from the mask to that place; (0, 0) when it fits where it is.
    """

    fit: float
    best_fit: float
    shift_px: tuple[int, int]

    @property
    def is_off(self) -> bool:
        """True when another place fits clearly better."""
        return self.shift_px != (0, 0)


def measure_alignment(
    mask: np.ndarray, depth_m: np.ndarray, camera: CameraModel, support: SupportPlane,
) -> Alignment:
    """Slide the mask over the raised pixels around it.

    Args:
        mask: (H, W) bool, with at least one pixel.
        depth_m: (H, W) float32 metres, NaN for no reading.
        camera: calibration of both.
        support: plane the thing stands on.
    """
    rows, columns = np.nonzero(mask)
    # Coarse steps for large things: a shift of theirs that matters is larger too.
    step = int(1 + max(np.ptp(rows), np.ptp(columns)) // _FINE_UP_TO_PX)
    margin = (_GAP_PX + _RING_PX) * step
    top, left = rows.min() - margin, columns.min() - margin
    height, width = rows.max() + 1 + margin - top, columns.max() + 1 + margin - left
    inside = np.zeros((height, width), np.uint8)
    inside[rows - top, columns - left] = 1
    inside = inside[::step, ::step]
    ring = cv2.dilate(inside, _square(_GAP_PX + _RING_PX)) - cv2.dilate(inside, _square(_GAP_PX))
    steps = -(-_REACH_PX // step)
    reach = steps * step
    heights = _heights(depth_m, camera, support, (
        top - reach, left - reach, top + height + reach, left + width + reach))[::step, ::step]
    rise = max(_MIN_RISE_M, _NOISE_SIGMAS * support.noise_m)
    raised = (heights > rise).astype(np.float32)
    known = np.isfinite(heights).astype(np.float32)
    fit = _share(raised, known, inside) - _share(raised, known, ring)
    here, best = float(fit[steps, steps]), float(fit.max())
    own = heights[steps:steps + inside.shape[0], steps:steps + inside.shape[1]][inside > 0]
    is_flat = np.count_nonzero(own > _CLEARLY * rise) < _MIN_SHARE * own.size
    if best < _MIN_FIT or best - here < _BETTER_BY or is_flat:
        return Alignment(here, best, (0, 0))
    offsets = np.indices(fit.shape) - steps
    distance = np.where(fit > best - 0.02, np.hypot(*offsets), np.inf)
    y, x = (int(v) - steps for v in np.unravel_index(distance.argmin(), fit.shape))
    if max(abs(x), abs(y)) >= steps:
        return Alignment(here, best, (0, 0))  # It rises towards another thing, outside our reach.
    return Alignment(here, best, (x * step, y * step))


def _share(raised: np.ndarray, known: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return for each place of a part the share of its readings that are raised."""
    part = part.astype(np.float32)
    enough = max(_MIN_KNOWN * float(part.sum()), 1.0)
    return cv2.matchTemplate(raised, part, cv2.TM_CCORR) / np.maximum(
        cv2.matchTemplate(known, part, cv2.TM_CCORR), enough)


def _square(radius_px: int) -> np.ndarray:
    return np.ones((2 * radius_px + 1,) * 2, np.uint8)


def _heights(
    depth_m: np.ndarray, camera: CameraModel, support: SupportPlane,
    window: tuple[int, int, int, int],
) -> np.ndarray:
    """Return float32 heights above the plane in a window, metres; NaN where nothing is known.

    Pixels outside the image count as unknown.
    """
    top, left, bottom, right = window
    height, width = depth_m.shape
    inside = np.s_[max(top, 0):min(bottom, height), max(left, 0):min(right, width)]
    rows, columns = np.nonzero(np.isfinite(depth_m[inside]))
    rows, columns = rows + inside[0].start, columns + inside[1].start
    depths = depth_m[rows, columns].astype(np.float64)
    heights = np.full((bottom - top, right - left), np.nan, np.float32)
    heights[rows - top, columns - left] = support.heights(camera.points(rows, columns, depths))
    return heights
