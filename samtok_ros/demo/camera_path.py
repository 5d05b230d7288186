# SPDX-License-Identifier: Apache-2.0
"""A slow camera move around a table, through the view that a scene was drawn for."""

import numpy as np

from samtok_ros.scenes.camera import Camera

SWEEP_DEG = 20.0
_FOCUS_HEIGHT_M = 0.02
_RISE_DEG = 2.5
_APPROACH = 0.04


def orbit(camera: Camera, fraction: float, clockwise: bool = False) -> Camera:
    """Return the camera at one moment of an orbit around what it looks at.

    It swings SWEEP_DEG around the vertical and meanwhile rises, sinks, approaches and retreats a
    little: never far from the views that the model was trained on.

    Args:
        camera: the view in the middle of the move; must look down at the table.
        fraction: -0.5 at the start, 0 in the middle, 0.5 at the end.
        clockwise: which way round, seen from above.
    """
    forward = camera.rotation[:, 2]
    focus = camera.position_m + forward * (_FOCUS_HEIGHT_M - camera.position_m[2]) / forward[2]
    offset = camera.position_m - focus
    distance = float(np.linalg.norm(offset))
    around = np.arctan2(offset[1], offset[0])
    around += np.radians(SWEEP_DEG) * fraction * (-1 if clockwise else 1)
    wave = np.sin(2 * np.pi * fraction)
    down = np.arcsin(offset[2] / distance) + np.radians(_RISE_DEG) * wave
    place = distance * (1 - _APPROACH * wave) * np.array(
        [np.cos(down) * np.cos(around), np.cos(down) * np.sin(around), np.sin(down)])
    return Camera.look_at(focus + place, focus, camera.fovy_deg)
