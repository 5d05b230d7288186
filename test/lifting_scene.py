# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes for lifting: a table and boxes on it, all exact by hand."""

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


def looking_at(target, *others, down_deg, away_m=0.6, noise_m=0.001):
    """Depth and mask of an upright box, and its true middle in the optical frame.

    Boxes are pairs of their lowest and highest corner: x to the right, y away from the camera, z up
    from the table, which is endless. The camera looks at the middle of the first one, from so far.
    """
    angle = np.radians(down_deg)
    away, right = np.array([0, np.cos(angle), -np.sin(angle)]), np.array([1.0, 0, 0])
    axes = np.stack([right, np.cross(away, right), away])
    middle = np.mean(target, axis=0)
    at = middle - away_m * away
    rows, columns = np.indices((SIZE.height, SIZE.width))
    rays = np.stack([(columns - 159.5) / 300, (rows - 119.5) / 300, np.ones(rows.shape)], -1) @ axes
    with np.errstate(divide='ignore'):
        depth = np.where(rays[..., 2] < 0, -at[2] / rays[..., 2], np.inf)
        seen = [_distance(np.array(box), at, rays) for box in (target, *others)]
    depth = np.minimum.reduce([depth, *seen])
    mask = (seen[0] <= depth) & np.isfinite(depth)
    depth[depth > 4] = np.nan
    depth += np.random.default_rng(0).normal(0, noise_m, depth.shape)
    return depth.astype(np.float32), mask, axes @ (middle - at)


def _distance(box, at, rays):
    """Depth (H, W) at which rays enter a box, infinite where they miss it."""
    first, second = (box[0] - at) / rays, (box[1] - at) / rays
    enter, leave = np.minimum(first, second).max(-1), np.maximum(first, second).min(-1)
    return np.where((enter <= leave) & (enter > 0), enter, np.inf)
