# SPDX-License-Identifier: Apache-2.0
"""True boxes hold their things, touch them on every side, and stand on the table."""

import numpy as np
import pytest

from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.geometry import SHAPES, Geometry, draw_geometry
from samtok_ros.scenes.meshes import build_mesh
from samtok_ros.scenes.sampling import PlacedObject
from samtok_ros.scenes.true_box import true_box

CAMERA = Camera.look_at(np.array([0.5, -0.3, 0.6]), np.array([0.02, 0.01, 0.03]), 40.0)
PLACE = (0.08, -0.05, 0.0)


def placed(geometry, yaw):
    return PlacedObject(1, geometry.shape, 'red', 'large', geometry, (0.8, 0.1, 0.1), 0.3, PLACE,
                        yaw)


def surface(thing):
    """(N, 3) world points of all that a thing is made of."""
    geometry = thing.geometry
    if geometry.variant is not None:
        points = build_mesh(geometry.shape, geometry.variant).vertices_m * geometry.scale_xyz
    else:
        ring = np.linspace(0, 2 * np.pi, 721)
        outline = np.column_stack([np.cos(ring), np.sin(ring)])
        if geometry.shape == 'box':
            outline = np.array([[x, y] for x in (-1, 1) for y in (-1, 1)])
        outline = outline * geometry.scale_xyz[:2]
        middle = geometry.scale_xyz[2]
        levels = (middle,) if geometry.shape == 'ball' else (0.0, 2 * middle)
        points = np.concatenate([np.column_stack([outline, np.full(len(outline), level)])
                                 for level in levels])
        points = np.concatenate([points, [[0, 0, 0], [0, 0, 2 * middle]]])
    cos, sin = np.cos(thing.yaw), np.sin(thing.yaw)
    return points @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + PLACE


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('yaw', [0.0, 0.7, 2.9])
def test_true_box_when_a_thing_is_turned_then_it_fills_its_box(shape, yaw):
    thing = placed(draw_geometry(np.random.default_rng(3), shape, 'large', 'heldout'), yaw)
    box = true_box(thing, CAMERA)
    own = (CAMERA.to_camera(surface(thing)) - box.centre_m) @ box.rotation / box.extents_m
    assert np.allclose(own.min(axis=0), -0.5, atol=1e-3)
    assert np.allclose(own.max(axis=0), 0.5, atol=1e-3)
    assert np.allclose(box.rotation @ box.rotation.T, np.eye(3))
    assert np.linalg.det(box.rotation) == pytest.approx(1.0)
    assert box.extents_m[0] >= box.extents_m[1]


def test_true_box_when_a_box_is_known_then_its_numbers_are_those():
    thing = placed(Geometry('box', None, (0.02, 0.05, 0.04)), np.pi / 2)
    box = true_box(thing, CAMERA)
    assert np.allclose(box.extents_m, [0.10, 0.04, 0.08])
    assert np.allclose(CAMERA.rotation @ box.centre_m + CAMERA.position_m, [0.08, -0.05, 0.04])
    world = CAMERA.rotation @ box.rotation
    assert np.allclose(np.abs(world[:, 0]), [1, 0, 0], atol=1e-9)
    assert np.allclose(world[:, 2], [0, 0, 1])


def test_true_box_when_a_mug_has_a_handle_then_the_box_is_longer_that_way():
    thing = placed(draw_geometry(np.random.default_rng(1), 'mug', 'small', 'heldout'), 0.3)
    long, short, _ = true_box(thing, CAMERA).extents_m
    assert 1.15 < long / short < 1.8
