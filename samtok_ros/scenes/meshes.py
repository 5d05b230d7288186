# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes of the shapes that are no primitives: cone, mug, bowl, bottle and ring.

Each shape exists in numbered variants with their own proportions. The variants are split once and
for all: held-out scenes use meshes that no training scene has ever shown.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

MESH_SHAPES = ('cone', 'mug', 'bowl', 'bottle', 'ring')
TRAIN_VARIANTS = 24
HELDOUT_VARIANTS = 8
VARIANTS = TRAIN_VARIANTS + HELDOUT_VARIANTS

# Facets around the axis: at 640x480 an object is at most 250 px across, so a facet is below 20 px.
_SEGMENTS = 28


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface that stands on z = 0 around the z axis, at the size called 'large'.

    Attributes:
        vertices_m: (V, 3) float64, metres, z up.
        faces: (F, 3) int64, counter-clockwise seen from outside.
    """

    vertices_m: np.ndarray
    faces: np.ndarray

    @cached_property
    def radius_m(self) -> float:
        """Radius of the smallest upright cylinder around the z axis that holds the mesh."""
        return float(np.hypot(self.vertices_m[:, 0], self.vertices_m[:, 1]).max())

    @cached_property
    def height_m(self) -> float:
        """Height of the highest vertex."""
        return float(self.vertices_m[:, 2].max())


def variants_of(split: str) -> range:
    """Return the variant numbers that scenes of a split ('train' or 'heldout') may use."""
    return range(TRAIN_VARIANTS) if split == 'train' else range(TRAIN_VARIANTS, VARIANTS)


@cache
def build_mesh(shape: str, variant: int) -> Mesh:
    """Build one variant of a mesh shape; the same arguments always give the same mesh.

    Args:
        shape: one of MESH_SHAPES.
        variant: 0 .. VARIANTS - 1.
    Returns:
        The mesh at 'large' size.
    """
    rng = np.random.default_rng([MESH_SHAPES.index(shape), variant])
    return _BUILDERS[shape](rng)


def lathe(profile_rz: np.ndarray, segments: int = _SEGMENTS) -> Mesh:
    """Turn a profile around the z axis.

    Args:
        profile_rz: (P, 2) radius and height, from the bottom's centre over the outside to the
            inside's or top's centre; first and last radius are 0, the others are positive.
        segments: facets around the axis.
    Returns:
        The closed surface.
    """
    angles = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    rings = len(profile_rz) - 2
    radius, height = profile_rz[1:-1, 0], profile_rz[1:-1, 1]
    ring_vertices = np.stack([
        np.outer(radius, np.cos(angles)), np.outer(radius, np.sin(angles)),
        np.repeat(height[:, None], segments, axis=1)], axis=-1).reshape(-1, 3)
    poles = np.array([[0.0, 0.0, profile_rz[0, 1]], [0.0, 0.0, profile_rz[-1, 1]]])
    bottom, top = rings * segments, rings * segments + 1
    here = np.arange(segments)
    after = (here + 1) % segments
    last = (rings - 1) * segments
    faces = [np.stack([np.full(segments, bottom), after, here], axis=1),
             np.stack([last + here, last + after, np.full(segments, top)], axis=1)]
    faces += _band_faces(rings, segments, closed=False)
    return Mesh(np.concatenate([ring_vertices, poles]), np.concatenate(faces))


def torus_arc(major_m: tuple[float, float], tube_m: tuple[float, float], arc: tuple[float, float],
              segments: int = _SEGMENTS, sides: int = 10) -> Mesh:
    """Sweep an ellipse along an elliptic arc in the x-z plane; a full turn closes to a torus.

    Args:
        major_m: half axes of the arc along x and z.
        tube_m: half axes of the section, within the plane of the arc and along y.
        arc: first and last angle, radians, from the x axis towards z.
        segments: steps along the arc.
        sides: corners of the section.
    Returns:
        The surface; an open arc is closed by flat ends.
    """
    full = np.isclose(arc[1] - arc[0], 2 * np.pi)
    path = np.linspace(arc[0], arc[1], segments, endpoint=not full)
    section = np.linspace(0.0, 2 * np.pi, sides, endpoint=False)
    out = tube_m[0] * np.cos(section)[None, :]
    vertices = np.stack([
        np.cos(path)[:, None] * (major_m[0] + out),
        np.broadcast_to(tube_m[1] * np.sin(section)[None, :], (segments, sides)),
        np.sin(path)[:, None] * (major_m[1] + out)], axis=-1).reshape(-1, 3)
    faces = _band_faces(segments, sides, closed=bool(full))
    if not full:
        fan = np.arange(1, sides - 1)
        start = np.stack([np.zeros_like(fan), fan + 1, fan], axis=1)
        faces += [start, start[:, ::-1] + (segments - 1) * sides]
    return Mesh(vertices, np.concatenate(faces))


def _band_faces(rings: int, sides: int, closed: bool) -> list[np.ndarray]:
    """Join neighbouring rings of vertices with two triangles per quad."""
    here = np.arange(sides)
    after = (here + 1) % sides
    faces = []
    for ring in range(rings if closed else rings - 1):
        low, high = ring * sides, ((ring + 1) % rings) * sides
        faces.append(np.stack([low + here, low + after, high + after], axis=1))
        faces.append(np.stack([low + here, high + after, high + here], axis=1))
    return faces


def _joined(first: Mesh, second: Mesh) -> Mesh:
    return Mesh(np.concatenate([first.vertices_m, second.vertices_m]),
                np.concatenate([first.faces, second.faces + len(first.vertices_m)]))


def _moved(mesh: Mesh, offset_m: tuple[float, float, float]) -> Mesh:
    return Mesh(mesh.vertices_m + np.asarray(offset_m), mesh.faces)


def _cone(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.054, 0.064)
    height = radius * rng.uniform(1.9, 2.8)
    tip = radius * rng.uniform(0.02, 0.12)
    bend = rng.uniform(0.85, 1.2)
    steps = np.linspace(0.0, 1.0, 7)
    side = np.stack([tip + (radius - tip) * (1 - steps) ** bend, 0.004 + steps * (height - 0.004)],
                    axis=1)
    return lathe(np.concatenate([[[0, 0], [radius, 0]], side, [[0, height]]]))


def _mug(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.043, 0.050)
    height = radius * rng.uniform(1.75, 2.4)
    foot = radius * rng.uniform(0.82, 1.04)
    bulge = rng.uniform(-0.03, 0.07) * radius
    wall = radius * rng.uniform(0.09, 0.13)
    steps = np.linspace(0.0, 1.0, 6)
    outer_r = foot + (radius - foot) * steps + bulge * np.sin(np.pi * steps)
    outer = np.stack([outer_r, 0.003 + steps * (height - 0.005)], axis=1)
    rim = [[radius - 0.3 * wall, height], [radius - 0.7 * wall, height]]
    inner = np.stack([outer_r - wall, wall + steps * (height - wall - 0.002)], axis=1)[::-1]
    body = lathe(np.concatenate([[[0, 0], [foot - 0.003, 0]], outer, rim, inner, [[0, wall]]]))
    reach = (radius * rng.uniform(0.45, 0.68), height * rng.uniform(0.26, 0.34))
    tube = radius * rng.uniform(0.11, 0.16)
    handle = torus_arc(reach, (tube, tube * rng.uniform(0.9, 1.5)), (-np.pi / 2, np.pi / 2), 14, 8)
    middle = height * rng.uniform(0.48, 0.56)
    # Both ends vanish inside the wall: the handle leans as the wall does where it is fixed.
    low, high = np.interp(
        [middle - reach[1], middle + reach[1]], outer[:, 1], outer_r - 0.55 * wall)
    lean = np.array([[1.0, 0.0, (high - low) / (2 * reach[1])], [0, 1, 0], [0, 0, 1]])
    leaning = Mesh(handle.vertices_m @ lean.T, handle.faces)
    return _joined(body, _moved(leaning, ((low + high) / 2, 0.0, middle)))


def _bowl(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.070, 0.082)
    height = radius * rng.uniform(0.58, 0.82)
    foot = radius * rng.uniform(0.35, 0.55)
    belly = rng.uniform(0.42, 0.75)
    wall = radius * rng.uniform(0.06, 0.10)
    steps = np.linspace(0.0, 1.0, 9)
    outer_r = foot + (radius - foot) * steps ** belly
    outer = np.stack([outer_r, 0.006 + steps * (height - 0.006)], axis=1)
    inner_r = np.maximum(outer_r - wall, 0.25 * foot)
    inner = np.stack([inner_r, 0.006 + wall + steps * (height - 0.006 - wall)], axis=1)[::-1]
    rim = [[radius - 0.5 * wall, height + 0.15 * wall]]
    base = [[0, 0], [foot * 0.95, 0]]
    return lathe(np.concatenate([base, outer, rim, inner, [[0, 0.006 + wall]]]))


def _bottle(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.036, 0.043)
    height = radius * rng.uniform(4.2, 5.2)
    body = height * rng.uniform(0.50, 0.62)
    neck_start = body + height * rng.uniform(0.12, 0.20)
    neck = radius * rng.uniform(0.28, 0.42)
    waist = rng.uniform(-0.04, 0.10) * radius
    steps = np.linspace(0.0, 1.0, 5)
    side = np.stack([radius - waist * np.sin(np.pi * steps), 0.004 + steps * (body - 0.004)],
                    axis=1)
    turn = np.linspace(0.0, 1.0, 7)[1:]
    ease = 0.5 - 0.5 * np.cos(np.pi * turn)
    shoulder = np.stack([radius + (neck - radius) * ease,
                         body + (neck_start - body) * turn ** rng.uniform(0.8, 1.2)], axis=1)
    cap = neck * rng.uniform(1.15, 1.35)
    cap_start = height * rng.uniform(0.90, 0.94)
    top = [[neck, cap_start], [cap, cap_start + 0.001], [cap, height - 0.002],
           [cap - 0.002, height]]
    return lathe(np.concatenate([[[0, 0], [radius - 0.003, 0]], side, shoulder, top,
                                 [[0, height]]]))


def _ring(rng: np.random.Generator) -> Mesh:
    radius = rng.uniform(0.050, 0.058)
    tube = radius * rng.uniform(0.24, 0.36)
    rise = tube * rng.uniform(0.8, 1.35)
    upright = torus_arc((radius, radius), (tube, rise), (0.0, 2 * np.pi), 30, 12)
    # The arc lies in the x-z plane: lay it flat, (x, y, z) -> (x, -z, y), and lift it up.
    flat = upright.vertices_m[:, [0, 2, 1]] * np.array([1.0, -1.0, 1.0])
    return _moved(Mesh(flat, upright.faces), (0.0, 0.0, rise))


_BUILDERS = {'cone': _cone, 'mug': _mug, 'bowl': _bowl, 'bottle': _bottle, 'ring': _ring}
