# SPDX-License-Identifier: Apache-2.0
"""Scenes without a picture: for sample texts, and for tests without a renderer."""

from dataclasses import dataclass

import numpy as np

from samtok_ros.training.descriptors import COLOUR_WORDS, SHAPE_PLURALS, SIZE_WORDS

_SHAPE_WORDS = tuple(SHAPE_PLURALS)


@dataclass(frozen=True)
class ImaginedObject:
    """The part of a SceneObject that questions read."""

    object_id: int
    shape: str
    colour: str
    size: str
    centre_xy: tuple[float, float]
    depth_m: float
    box_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class ImaginedScene:
    """A description without picture."""

    objects: tuple[ImaginedObject, ...]


def imagined_scene(rng: np.random.Generator) -> ImaginedScene:
    """Draw 3 to 7 things with alike ones among them."""
    shapes = rng.choice(_SHAPE_WORDS, 4)
    colours = rng.choice(COLOUR_WORDS, 4)
    return ImaginedScene(tuple(
        ImaginedObject(number + 1, str(rng.choice(shapes)), str(rng.choice(colours)),
                       str(rng.choice(SIZE_WORDS)), (float(rng.random()), float(rng.random())),
                       float(rng.uniform(0.4, 0.9)))
        for number in range(int(rng.integers(3, 8)))))
