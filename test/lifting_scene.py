# SPDX-License-Identifier: Apache-2.0
"""A drawn scene for lifting: a table 1 m below the camera and a box on it, all exact by hand."""

import numpy as np

from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.regions import ImageSize

SIZE = ImageSize(240, 320)
K = (300.0, 0.0, 159.5, 0.0, 300.0, 119.5, 0.0, 0.0, 1.0)
P = (300.0, 0.0, 159.5, 0.0, 0.0, 300.0, 119.5, 0.0, 0.0, 0.0, 1.0, 0.0)
CAMERA = CameraModel.from_calibration(SIZE, K, P, (), 'plumb_bob')
TABLE_M, TOP_M = 1.0, 0.9


def looking_down(noise_m=0.0, seed=0):
    """Depth and mask of a box of 0.1 x 0.2 m, 0.1 m high, centred below a camera that looks down.

    Its top is at 0.9 m: 33 x 67 px. From straight above, nothing else of it is seen.
    """
    depth = np.full((SIZE.height, SIZE.width), TABLE_M, np.float32)
    rows, columns = np.indices(depth.shape)
    mask = (np.abs(columns - 159.5) < 300 * 0.05 / TOP_M) & (
        np.abs(rows - 119.5) < 300 * 0.1 / TOP_M)
    depth[mask] = TOP_M
    if noise_m:
        depth += np.random.default_rng(seed).normal(0, noise_m, depth.shape).astype(np.float32)
    return depth, mask
