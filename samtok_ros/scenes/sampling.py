# SPDX-License-Identifier: Apache-2.0
"""Random scenes from a seed: what stands where, seen by which camera under which light."""

from dataclasses import dataclass

import numpy as np

from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.geometry import (
    COLOURS,
    SHAPES,
    SIZES,
    SPLITS,
    Geometry,
    check_split,
    draw_geometry,
    draw_rgb,
)
from samtok_ros.scenes.surroundings import Surroundings, draw_surroundings

MIN_OBJECTS = 3
MAX_OBJECTS = 7
_PLACEMENT_TRIES = 60
_GAP_M = 0.008
_IMAGE_MARGIN = 0.02


@dataclass(frozen=True)
class PlacedObject:
    """One thing on the table.

    Attributes:
        object_id: 1, 2, ...; its value in the segmentation image.
        shape, colour, size: as in SHAPES, COLOURS, SIZES.
        geometry: its form.
        rgb: its shade, 0..1.
        gloss: strength of the highlight, 0..1.
        position_m: centre of its foot in the world, z = 0 on the table.
        yaw: turn around the vertical, radians.
    """

    object_id: int
    shape: str
    colour: str
    size: str
    geometry: Geometry
    rgb: tuple[float, float, float]
    gloss: float
    position_m: tuple[float, float, float]
    yaw: float


@dataclass(frozen=True, eq=False)
class SceneLayout:
    """All that is needed to render one scene; the renderer adds nothing of its own.

    Attributes:
        seed, split, attempt: where it was drawn from, see sample_layout.
        objects: things on the table.
        surroundings: table, floor, walls, lights.
        camera: where the picture is taken from; a sequence overrides it per frame.
    """

    seed: int
    split: str
    attempt: int
    objects: tuple[PlacedObject, ...]
    surroundings: Surroundings
    camera: Camera


@dataclass(frozen=True)
class SceneObject:
    """One thing as it appears in the picture. Image coordinates are fractions of width and height.

    Attributes:
        object_id: its value in the segmentation image, 1, 2, ...
        shape, colour, size: as in SHAPES, COLOURS, SIZES.
        centre_xy: mean position of its visible pixels, 0..1.
        box_xyxy: box around its visible pixels, right and bottom edges outside, 0..1.
        area: visible pixels over image pixels.
        visible_fraction: visible pixels over the pixels it would have without the other things.
        depth_m: distance of its centre along the optical axis.
        distance_m: distance of its centre from the camera.
        position_m: its centre in the camera's optical frame (x right, y down, z forward).
        yaw: turn around the vertical in the world, radians.
    """

    object_id: int
    shape: str
    colour: str
    size: str
    centre_xy: tuple[float, float]
    box_xyxy: tuple[float, float, float, float]
    area: float
    visible_fraction: float
    depth_m: float
    distance_m: float
    position_m: tuple[float, float, float]
    yaw: float


@dataclass(frozen=True)
class SceneDescription:
    """What a picture shows. `sample_layout(seed, split, attempt)` gives its layout again.

    Attributes:
        seed, split, attempt: arguments that redraw the layout.
        objects: by object id; every one is large and visible enough to be asked for.
    """

    seed: int
    split: str
    attempt: int
    objects: tuple[SceneObject, ...]


def sample_layout(seed: int, split: str, attempt: int = 0) -> SceneLayout:
    """Draw a scene.

    Args:
        seed: any number of 0 or more; equal arguments give equal scenes.
        split: 'train' or 'heldout'; enters the random stream, so no seed gives the same scene in
            both, and mesh variants and proportions have none in common.
        attempt: counts the drawings thrown away for this seed, because a thing was hidden.
    Raises:
        ConfigError: the split is unknown.
    """
    check_split(split)
    rng = np.random.default_rng([SPLITS.index(split), seed, attempt])
    camera = _draw_camera(rng)
    objects = []
    for shape, colour, size in _draw_kinds(rng):
        geometry = draw_geometry(rng, shape, size, split)
        place = _find_place(rng, geometry, objects, camera)
        if place is None:
            continue
        objects.append(PlacedObject(
            len(objects) + 1, shape, colour, size, geometry, draw_rgb(rng, colour),
            rng.uniform(0.0, 0.6), (*place, 0.0), rng.uniform(0.0, 2 * np.pi)))
    return SceneLayout(seed, split, attempt, tuple(objects), draw_surroundings(rng), camera)


def _draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera 0.5 to 0.75 m from the middle of the table, looking down 30 to 60 degrees."""
    distance = rng.uniform(0.5, 0.75)
    down, around = np.radians(rng.uniform(30, 60)), rng.uniform(0, 2 * np.pi)
    target = np.array([*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.0, 0.05)])
    offset = distance * np.array([np.cos(down) * np.cos(around), np.cos(down) * np.sin(around),
                                  np.sin(down)])
    return Camera.look_at(target + offset, target, rng.uniform(34, 44))


def _draw_kinds(rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Draw shape, colour and size of each thing.

    In most scenes some things share a shape, a colour or both: otherwise goals such as 'the left
    red mug' or 'all bowls' would hardly ever make sense.
    """
    count = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    kinds = [(_pick(rng, SHAPES), _pick(rng, COLOURS), _pick(rng, SIZES)) for _ in range(count)]
    likeness, sharers = rng.random(), int(rng.integers(2, 4))
    shape, colour, _ = kinds[0]
    for index in range(1, min(sharers, count)):
        _, other_colour, other_size = kinds[index]
        if likeness < 0.30:
            kinds[index] = (shape, other_colour, other_size)
        elif likeness < 0.50:
            kinds[index] = (kinds[index][0], colour, other_size)
        elif likeness < 0.72:
            kinds[index] = (shape, colour, other_size)
    order = rng.permutation(count)
    return [kinds[index] for index in order]


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _find_place(rng: np.random.Generator, geometry: Geometry, others: list[PlacedObject],
                camera: Camera) -> tuple[float, float] | None:
    """Find a free spot on the table where the whole thing is in the picture, or None."""
    radius, height = geometry.radius_m, geometry.height_m
    taken = [(other.position_m[0], other.position_m[1],
              radius + other.geometry.radius_m + _GAP_M) for other in others]
    for _ in range(_PLACEMENT_TRIES):
        x, y = rng.uniform(-0.32, 0.32, 2)
        clear = all((x - left) ** 2 + (y - front) ** 2 > apart ** 2
                    for left, front, apart in taken)
        if clear and _in_picture(camera, x, y, radius, height):
            return float(x), float(y)
    return None


_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (0, 1)], dtype=np.float64)


def _in_picture(camera: Camera, x: float, y: float, radius: float, height: float) -> bool:
    """Say whether the block around a thing lies inside the picture and clear of the camera."""
    corners = np.array([x, y, 0.0]) + _CORNERS * np.array([0.8 * radius, 0.8 * radius, height])
    if (camera.to_camera(corners)[:, 2] < 0.2).any():
        return False
    xy = camera.project(corners)
    return bool(((xy > _IMAGE_MARGIN) & (xy < 1 - _IMAGE_MARGIN)).all())
