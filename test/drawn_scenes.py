# SPDX-License-Identifier: Apache-2.0
"""Squares and discs on grey, with their truth: enough to learn from, without a renderer."""

import numpy as np

from samtok_ros.scenes.geometry import COLOURS, SHAPES, SIZES
from samtok_ros.training.imagined_scenes import ImaginedObject, ImaginedScene

PAINT = {'red': (200, 30, 30), 'green': (30, 160, 40), 'blue': (30, 60, 200),
         'yellow': (220, 210, 40), 'orange': (240, 140, 20), 'purple': (130, 40, 160),
         'white': (235, 235, 235), 'black': (20, 20, 20)}


class DrawnScenes:
    """A scene store of three things each, side by side."""

    def __init__(self, count: int):
        self._scenes = [self._draw(np.random.default_rng(number)) for number in range(count)]

    def __len__(self):
        return len(self._scenes)

    def rgb(self, index):
        return self._scenes[index][0]

    def segmentation(self, index):
        return self._scenes[index][1]

    def description(self, index):
        return self._scenes[index][2]

    @staticmethod
    def _draw(rng):
        rgb = np.full((240, 320, 3), 110, np.uint8)
        segmentation = np.zeros((240, 320), np.uint8)
        rows, columns = np.mgrid[:240, :320]
        objects = []
        for number in range(1, 4):
            x, y = 60 + 100 * (number - 1), int(rng.integers(60, 180))
            shape, colour = str(rng.choice(SHAPES[:2])), str(rng.choice(COLOURS))
            away = np.maximum(abs(rows - y), abs(columns - x)) if shape == 'box' else np.hypot(
                rows - y, columns - x)
            segmentation[away < 30] = number
            rgb[away < 30] = PAINT[colour]
            objects.append(ImaginedObject(number, shape, colour, SIZES[number % 2],
                                          (x / 320, y / 240), 0.9 - y / 400,
                                          ((x - 30) / 320, (y - 30) / 240,
                                           (x + 30) / 320, (y + 30) / 240)))
        return rgb, segmentation, ImaginedScene(tuple(objects))
