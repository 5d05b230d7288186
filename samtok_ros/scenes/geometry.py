# SPDX-License-Identifier: Apache-2.0
"""What things on the table may look like: shapes, sizes, proportions and colours."""

import colorsys
from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.meshes import MESH_SHAPES, build_mesh, variants_of

SHAPES = ('box', 'ball', 'cylinder', 'cone', 'mug', 'bowl', 'bottle', 'ring')
SIZES = ('small', 'large')
SPLITS = ('train', 'heldout')

LARGE_TO_SMALL = 1 / 1.55
# Within +-5 % of its class: the smallest large thing is 1.4 times the largest small one.
_SIZE_JITTER = 0.05

# Proportions of primitives: each range is cut into this many bands, and these belong to the
# held-out scenes alone.
_BANDS = 10
_HELDOUT_BANDS = (2, 7)

# Hue in degrees, saturation and value, each as (low, high). The gaps between neighbours are wider
# than what coloured light moves: at least 8 degrees of hue from red to orange to yellow.
_HSV_RANGES = {
    'red': ((-8, 4), (0.80, 0.95), (0.62, 0.92)),
    'orange': ((20, 29), (0.88, 1.0), (0.88, 1.0)),
    'yellow': ((50, 58), (0.80, 1.0), (0.88, 1.0)),
    'green': ((105, 145), (0.60, 0.90), (0.40, 0.72)),
    'blue': ((210, 232), (0.70, 0.95), (0.55, 0.92)),
    'purple': ((274, 298), (0.55, 0.80), (0.42, 0.72)),
    'white': ((0, 360), (0.0, 0.04), (0.90, 1.0)),
    'black': ((0, 360), (0.0, 0.15), (0.03, 0.09)),
}
COLOURS = tuple(_HSV_RANGES)


@dataclass(frozen=True)
class Geometry:
    """The form of one thing, without pose and colour.

    Attributes:
        shape: one of SHAPES.
        variant: number of the mesh, None for a primitive.
        scale_xyz: half extents in metres of a primitive; stretch along x, y, z of a mesh.
    """

    shape: str
    variant: int | None
    scale_xyz: tuple[float, float, float]

    @property
    def height_m(self) -> float:
        """Height above the table it stands on."""
        if self.variant is None:
            return 2 * self.scale_xyz[2]
        return build_mesh(self.shape, self.variant).height_m * self.scale_xyz[2]

    @property
    def radius_m(self) -> float:
        """Radius of the upright cylinder around its own z axis that holds it."""
        if self.variant is not None:
            return build_mesh(self.shape, self.variant).radius_m * max(self.scale_xyz[:2])
        if self.shape == 'box':
            return float(np.hypot(*self.scale_xyz[:2]))
        return max(self.scale_xyz[:2])


def check_split(split: str) -> None:
    """Refuse a split that does not exist.

    Raises:
        ConfigError: it is neither 'train' nor 'heldout'.
    """
    if split not in SPLITS:
        raise ConfigError('there is no such split of scenes', expected=' or '.join(SPLITS),
                          got=repr(split))


def draw_proportion(rng: np.random.Generator, low: float, high: float, split: str) -> float:
    """Draw from the bands of [low, high) that belong to a split; the splits share no value."""
    heldout = split == 'heldout'
    bands = [band for band in range(_BANDS) if (band in _HELDOUT_BANDS) == heldout]
    band = bands[int(rng.integers(len(bands)))]
    return low + (high - low) * (band + rng.uniform(0.0, 1.0)) / _BANDS


def proportion_is_heldout(value: float, low: float, high: float) -> bool:
    """Say whether a proportion lies in one of the bands kept for held-out scenes."""
    return int((value - low) / (high - low) * _BANDS) in _HELDOUT_BANDS


def draw_geometry(rng: np.random.Generator, shape: str, size: str, split: str) -> Geometry:
    """Draw the form of one thing.

    Args:
        rng: source of randomness.
        shape: one of SHAPES.
        size: one of SIZES.
        split: 'train' or 'heldout'; mesh variants and proportions of the two have none in common.
    """
    scale = (1.0 if size == 'large' else LARGE_TO_SMALL) * rng.uniform(
        1 - _SIZE_JITTER, 1 + _SIZE_JITTER)
    if shape in MESH_SHAPES:
        variants = variants_of(split)
        variant = variants[int(rng.integers(len(variants)))]
        stretch = rng.uniform(0.94, 1.06)
        return Geometry(shape, variant, (scale, scale, scale * stretch))
    half = _PRIMITIVES[shape](rng, split)
    return Geometry(shape, None, tuple(float(scale * value) for value in half))


BOX_ASPECT = (1.0, 1.55)
BOX_HEIGHT = (0.62, 1.45)
BALL_RADIUS_M = (0.055, 0.063)
CYLINDER_HEIGHT = (0.7, 1.9)


def _box(rng: np.random.Generator, split: str) -> tuple[float, float, float]:
    """Half extents of a box of 118 mm cubed: longer than broad, flat to tall."""
    aspect = draw_proportion(rng, *BOX_ASPECT, split)
    height = draw_proportion(rng, *BOX_HEIGHT, split)
    base = 0.059 / (aspect * height) ** (1 / 3)
    return base * aspect, base, base * height


def _ball(rng: np.random.Generator, split: str) -> tuple[float, float, float]:
    radius = draw_proportion(rng, *BALL_RADIUS_M, split)
    return radius, radius, radius


def _cylinder(rng: np.random.Generator, split: str) -> tuple[float, float, float]:
    """Half extents of a cylinder whose height is 0.7 to 1.9 of its diameter."""
    height = draw_proportion(rng, *CYLINDER_HEIGHT, split)
    radius = 0.056 / height ** (1 / 3)
    return radius, radius, radius * height


_PRIMITIVES = {'box': _box, 'ball': _ball, 'cylinder': _cylinder}


def draw_rgb(rng: np.random.Generator, colour: str) -> tuple[float, float, float]:
    """Draw one shade of a colour, each channel in 0..1."""
    hue, saturation, value = (rng.uniform(*limits) for limits in _HSV_RANGES[colour])
    return colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value)
