# SPDX-License-Identifier: Apache-2.0
"""The organised cloud of everything but the target, for a planning scene.

With the target in it, every grasp would collide with what is to be grasped.
"""

from functools import lru_cache

import cv2
import numpy as np

from samtok_ros.lifting.camera_model import CameraModel


def scene_points(
    depth_m: np.ndarray, camera: CameraModel, mask: np.ndarray | None, margin_px: int,
) -> np.ndarray:
    """Lift a whole depth image.

    Args:
        depth_m: (H, W) float32 metres along the optical axis, NaN for no reading.
        camera: its calibration.
        mask: (H, W) bool, left out; None leaves nothing out.
        margin_px: around the mask that is left out too.
    Returns:
        (H, W, 3) float32 in the optical frame; NaN where nothing was measured or left out.
    """
    kept = depth_m
    if mask is not None and mask.any():
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1,) * 2)
        kept = np.where(cv2.dilate(mask.astype(np.uint8), disc) > 0, np.float32(np.nan), depth_m)
    return _all_rays(camera) * kept[..., None]


@lru_cache(maxsize=2)
def _all_rays(camera: CameraModel) -> np.ndarray:
    """Return (H, W, 3) float32 directions of all pixels, at depth 1."""
    rows, columns = np.indices((camera.size.height, camera.size.width)).reshape(2, -1)
    rays = np.column_stack([camera.rays(rows, columns), np.ones(len(rows))])
    return rays.astype(np.float32).reshape(camera.size.height, camera.size.width, 3)
