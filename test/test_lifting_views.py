# SPDX-License-Identifier: Apache-2.0
"""Lifting of boxes seen from many sides: held, before a wall, behind a post, long, or flat."""

import cv2
import numpy as np
import pytest
from lifting_scene import CAMERA, looking_at

from samtok_ros.lifting.target import LiftStatus, lift_target
from samtok_ros.settings.lifting import PointSettings, QualitySettings

SETTINGS = PointSettings(), QualitySettings()


def test_lift_target_when_a_post_hides_its_middle_then_it_is_still_one_thing():
    carton = (-0.09, 0, 0), (0.09, 0.06, 0.1)
    for width in (0.012, 0.03):
        post = (0.01, -0.1, 0), (0.01 + width, -0.09, 0.25)
        depth, mask, middle = looking_at(carton, post, down_deg=40)
        lifted = lift_target(mask, depth, CAMERA, *SETTINGS)
        assert lifted.surface.counts.outliers < 50
        assert np.allclose(lifted.box.extents_m, [0.18, 0.06, 0.1], atol=0.01)
        assert np.linalg.norm(lifted.box.centre_m - middle) < 0.01


def test_lift_target_when_it_reaches_far_away_then_its_far_half_counts_but_not_the_table():
    depth, mask, _ = looking_at(((-0.05, 0, 0), (0.05, 0.3, 0.12)), down_deg=22, away_m=0.9)
    lifted = lift_target(mask, depth, CAMERA, *SETTINGS)
    assert np.allclose(lifted.box.extents_m, [0.3, 0.1, 0.12], atol=0.03)
    depth, mask, _ = looking_at(((-0.05, 0, 0), (0.05, 0.05, 0.12)), down_deg=30)
    spilled = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert lift_target(spilled, depth, CAMERA, *SETTINGS).box.extents_m[1] < 0.13


@pytest.mark.parametrize('down_deg', [50, 60, 75])
@pytest.mark.parametrize('below', [[], [((-0.035, -0.035, 0), (0.035, 0.035, 0.25))]],
                         ids=['held', 'on a carton'])
def test_fit_box_when_it_floats_above_the_table_then_not_pulled_down(below, down_deg):
    cube = (-0.03, -0.03, 0.25), (0.03, 0.03, 0.31)
    depth, mask, middle = looking_at(cube, *below, down_deg=down_deg)
    lifted = lift_target(mask, depth, CAMERA, *SETTINGS)
    assert lifted.status is LiftStatus.OK and not lifted.box.completed
    assert np.allclose(lifted.box.extents_m, 0.06, atol=0.022)
    assert np.linalg.norm(lifted.box.centre_m - middle) < 0.015


@pytest.mark.parametrize('down_deg', [30, 45, 60, 75])
@pytest.mark.parametrize('height', [0.005, 0.02, 0.1, 0.25])
def test_fit_box_when_it_stands_then_completed_from_any_view(height, down_deg):
    depth, mask, _ = looking_at(((-0.03, -0.03, 0), (0.03, 0.03, height)), down_deg=down_deg)
    box = lift_target(mask, depth, CAMERA, *SETTINGS).box
    assert box.completed and box.extents_m[2] == pytest.approx(height, abs=0.006)


@pytest.mark.parametrize('down_deg', [0, 10, 20])
@pytest.mark.parametrize('gap_m', [0.05, 0.3])
def test_find_support_when_a_wall_is_behind_then_still_the_table(gap_m, down_deg):
    bottle, wall = ((-0.04, -0.02, 0), (0.04, 0.06, 0.2)), ((-9, 0.06 + gap_m, -1), (9, 9, 9))
    depth, mask, _ = looking_at(bottle, wall, down_deg=down_deg)
    lifted = lift_target(mask, depth, CAMERA, *SETTINGS)
    angle = np.radians(down_deg)
    assert np.allclose(lifted.support.normal, [0, -np.cos(angle), -np.sin(angle)], atol=0.05)
    assert lifted.box.extents_m[2] == pytest.approx(0.2, abs=0.012)
    assert lifted.box.extents_m[0] < 0.1


def test_find_support_when_it_stands_on_a_tray_then_its_top():
    cup, tray = ((-0.03, -0.03, 0.1), (0.03, 0.03, 0.2)), ((-0.09, -0.09, 0), (0.09, 0.09, 0.1))
    depth, mask, _ = looking_at(cup, tray, down_deg=40)
    box = lift_target(mask, depth, CAMERA, *SETTINGS).box
    assert box.completed and box.extents_m[2] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize('thick_m', [0.001, 0.005, 0.007])
def test_measure_alignment_when_a_lid_lies_beside_a_block_then_no_alarm(thick_m):
    lid = (-0.02, -0.0125, 0), (0.02, 0.0125, thick_m)
    block = (-0.02, 0.0225, 0), (0.02, 0.0475, 0.02)
    depth, mask, _ = looking_at(lid, block, down_deg=45, away_m=0.45)
    lifted = lift_target(mask, depth, CAMERA, *SETTINGS)
    assert lifted.alignment.best_fit > lifted.alignment.fit + 0.3  # it does rise beside the lid
    assert lifted.status is LiftStatus.OK, lifted.message
