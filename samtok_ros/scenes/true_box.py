# SPDX-License-Identifier: Apache-2.0
"""The true box of a thing: what a box that was lifted from one view is compared with."""

import cv2
import numpy as np

from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.geometry import Geometry
from samtok_ros.scenes.meshes import build_mesh
from samtok_ros.scenes.sampling import PlacedObject

# OpenCV computes with float32: micrometres around the thing itself are kept.
_MICROMETRES = 1e6


def true_box(placed: PlacedObject, camera: Camera) -> OrientedBox:
    """Return the smallest upright box that holds a thing, handles included.

    Args:
        placed: the thing, standing on z = 0 of the world.
        camera: whose optical frame the box is given in.
    Returns:
        Axes as in OrientedBox: the longer horizontal one, the shorter one, and up. Round things
        have no longer one; theirs point anywhere.
    """
    middle_xy, turn, lengths_xy = _footprint(placed.geometry)
    cos, sin = np.cos(placed.yaw), np.sin(placed.yaw)
    placed_turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    axes = placed_turn @ turn
    height = placed.geometry.height_m
    centre = np.array(placed.position_m) + placed_turn @ np.array([*middle_xy, height / 2])
    return OrientedBox(camera.to_camera(centre[None])[0], camera.rotation.T @ axes,
                       np.array([*lengths_xy, height]), completed=True)


def _footprint(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return middle (2,), axes (3, 3) in columns and lengths (2,), longer first, of a thing's own.

    Its own frame: around its foot, z up, before it is turned.
    """
    if geometry.variant is None:
        middle, angle = np.zeros(2), 0.0
        lengths = 2 * np.array(geometry.scale_xyz[:2])
    else:
        vertices = build_mesh(geometry.shape, geometry.variant).vertices_m * geometry.scale_xyz
        rectangle = cv2.minAreaRect((vertices[:, :2] * _MICROMETRES).astype(np.float32))
        middle, lengths = (np.array(pair) / _MICROMETRES for pair in rectangle[:2])
        angle = np.radians(rectangle[2])
    if lengths[1] > lengths[0]:
        lengths, angle = lengths[::-1], angle + np.pi / 2
    cos, sin = np.cos(angle), np.sin(angle)
    return middle, np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]), lengths
