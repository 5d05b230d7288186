# SPDX-License-Identifier: Apache-2.0
"""Rendered tables with exact depth and geometry, to measure lifting on."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.evaluation.heldout_scenes import SIZE_HW, SPLIT
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.regions import ImageSize
from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.geometry import Geometry
from samtok_ros.scenes.meshes import Mesh, build_mesh, lathe
from samtok_ros.scenes.sampling import PlacedObject, SceneLayout, sample_layout
from samtok_ros.scenes.true_box import true_box

if TYPE_CHECKING:
    from samtok_ros.scenes.renderer import SceneRenderer

# Base seeds 0, 1000, 2000 and 3000 are those of other measurements.
_BASE_SEED = 4000
_SEEDS_PER_BASE = 10 ** 7
_DISTANCE_M = (0.5, 1.2)
_DOWN_DEG = (25.0, 65.0)
_FOVY_DEG = 42.0
_MIN_PX = 300
_MIN_VISIBLE = 0.99
_SURFACE_SAMPLES_PER_M2 = 4e6
_ROUND_SEGMENTS = 120


@dataclass(frozen=True, eq=False)
class LiftingThing:
    """One thing that stands free in the picture.

    Attributes:
        shape: of the thing.
        distance_m: of its middle from the camera.
        mask: (H, W) bool, exact at the centres of the pixels.
        surface_m: (N, 3) points all over its true surface, optical frame.
        box: its true box, optical frame.
    """

    shape: str
    distance_m: float
    mask: np.ndarray
    surface_m: np.ndarray
    box: OrientedBox


@dataclass(frozen=True, eq=False)
class LiftingScene:
    """One picture.

    Attributes:
        seed: of the scene.
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, exact.
        camera: calibration.
        things: those that nothing hides and no border cuts.
    """

    seed: int
    rgb: np.ndarray
    depth_m: np.ndarray
    camera: CameraModel
    things: tuple[LiftingThing, ...]


def lifting_scenes(count: int, seed: int = _BASE_SEED) -> Iterator[LiftingScene]:
    """Give scenes of a base seed, the same ones each time.

    Args:
        count: how many.
        seed: base seed.
    Raises:
        DeviceError: MuJoCo or OpenGL is missing.
    """
    from samtok_ros.scenes.renderer import SceneRenderer

    with closing(SceneRenderer(SIZE_HW)) as renderer:
        number = seed * _SEEDS_PER_BASE
        while count:
            scene = render_scene(renderer, number)
            number += 1
            if scene.things:
                count -= 1
                yield scene


def render_scene(renderer: 'SceneRenderer', seed: int) -> LiftingScene:
    """Render the scene of a seed from a camera that looks at one of its things."""
    rng = np.random.default_rng([seed, 7])
    layout = sample_layout(seed, SPLIT)
    layout = replace(layout, camera=_camera_at(layout, rng))
    picture = renderer.render(layout, size_hw=SIZE_HW, depth=True)
    camera = CameraModel(ImageSize(*SIZE_HW), picture.intrinsics)
    things = tuple(_things(renderer, layout, picture.segmentation))
    return LiftingScene(seed, picture.rgb, picture.depth_m, camera, things)


def surface_points(placed: PlacedObject, camera: Camera) -> np.ndarray:
    """Return (N, 3) points spread evenly over the surface of a thing, optical frame."""
    mesh = mesh_of(placed.geometry)
    corners = mesh.vertices_m[mesh.faces]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0],
                                    corners[:, 2] - corners[:, 0]), axis=1) / 2
    rng = np.random.default_rng(placed.object_id)
    count = int(areas.sum() * _SURFACE_SAMPLES_PER_M2)
    chosen = corners[rng.choice(len(areas), count, p=areas / areas.sum())]
    first, second = np.sort(rng.uniform(size=(2, count, 1)), axis=0)
    points = (chosen * np.stack([first, second - first, 1 - second], axis=1)).sum(axis=1)
    cos, sin = np.cos(placed.yaw), np.sin(placed.yaw)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return camera.to_camera(points @ turn.T + placed.position_m)


def mesh_of(geometry: Geometry) -> Mesh:
    """Return the surface of a thing in its own frame, around its foot, z up."""
    scale = np.array(geometry.scale_xyz)
    if geometry.variant is not None:
        mesh = build_mesh(geometry.shape, geometry.variant)
        return Mesh(mesh.vertices_m * scale, mesh.faces)
    if geometry.shape == 'box':
        profile, segments = [[0, -1], [np.sqrt(2), -1], [np.sqrt(2), 1], [0, 1]], 4
    elif geometry.shape == 'cylinder':
        profile, segments = [[0, -1], [1, -1], [1, 1], [0, 1]], _ROUND_SEGMENTS
    else:
        angles = np.linspace(-np.pi / 2, np.pi / 2, _ROUND_SEGMENTS // 2)
        profile = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        profile[[0, -1], 0], segments = 0, _ROUND_SEGMENTS
    unit = lathe(np.array(profile, np.float64), segments)
    vertices = unit.vertices_m
    if geometry.shape == 'box':  # Four segments give a square that stands on its corner.
        half = np.sqrt(0.5)
        vertices = vertices @ np.array([[half, half, 0], [-half, half, 0], [0, 0, 1.0]])
    return Mesh(vertices * scale + [0.0, 0.0, scale[2]], unit.faces)


def _camera_at(layout: SceneLayout, rng: np.random.Generator) -> Camera:
    placed = layout.objects[int(rng.integers(len(layout.objects)))]
    target = np.array(placed.position_m) + [0, 0, placed.geometry.height_m / 2]
    distance = rng.uniform(*_DISTANCE_M)
    down, around = np.radians(rng.uniform(*_DOWN_DEG)), rng.uniform(0, 2 * np.pi)
    offset = distance * np.array([np.cos(down) * np.cos(around), np.cos(down) * np.sin(around),
                                  np.sin(down)])
    return Camera.look_at(target + offset, target, _FOVY_DEG)


def _things(renderer: 'SceneRenderer', layout: SceneLayout,
            segmentation: np.ndarray) -> Iterator[LiftingThing]:
    for placed in layout.objects:
        mask = segmentation == placed.object_id
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        if np.count_nonzero(mask) < _MIN_PX or border.any():
            continue
        alone = renderer.render_segmentation(layout, size_hw=SIZE_HW, shown={placed.object_id})
        box = true_box(placed, layout.camera)
        distance_m = float(np.linalg.norm(box.centre_m))
        if (np.count_nonzero(mask) >= _MIN_VISIBLE * np.count_nonzero(alone)
                and _DISTANCE_M[0] <= distance_m <= _DISTANCE_M[1]):
            yield LiftingThing(placed.shape, distance_m, mask,
                               surface_points(placed, layout.camera), box)
