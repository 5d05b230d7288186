# SPDX-License-Identifier: Apache-2.0
"""A small drawn bag with truth and goals, for tests that need no drawing library."""

import numpy as np

from samtok_ros.demo.camera_bag import CameraBagWriter, CameraFrame
from samtok_ros.demo.camera_views import CameraView
from samtok_ros.demo.goals import DemoGoal, save_goals
from samtok_ros.demo.make_bag import CAMERA_BAG, GOALS_FILE, START_NS, TRUTH_FILE
from samtok_ros.demo.truth import FrameTruth, TrueObject, save_truth
from samtok_ros.image.depth_codec import depth_to_compressed
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.compressed import encode_jpeg

PERIOD_NS = 100_000_000
SIZE_HW = (48, 64)
INTRINSICS = np.array([[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]])
# The fake backend takes a number word for that many regions, and 'nothing' for none.
GOAL_TEXTS = ('one mug', 'nothing of the kind', 'two balls')


def stamp(index):
    return START_NS + index * PERIOD_NS


def sample_masks(index):
    """Two squares that move to the right: object 1 is red and near, object 2 blue and far."""
    red, blue = np.zeros(SIZE_HW, bool), np.zeros(SIZE_HW, bool)
    red[10:22, 4 + index:16 + index] = True
    blue[30:40, 30 + index:44 + index] = True
    return {1: red, 2: blue}


def sample_frame(index):
    masks = sample_masks(index)
    rgb = np.full((*SIZE_HW, 3), 120, np.uint8)
    depth = np.full(SIZE_HW, 900, np.uint16)
    depth[:, -1] = 0
    for number, colour in ((1, (210, 30, 30)), (2, (30, 30, 210))):
        rgb[masks[number]] = colour
        depth[masks[number]] = 500 + 100 * number
    turn = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    return CameraFrame(stamp(index), rgb, depth, INTRINSICS, turn, np.array([0.1 * index, 0, 1.0]))


def sample_view(index):
    """What a reader of the bag sees of a frame."""
    frame = sample_frame(index)
    return CameraView(encode_jpeg(frame.rgb, 95), depth_to_compressed(frame.depth_mm),
                      CameraModel(ImageSize(*SIZE_HW), INTRINSICS))


def sample_box(mask, depth_m):
    """The box, 0.1 m deep, of which a mask shows the front; it stands upright in the image."""
    rows, columns = np.nonzero(mask)
    width, height = (depth_m * (np.ptp(pixels) + 1) / 60 for pixels in (columns, rows))
    x, y = (depth_m * (pixels.mean() - middle) / 60
            for pixels, middle in ((columns, 31.5), (rows, 23.5)))
    return OrientedBox(np.array([x, y, depth_m + 0.05]),
                       np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
                       np.array([width, 0.1, height]), completed=True)


def sample_truth(index, scene=0):
    objects = tuple(
        TrueObject(number, 'box', colour, 'small', (0.0, 0.0, 0.5 + 0.1 * number), mask,
                   sample_box(mask, 0.5 + 0.1 * number))
        for (number, mask), colour in zip(sample_masks(index).items(), ('red', 'blue'),
                                          strict=True))
    return FrameTruth(stamp(index), scene, SIZE_HW, objects)


def sample_goals(frames):
    """One goal with a target, one without, one with two, a third of the images each."""
    third = frames // 3
    facts = zip(GOAL_TEXTS, ('attribute', 'none', 'several'), ((1,), (), (1, 2)), strict=True)
    return tuple(
        DemoGoal(text, kind, 0, stamp(number * third), stamp((number + 1) * third), targets)
        for number, (text, kind, targets) in enumerate(facts))


def write_sample(folder, frames=9):
    """Write a folder as `samtok make-bag` does."""
    folder.mkdir(exist_ok=True)
    with CameraBagWriter(folder / CAMERA_BAG, 95) as bag:
        for index in range(frames):
            bag.write(sample_frame(index))
    save_truth(folder / TRUTH_FILE, [sample_truth(index) for index in range(frames)])
    save_goals(folder / GOALS_FILE, sample_goals(frames))
    return folder
