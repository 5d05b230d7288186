# SPDX-License-Identifier: Apache-2.0
"""Scenes written by hand, without a renderer."""
import numpy as np

from samtok_ros.evaluation.heldout_scenes import EvaluationScene
from samtok_ros.scenes.sampling import SceneDescription, SceneObject
from samtok_ros.scenes.store import StorePlan, open_plan, write_shard

SIZE_HW = (24, 32)
# Object id, shape, colour, size, then rows and columns from, to.
THINGS = ((1, 'box', 'red', 'large', (2, 10), (2, 12)),
          (2, 'mug', 'red', 'small', (12, 20), (2, 8)),
          (3, 'ball', 'blue', 'small', (4, 12), (20, 30)))


def thing(object_id, shape, colour, size, rows, columns):
    height, width = SIZE_HW
    box = (columns[0] / width, rows[0] / height, columns[1] / width, rows[1] / height)
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    area = (rows[1] - rows[0]) * (columns[1] - columns[0]) / (height * width)
    return SceneObject(object_id, shape, colour, size, centre, box, area, 1.0,
                       1.0 - centre[1], 1.0, (0.0, 0.0, 1.0), 0.0)


def scene_of(things=THINGS, seed=5):
    segmentation = np.zeros(SIZE_HW, np.uint8)
    for object_id, _, _, _, rows, columns in things:
        segmentation[slice(*rows), slice(*columns)] = object_id
    image_rgb = np.full((*SIZE_HW, 3), 90, np.uint8)
    description = SceneDescription(seed, 'heldout', 0, tuple(thing(*one) for one in things))
    return EvaluationScene(image_rgb, segmentation, description)


def store_with(directory, count, seed=3, shard_scenes=2):
    """Write scenes as the renderer would, without one."""
    open_plan(directory, StorePlan('heldout', seed, (480, 640), shard_scenes))
    for shard in range(count // shard_scenes):
        scenes = [scene_of(seed=seed * 10**7 + shard * shard_scenes + row)
                  for row in range(shard_scenes)]
        rgb = np.zeros((shard_scenes, 480, 640, 3), np.uint8)
        rgb[:, :24, :32] = [scene.image_rgb for scene in scenes]
        segmentation = np.zeros((shard_scenes, 480, 640), np.uint8)
        segmentation[:, :24, :32] = [scene.segmentation for scene in scenes]
        write_shard(directory, shard, rgb, segmentation, [s.description for s in scenes])
