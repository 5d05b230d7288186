# SPDX-License-Identifier: Apache-2.0
"""Goals that hold while the camera moves, and how it moves."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from samtok_ros.demo.camera_path import SWEEP_DEG, orbit
from samtok_ros.demo.goals import FAMILIES, DemoGoal, draw_goal, load_goals, save_goals
from samtok_ros.scenes.camera import Camera


@dataclass(frozen=True)
class Thing:
    """The part of a SceneObject that goals read."""

    object_id: int
    shape: str
    colour: str
    centre_xy: tuple[float, float]
    depth_m: float
    size: str = 'small'


RED_MUG = Thing(1, 'mug', 'red', (0.2, 0.5), 0.6)
RED_BALL = Thing(2, 'ball', 'red', (0.5, 0.5), 0.7)
BLUE_MUG = Thing(3, 'mug', 'blue', (0.8, 0.5), 0.8)
THINGS = (RED_MUG, RED_BALL, BLUE_MUG)


def all_goals(family, frames, tries=60):
    """Every goal that the family can give."""
    found = {}
    while (goal := draw_goal(family, frames, np.random.default_rng(0), tuple(found))) and tries:
        found[goal[0]] = goal[1]
        tries -= 1
    return found


def test_attribute_goals_when_listed_then_each_names_one_thing():
    assert all_goals('attribute', [THINGS]) == {
        'the ball': (2,), 'the blue object': (3,), 'the red mug': (1,), 'the red ball': (2,),
        'the blue mug': (3,)}


def test_several_goals_when_listed_then_each_names_two_or_more():
    assert all_goals('several', [THINGS]) == {'all red objects': (1, 2), 'all mugs': (1, 3)}


def test_none_goals_when_listed_then_colour_and_shape_are_there_but_not_together():
    assert all_goals('none', [THINGS]) == {'the blue ball': ()}


def test_superlative_goals_when_listed_then_each_chooses_among_several():
    found = all_goals('superlative', [THINGS])
    assert found['the leftmost object'] == found['the leftmost mug'] == (1,)
    assert found['the rightmost mug'] == found['the farthest object'] == (3,)
    assert found['the farthest red object'] == (2,)
    assert not any('ball' in text or 'blue' in text for text in found)


def test_relation_goals_when_listed_then_the_relation_is_needed():
    found = all_goals('relation', [THINGS])
    assert found['the mug left of the red ball'] == (1,)
    assert found['the mug behind the red ball'] == (3,)
    assert not any(text.startswith('the blue') for text in found)


def test_goal_when_the_view_changes_what_it_names_then_it_is_not_drawn():
    turned = tuple(replace(thing, centre_xy=(1 - thing.centre_xy[0], 0.5)) for thing in THINGS)
    found = all_goals('superlative', [THINGS, turned])
    assert not any('leftmost' in text or 'rightmost' in text for text in found)
    assert found['the nearest mug'] == (1,)


def test_goal_when_it_is_unclear_in_one_frame_then_it_is_not_drawn():
    close = (RED_MUG, replace(RED_BALL, centre_xy=(0.22, 0.5)), BLUE_MUG)
    assert 'the leftmost red object' in all_goals('superlative', [THINGS])
    assert 'the leftmost red object' not in all_goals('superlative', [THINGS, close])


@pytest.mark.parametrize('family', FAMILIES)
def test_goal_when_the_scene_offers_none_then_nothing_is_drawn(family):
    one = (RED_MUG,)
    goal = draw_goal(family, [one], np.random.default_rng(0), ('the red mug', 'the mug',
                                                             'the red object'))
    assert goal is None


def test_goals_when_read_back_then_they_are_the_same(tmp_path):
    goals = (DemoGoal('the red mug', 'attribute', 0, 10, 20, (1,)),
             DemoGoal('all mugs', 'several', 1, 20, 30, (1, 3)))
    save_goals(tmp_path / 'goals.json', goals)
    assert load_goals(tmp_path / 'goals.json') == goals


# Camera path

CAMERA = Camera.look_at(np.array([0.4, 0.1, 0.45]), np.array([0.0, 0.0, 0.02]), 40.0)


def test_orbit_when_in_the_middle_then_it_is_the_view_of_the_scene():
    middle = orbit(CAMERA, 0.0)
    assert np.allclose(middle.position_m, CAMERA.position_m)
    assert np.allclose(middle.rotation, CAMERA.rotation)


@pytest.mark.parametrize('clockwise', [False, True])
def test_orbit_when_run_through_then_it_sweeps_around_what_it_looks_at(clockwise):
    views = [orbit(CAMERA, fraction, clockwise) for fraction in np.linspace(-0.5, 0.5, 26)]
    around = np.degrees([np.arctan2(*view.position_m[1::-1]) for view in views])
    assert abs(around[-1] - around[0]) == pytest.approx(SWEEP_DEG, abs=0.5)
    assert (around[-1] < around[0]) == clockwise
    for view in views:
        focus = view.project(np.array([[0.0, 0.0, 0.02]]))
        assert np.allclose(focus, 0.5, atol=1e-6)
        assert 0.9 < np.linalg.norm(view.position_m) / np.linalg.norm(CAMERA.position_m) < 1.1
