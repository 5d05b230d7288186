# SPDX-License-Identifier: Apache-2.0
"""Draws docs/images/lifting.png: things on rendered tables, lifted with the depth of a camera.

    .venv/bin/python -P tools/draw_lifting.py docs/images/lifting.png

Rendering needs OpenGL, as for samtok eval lifting.
"""

import sys
from pathlib import Path

import cv2
import numpy as np

from samtok_ros.demo.camera_views import CameraView
from samtok_ros.demo.lifted_results import LiftedResult
from samtok_ros.demo.target_picture import draw_target
from samtok_ros.evaluation.depth_sensor import DepthSensor
from samtok_ros.evaluation.lifting_scenes import LiftingScene, LiftingThing, lifting_scenes
from samtok_ros.lifting.target import lift_target
from samtok_ros.runtime.compressed import encode_jpeg
from samtok_ros.settings.lifting import PointSettings, QualitySettings

WANTED = ('bottle', 'bowl', 'box', 'mug')
SEED = 4001
GAP_PX = 6
SCALE = 0.72


def draw(scene: LiftingScene, thing: LiftingThing) -> np.ndarray:
    """Return the picture with points and box of a thing, (H, W, 3) uint8."""
    depth_m = DepthSensor().measure(scene.depth_m, np.random.default_rng(scene.seed))
    lifted = lift_target(thing.mask, depth_m, scene.camera, PointSettings(), QualitySettings())
    points_m = lifted.surface.points_m
    result = LiftedResult(0, 1, lifted.status, lifted.message, 1, points_m.mean(axis=0), points_m,
                          lifted.box, lifted.depth_share, lifted.surface.truncated, 0.0)
    return draw_target(scene.rgb, thing.mask, result,
                       CameraView(encode_jpeg(scene.rgb, 95), b'', scene.camera))


def main(path: Path) -> None:
    """Write the picture: four things in two rows."""
    found: dict[str, np.ndarray] = {}
    for scene in lifting_scenes(100, SEED):
        for thing in scene.things:
            if thing.shape in WANTED and thing.shape not in found and (
                    np.count_nonzero(thing.mask) > 6000):
                found[thing.shape] = draw(scene, thing)
                break
        if len(found) == len(WANTED):
            break
    pictures = [np.pad(found[shape], ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)
                for shape in WANTED]
    rows = [np.hstack(pictures[:2]), np.hstack(pictures[2:])]
    whole = np.vstack(rows)[:-GAP_PX, :-GAP_PX]
    whole = cv2.resize(whole, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.cvtColor(whole, cv2.COLOR_RGB2BGR))


if __name__ == '__main__':
    main(Path(sys.argv[1]))
