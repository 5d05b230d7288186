# SPDX-License-Identifier: Apache-2.0
"""Does the depth image lie where the mask says? Depth of another moment or camera does not.

What stands on a plane rises above it exactly where its mask is. If the raised pixels fit the mask
clearly better a few pixels to the side, depth and colour do not belong together: the calibration
between the cameras is wrong, the depth image is not aligned, or something moved in between.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.support_plane import SupportPlane

_MIN_RISE_M = 0.012
_NOISE_SIGMAS = 4.0
_MIN_RAISED = 0.5
_BETTER_BY = 0.15
_SEARCH_SHARE = 0.5
_MAX_SEARCH_PX = 48
_FINE_UP_TO_PX = 64


@dataclass(frozen=True)
class Alignment:
    """How mask and depth fit.

    Attributes:
        raised: share of the mask that rises above the support plane, 0..1.
        best_raised: the same where it fits best, at most half the mask's size aside.
        shift_px: x and y from the mask to that place; (0, 0) when it fits where it is.
    """

    raised: float
    best_raised: float
    shift_px: tuple[int, int]

    @property
    def is_off(self) -> bool:
        """True when another place fits clearly better; never for things as flat as the noise."""
        return self.best_raised >= _MIN_RAISED and self.shift_px != (0, 0)


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
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    # Coarse steps for large things: a shift of theirs that matters is larger too.
    step = int(1 + max(bottom - top, right - left) // _FINE_UP_TO_PX)
    steps = 1 + int(min(_SEARCH_SHARE * max(bottom - top, right - left), _MAX_SEARCH_PX)) // step
    reach = steps * step
    raised, known = (part[::step, ::step] for part in _raised(
        depth_m, camera, support, (top - reach, left - reach, bottom + reach, right + reach)))
    shape = mask[top:bottom:step, left:right:step].astype(np.float32)
    both = cv2.matchTemplate(raised, shape, cv2.TM_CCORR)
    share = both / np.maximum(cv2.matchTemplate(known, shape, cv2.TM_CCORR), 0.3 * shape.sum())
    here, best = float(share[steps, steps]), float(share.max())
    if best - here < _BETTER_BY:
        return Alignment(here, best, (0, 0))
    offsets = np.indices(share.shape) - steps
    distance = np.where(share > best - 0.02, np.hypot(*offsets), np.inf)
    y, x = (int(v) - steps for v in np.unravel_index(distance.argmin(), share.shape))
    if max(abs(x), abs(y)) >= steps:
        return Alignment(here, best, (0, 0))  # It rises towards another thing, outside our reach.
    return Alignment(here, best, (int(x) * step, int(y) * step))


def _raised(
    depth_m: np.ndarray, camera: CameraModel, support: SupportPlane,
    window: tuple[int, int, int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 maps of a window: 1 where a reading rises above the plane, 1 where one is.

    Pixels outside the image count as unknown.
    """
    top, left, bottom, right = window
    height, width = depth_m.shape
    inside = np.s_[max(top, 0):min(bottom, height), max(left, 0):min(right, width)]
    rows, columns = np.nonzero(np.isfinite(depth_m[inside]))
    rows, columns = rows + inside[0].start, columns + inside[1].start
    depths = depth_m[rows, columns].astype(np.float64)
    heights = support.heights(camera.points(rows, columns, depths))
    up = heights > max(_MIN_RISE_M, _NOISE_SIGMAS * support.noise_m)
    raised = np.zeros((bottom - top, right - left), np.float32)
    known = np.zeros_like(raised)
    known[rows - top, columns - left] = 1
    raised[rows[up] - top, columns[up] - left] = 1
    return raised, known
