# SPDX-License-Identifier: Apache-2.0
"""Shapes for boxes and points."""

import numpy as np

from samtok_ros.masks.prompt_shapes import prompt_shapes
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt

SIZE = ImageSize(100, 200)


def test_prompt_shapes_when_boxes_then_filled_to_the_pixels_they_touch():
    whole, part, thin = prompt_shapes(
        [BoxPrompt(10, 20, 30, 25), BoxPrompt(10.5, 20.2, 11.5, 20.4),
         BoxPrompt(199.9, 99.9, 200, 100)], SIZE)
    assert whole.sum() == 100 and whole[20:25, 10:30].all()
    assert part.sum() == 2 and part[20, 10:12].all()
    assert thin.sum() == 1 and thin[99, 199]


def test_prompt_shapes_when_a_point_then_a_disc_of_six_percent_of_the_shorter_side():
    disc, = prompt_shapes([PointPrompt(100.0, 50.0)], SIZE)
    rows, columns = np.nonzero(disc)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (44, 55, 94, 105)
    assert disc.sum() == 112
    corner, = prompt_shapes([PointPrompt(0.5, 0.5)], ImageSize(5, 5))
    assert corner.sum() == 3 and corner[0, 0]
    assert prompt_shapes([], SIZE).shape == (0, 100, 200)
