# SPDX-License-Identifier: Apache-2.0
"""Everything around the objects: the table's texture, floor, walls and lights."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

TEXTURE_SIZE = 256
FLOOR_TEXTURE_SIZE = 64
TEXTURE_KINDS = ('plain', 'checker', 'stripes', 'wood', 'speckle')
MAX_LIGHTS = 3


@dataclass(frozen=True)
class Light:
    """A lamp that shines on the table's centre.

    Attributes:
        position_m: world.
        rgb: strength per channel, 0..1.
        casts_shadow: only the first lamp may.
    """

    position_m: tuple[float, float, float]
    rgb: tuple[float, float, float]
    casts_shadow: bool


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What is in the picture but never asked for.

    Attributes:
        table_half_m: half length and half width of the table top; its upper side is z = 0.
        table_yaw: radians.
        table_texture: (TEXTURE_SIZE, TEXTURE_SIZE, 3) uint8.
        floor_texture: (FLOOR_TEXTURE_SIZE, FLOOR_TEXTURE_SIZE, 3) uint8.
        wall_rgb: 0..1.
        ambient: strength of the light from everywhere, 0..1.
        lights: one to MAX_LIGHTS lamps.
    """

    table_half_m: tuple[float, float]
    table_yaw: float
    table_texture: np.ndarray
    floor_texture: np.ndarray
    wall_rgb: tuple[float, float, float]
    ambient: float
    lights: tuple[Light, ...]


def draw_surroundings(rng: np.random.Generator) -> Surroundings:
    """Draw table, floor, walls and lights."""
    table_kind = TEXTURE_KINDS[int(rng.integers(len(TEXTURE_KINDS)))]
    return Surroundings(
        table_half_m=(rng.uniform(0.5, 0.9), rng.uniform(0.42, 0.7)),
        table_yaw=rng.uniform(0.0, np.pi),
        table_texture=draw_texture(rng, table_kind, TEXTURE_SIZE),
        floor_texture=draw_texture(rng, _FLOOR_KINDS[int(rng.integers(3))], FLOOR_TEXTURE_SIZE),
        wall_rgb=tuple(_muted_rgb(rng)),
        ambient=rng.uniform(0.32, 0.45),
        lights=_draw_lights(rng))


def draw_texture(rng: np.random.Generator, kind: str, size: int) -> np.ndarray:
    """Draw a muted texture of one of TEXTURE_KINDS.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    first = _muted_rgb(rng)
    # The second tone is the first, lighter or darker: two hues of their own would look like things.
    second = np.clip(first * rng.uniform(0.70, 1.32), 0.12, 0.8).astype(np.float32)
    weight = _PATTERNS[kind](rng, size)
    weight = weight + rng.uniform(0.0, 0.1) * _noise(rng, size, size // 2)
    shade = np.clip(weight, -0.2, 1.2)[..., None] * ((second - first) * 255)
    shade += first * 255
    return np.clip(shade, 0, 255).astype(np.uint8)


def _muted_rgb(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour too dull, too dark for white and too light for black, so never an object's.

    Half of them are wooden browns, which may be a little stronger than other hues.
    """
    if rng.random() < 0.5:
        hue, saturation = rng.uniform(0.05, 0.11), rng.uniform(0.1, 0.42)
    else:
        hue, saturation = rng.uniform(), rng.uniform(0.0, 0.2)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, rng.uniform(0.3, 0.7)), dtype=np.float32)


def _noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise in -1..1, (size, size) float32, with that many cells across."""
    coarse = rng.random((cells, cells), dtype=np.float32) * 2 - 1
    return cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR)


def _axis(size: int) -> np.ndarray:
    return np.arange(size, dtype=np.float32) / size


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return 0.3 * _noise(rng, size, 4)


def _checker(rng: np.random.Generator, size: int) -> np.ndarray:
    index = (_axis(size) * int(rng.integers(4, 16))).astype(np.int32)
    return ((index[:, None] + index[None, :]) % 2).astype(np.float32)


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    wave = np.sin(2 * np.pi * int(rng.integers(4, 18)) * _axis(size) + rng.uniform(0, 6))
    share = 0.5 + 0.5 * np.tanh(rng.uniform(2, 8) * (wave + rng.uniform(-0.4, 0.4)))
    return np.broadcast_to(share[:, None], (size, size))


def _wood(rng: np.random.Generator, size: int) -> np.ndarray:
    """Rings of growth: a wave across the boards, bent by slow noise and frayed by fine noise."""
    bent = _axis(size)[:, None] + rng.uniform(0.02, 0.08) * _noise(rng, size, 5)
    rings = np.sin(2 * np.pi * rng.uniform(5, 14) * bent)
    fibre = cv2.resize(rng.random((size, 6), dtype=np.float32), (size, size))
    return 0.3 + 0.35 * rings + 0.4 * fibre


def _speckle(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.clip(0.5 + 2 * _noise(rng, size, int(rng.integers(24, 100))), 0.0, 1.0)


_FLOOR_KINDS = ('plain', 'checker', 'wood')
_PATTERNS = {'plain': _plain, 'checker': _checker, 'stripes': _stripes, 'wood': _wood,
             'speckle': _speckle}


def _draw_lights(rng: np.random.Generator) -> tuple[Light, ...]:
    """Draw a lamp that may cast shadows and up to two weaker ones, in slightly tinted white."""
    lights = []
    for index in range(int(rng.integers(1, MAX_LIGHTS + 1))):
        angle, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.9, 1.8)
        reach = rng.uniform(0.2, 1.2)
        strength = rng.uniform(0.48, 0.66) if index == 0 else rng.uniform(0.08, 0.22)
        tint = 1.0 - rng.uniform(0.0, 0.08, 3)
        lights.append(Light(
            (reach * np.cos(angle), reach * np.sin(angle), height), tuple(strength * tint),
            index == 0 and bool(rng.random() < 0.6)))
    return tuple(lights)
