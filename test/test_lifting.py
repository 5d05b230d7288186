# SPDX-License-Identifier: Apache-2.0
"""Lifting on a drawn scene: a table 1 m below the camera and a box on it, all exact by hand."""

import cv2
import numpy as np
import pytest
from lifting_scene import CAMERA, SIZE, TABLE_M, TOP_M, K, P, looking_down

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import depth_to_metres
from samtok_ros.lifting.alignment import measure_alignment
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.main_part import main_part
from samtok_ros.lifting.oriented_box import fit_box, quaternion_xyzw
from samtok_ros.lifting.round_shape import find_round_shape
from samtok_ros.lifting.scene_points import scene_points
from samtok_ros.lifting.support_plane import SupportPlane, find_support
from samtok_ros.lifting.target import LiftStatus, lift_target
from samtok_ros.lifting.target_points import erode, lift_mask
from samtok_ros.regions import ImageSize
from samtok_ros.settings.lifting import PointSettings, QualitySettings

SETTINGS = PointSettings(), QualitySettings()


def test_camera_model_when_projected_and_lifted_then_same_pixels():
    for d, model in (((), 'plumb_bob'), ((0.1, -0.05, 0.001, 0.002, 0.0), 'plumb_bob'),
                     ((0.1, -0.05, 0.0, 0.0, 0.01, 0.02, 0.0, 0.0), 'rational_polynomial'),
                     ((0.05, -0.01, 0.002, 0.0), 'equidistant')):
        camera = CameraModel.from_calibration(SIZE, K, P, d, model)
        rows, columns = np.array([3.0, 119.5, 200.0]), np.array([5.0, 159.5, 300.0])
        points = camera.points(rows, columns, np.array([0.5, 1.0, 2.0]))
        assert np.allclose(points[:, 2], [0.5, 1.0, 2.0])
        assert np.allclose(camera.project(points), np.column_stack([columns, rows]), atol=0.01)
    centre = CAMERA.points(np.array([119.5]), np.array([159.5]), np.array([2.0]))
    assert np.allclose(centre, [[0.0, 0.0, 2.0]])


def test_rays_when_the_lens_is_wide_then_right_into_the_corners():
    camera = CameraModel.from_calibration(
        ImageSize(512, 1392), (984.2, 0, 690, 0, 980.8, 233.2, 0, 0, 1), (0,) * 12,
        (-0.3729, 0.2037, 0.0022, 0.0014, -0.0723), 'plumb_bob')
    rows, columns = (grid.ravel() for grid in np.mgrid[0:512:16, 0:1392:16])
    points = camera.points(rows, columns, np.ones(len(rows)))
    assert np.abs(camera.project(points) - np.column_stack([columns, rows])).max() < 0.01


def test_rays_when_an_equidistant_lens_is_ideal_then_the_radius_is_the_angle():
    camera = CameraModel.from_calibration(SIZE, K, P, (0.0,) * 4, 'equidistant')
    radius_px = np.array([0.0, 60.0, 150.0])
    rays = camera.rays(np.full(3, 119.5), 159.5 + radius_px)
    assert np.allclose(rays[:, 0], np.tan(radius_px / 300.0)) and np.allclose(rays[:, 1], 0.0)
    rectified = CameraModel.from_calibration(SIZE, K, P, (), 'equidistant', rectified=True)
    assert rectified.distortion is None


@pytest.mark.parametrize('binning', [(0, 0), (1, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize('window', [(0, 0, 0, 0), (40, 24, 160, 120), (0, 120, 320, 120)])
def test_camera_model_when_of_a_window_then_each_pixel_looks_as_on_the_whole_sensor(
        window, binning):
    whole = CameraModel.from_calibration(SIZE, K, P, (-0.2, 0.05, 0.001, 0.002, 0.0), 'plumb_bob')
    camera = whole.of_window(window, binning)
    width, height = window[2:] if any(window) else (320, 240)
    across, down = (count or 1 for count in binning)
    assert camera.size == ImageSize(height // down, width // across)
    rows, columns = np.array([0.0, 3.0, 50.0]), np.array([0.0, 5.0, 30.0])
    seen = whole.rays(rows * down + window[1], columns * across + window[0])
    assert np.allclose(camera.rays(rows, columns), seen, atol=1e-9)


@pytest.mark.parametrize('window', [(0, 0, 321, 240), (161, 0, 160, 240), (8, 8, 0, 0)])
def test_camera_model_when_the_window_is_not_on_the_sensor_then_refused(window):
    with pytest.raises(ImageError, match='expected one within 320 x 240, got .*before binning'):
        CAMERA.of_window(window, (0, 0))


def test_camera_model_when_rectified_then_the_projection_matrix_counts():
    wide = (150.0, *P[1:5], 150.0, *P[6:])
    camera = CameraModel.from_calibration(SIZE, K, wide, (0.3, 0.1, 0, 0, 0), 'plumb_bob',
                                          rectified=True)
    assert camera.distortion is None and camera.matrix[0, 0] == 150.0


@pytest.mark.parametrize(('k', 'd', 'model', 'named'), [
    ((0.0,) * 9, (), 'plumb_bob', 'K has no focal length'),
    (K, (0.1,) * 5, 'fancy', "'fancy' with 5 coefficients"),
    (K, (0.1,) * 3, 'plumb_bob', "'plumb_bob' with 3 coefficients"),
    (K, (float('nan'),) * 5, 'plumb_bob', 'D has numbers that are none'),
    (K, (), 'equidistant', "'equidistant' with 0 coefficients"),
])
def test_camera_model_when_calibration_is_unusable_then_says_why(k, d, model, named):
    with pytest.raises(ImageError, match=named):
        CameraModel.from_calibration(SIZE, k, P, d, model)


def test_lift_mask_when_depth_is_exact_then_points_lie_on_the_top():
    depth, mask = looking_down()
    lifted = lift_mask(mask, depth, CAMERA, PointSettings(erosion_px=2))
    assert np.allclose(lifted.points_m[:, 2], TOP_M)
    assert np.allclose(lifted.points_m.mean(axis=0), [0, 0, TOP_M], atol=1e-6)
    counts = lifted.counts
    assert counts.mask == mask.sum() == 34 * 66
    assert counts.kept == 30 * 62 == len(lifted.points_m)
    assert counts.mask == sum((counts.eroded, counts.no_depth, counts.out_of_range, counts.edges,
                               counts.outliers, counts.kept))
    assert not lifted.truncated and lifted.depth_median_m == pytest.approx(TOP_M)


def test_lift_mask_when_depth_comes_in_millimetres_or_metres_then_the_same_cloud():
    depth, mask = looking_down(noise_m=0.002)
    in_mm = np.round(depth * 1000).astype(np.uint16)
    in_mm[100:105, 150:155] = 0
    in_m = in_mm.astype(np.float32) / 1000
    in_m[in_mm == 0] = np.nan
    clouds = []
    for values, encoding in ((in_mm, '16UC1'), (in_m, '32FC1'), (in_mm.byteswap(), '16UC1')):
        metres = depth_to_metres(values.tobytes(), *values.shape, encoding, values.strides[0],
                                 len(clouds) == 2)
        clouds.append(lift_mask(mask, metres, CAMERA, PointSettings()))
    assert len(clouds[0].points_m) > 1500
    for other in clouds[1:]:
        assert np.allclose(clouds[0].points_m, other.points_m, atol=1e-6)
        assert clouds[0].counts == other.counts


def test_lift_mask_when_some_pixels_are_bad_then_each_is_counted_once():
    depth, mask = looking_down()
    inner, _ = erode(mask, 2)
    rows, columns = np.nonzero(inner)
    depth[rows[:50], columns[:50]] = np.nan
    depth[rows[60:80], columns[60:80]] = 9.0
    spike = np.s_[118:120, 158:160]
    depth[spike] = 0.8
    lifted = lift_mask(mask, depth, CAMERA, PointSettings())
    assert (lifted.counts.no_depth, lifted.counts.out_of_range) == (50, 20)
    assert lifted.counts.edges >= 4
    assert np.allclose(lifted.points_m[:, 2], TOP_M)


def test_lift_mask_when_background_shines_through_then_it_is_an_outlier():
    depth, mask = looking_down()
    depth[100:112, 150:162] = 2.0
    lifted = lift_mask(mask, depth, CAMERA, PointSettings())
    assert lifted.counts.outliers + lifted.counts.edges >= 144
    assert np.allclose(lifted.points_m[:, 2], TOP_M)


def test_lift_mask_when_it_has_splinters_then_they_are_outliers_but_a_second_half_is_not():
    depth, mask = looking_down()
    splintered = mask.copy()
    splintered[20:40, 20:40] = True
    lifted = lift_mask(splintered, depth, CAMERA, PointSettings())
    assert lifted.counts.outliers == 16 * 16 and lifted.counts.kept == 30 * 62
    assert np.allclose(lifted.points_m[:, 2], TOP_M)
    halves = mask.copy()
    halves[115:125] = False  # something thin lies across it
    assert lift_mask(halves, depth, CAMERA, PointSettings()).counts.outliers == 0


def marks(x, y, count=400, seed=0):
    """Points on the support in a rectangle, ranges of x and y in metres."""
    return np.random.default_rng(seed).uniform([x[0], y[0]], [x[1], y[1]], (count, 2))


def chosen_of(footprint_m, pixel_m=0.001, depth_m=None):
    """What main_part keeps of marks seen from above: 2 mm a pixel, x from -0.15 and y from 0.7."""
    pixels = np.clip((footprint_m - [-0.15, 0.7])[:, ::-1] / 0.002, 0, 199).astype(int)
    depth_m = np.ones((200, 200), np.float32) if depth_m is None else depth_m
    return main_part(footprint_m, pixel_m, pixels, depth_m)


@pytest.mark.parametrize('other, belongs', [
    (marks((0.06, 0.09), (0.80, 0.83), 150), False),     # beside it, 2 cm apart
    (marks((-0.03, 0.03), (0.83, 0.86), 150), True),     # the inside of a bowl behind its rim
    (marks((-0.03, 0.03), (0.93, 0.96), 150), False),    # another thing behind it
    (marks((0.045, 0.07), (0.80, 0.83), 150), True),     # it touches: one thing
    (marks((30.0, 40.0), (0.80, 0.83), 150), False)],
    ids=['beside', 'inside', 'behind', 'touching', 'far away'])
def test_main_part_when_a_mask_has_two_then_only_what_is_of_the_larger_thing(other, belongs):
    front = marks((-0.04, 0.04), (0.79, 0.81))
    chosen = chosen_of(np.concatenate([front, other]))
    assert chosen[:400].all() and (chosen[400:] == belongs).all()
    assert chosen_of(np.empty((0, 2)), np.nan).shape == (0,)


def test_main_part_when_pixels_are_coarse_then_neighbours_still_hang_together():
    grid = np.stack(np.meshgrid(np.arange(20) * 0.05, np.arange(9) * 0.15), axis=-1).reshape(-1, 2)
    assert chosen_of(grid, pixel_m=0.05).all()


@pytest.mark.parametrize('between_m, belongs', [(0.7, True), (0.995, False), (1.3, False),
                                                (np.nan, False)])
def test_main_part_when_something_nearer_is_seen_between_two_then_they_are_one(between_m, belongs):
    depth = np.ones((200, 200), np.float32)
    depth[:, 97:103] = between_m
    both = np.concatenate([marks((-0.08, 0.03), (0.8, 0.83)),
                           marks((0.07, 0.13), (0.8, 0.83), 150)])
    chosen = chosen_of(both, depth_m=depth)
    assert chosen[:400].all() and (chosen[400:] == belongs).all()


def test_lift_target_when_the_mask_spills_over_to_a_neighbour_then_the_box_is_that_of_the_target():
    depth, mask = looking_down(noise_m=0.0005)
    neighbour = np.s_[100:140, 185:215]
    depth[neighbour] = 0.93
    alone = lift_target(mask, depth, CAMERA, *SETTINGS)
    spilled = mask.copy()
    spilled[110:130, 176:200] = True  # over the table on to the neighbour
    lifted = lift_target(spilled, depth, CAMERA, *SETTINGS)
    assert lifted.surface.counts.outliers > 100
    assert np.allclose(lifted.box.extents_m, alone.box.extents_m, atol=0.012)
    assert np.allclose(lifted.box.centre_m, alone.box.centre_m, atol=0.008)


def test_erode_when_thin_then_less_is_taken_away():
    thin = np.zeros((50, 50), np.bool_)
    thin[20:23] = True
    eroded, used = erode(thin, 3)
    assert used == 1 and eroded[21, 10] and not eroded[20].any()
    line = np.zeros((50, 50), np.bool_)
    line[20] = True
    assert erode(line, 3)[1] == 0


def test_lift_mask_when_mask_touches_the_border_then_truncated():
    depth, mask = looking_down()
    mask[:] = False
    mask[:40, 100:200] = True
    assert lift_mask(mask, depth, CAMERA, PointSettings()).truncated


@pytest.mark.parametrize('what', ['depth image', 'camera_info'])
def test_lift_mask_when_sizes_differ_then_names_both(what):
    depth, mask = looking_down()
    camera = CAMERA
    if what == 'depth image':
        depth = depth[:120]
    else:
        camera = CameraModel(ImageSize(480, 640), CAMERA.matrix)
    with pytest.raises(ImageError, match=f'{what} and mask differ in size: expected 240 x 320'):
        lift_mask(mask, depth, camera, PointSettings())


def test_find_support_when_the_camera_looks_down_then_the_table():
    depth, mask = looking_down(noise_m=0.001)
    support = find_support(mask, depth, CAMERA)
    assert np.allclose(support.normal, [0, 0, -1], atol=0.01)
    assert support.offset_m == pytest.approx(TABLE_M, abs=0.002)
    assert support.heights(np.array([[0, 0, TOP_M]])) == pytest.approx([0.1], abs=0.003)
    assert support.share > 0.9 and 0.0005 < support.noise_m < 0.002


def test_find_support_when_there_is_no_plane_then_none():
    _, mask = looking_down()
    assert find_support(mask, np.full(mask.shape, np.nan, np.float32), CAMERA) is None
    rough = np.random.default_rng(0).uniform(0.5, 3.0, mask.shape).astype(np.float32)
    assert find_support(mask, rough, CAMERA) is None


def test_fit_box_when_only_the_top_is_seen_then_completed_down_to_the_table():
    depth, mask = looking_down(noise_m=0.0005)
    lifted = lift_target(mask, depth, CAMERA, *SETTINGS)
    assert lifted.status is LiftStatus.OK, lifted.message
    box = lifted.box
    assert box.completed
    assert np.allclose(box.centre_m, [0, 0, 0.95], atol=0.004)
    assert np.allclose(box.extents_m, [0.2, 0.1, 0.1], atol=0.008)
    assert np.allclose(np.abs(box.rotation.T @ [0, 1, 0]), [1, 0, 0], atol=0.02)
    assert np.linalg.det(box.rotation) == pytest.approx(1.0)
    assert np.allclose(box.corners().mean(axis=0), box.centre_m)
    assert np.ptp(box.corners()[:, 2]) == pytest.approx(0.1, abs=0.01)


def test_fit_box_when_without_support_then_not_completed():
    points = np.random.default_rng(0).uniform(-0.05, 0.05, (500, 3)) + [0, 0, 1]
    box = fit_box(points, None)
    assert not box.completed and np.allclose(box.centre_m, [0, 0, 1], atol=0.01)
    assert fit_box(points[:5], None) is None


def arc(radius_m=0.035, height_m=0.2, down=0.5, noise_m=0.0008, seed=0):
    """Points of the visible half of an upright cylinder 0.8 m away: footprint and heights."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(-np.pi / 2, np.pi / 2, 1200)
    footprint = np.column_stack([np.sin(angle), 0.8 - np.cos(angle) * radius_m]) * [radius_m, 1]
    return footprint + rng.normal(0, noise_m, footprint.shape), rng.uniform(0, height_m, 1200)


def test_find_round_shape_when_half_a_cylinder_is_seen_then_its_axis_and_radius():
    centre, radius = find_round_shape(*arc(), rim_m=0.0)
    assert centre == pytest.approx([0, 0.8], abs=0.004)
    assert radius == pytest.approx(0.035, abs=0.003)
    front, heights = arc()
    narrow = np.abs(front[:, 0]) < 0.031  # the rim was taken off
    centre, radius = find_round_shape(front[narrow], heights[narrow], rim_m=0.004)
    assert centre == pytest.approx([0, 0.8], abs=0.006)


def test_find_round_shape_when_flat_or_cornered_then_none():
    rng = np.random.default_rng(0)
    across, heights = rng.uniform(-0.05, 0.05, 1500), rng.uniform(0, 0.1, 1500)
    flat = np.column_stack([across, np.full(1500, 0.8)]) + rng.normal(0, 0.0008, (1500, 2))
    assert find_round_shape(flat, heights, 0.0) is None
    corner = np.column_stack([across, 0.8 + np.abs(across)]) + rng.normal(0, 0.0008, (1500, 2))
    assert find_round_shape(corner, heights, 0.0) is None
    assert find_round_shape(flat[:20], heights[:20], 0.0) is None


def test_find_round_shape_when_a_thin_rod_has_few_points_at_each_height_then_none():
    footprint, _ = arc(radius_m=0.004)
    assert find_round_shape(footprint[:64], np.linspace(0, 0.25, 64), 0.002) is None


def test_fit_box_when_only_the_front_of_a_bottle_is_seen_then_it_holds_the_hidden_half():
    footprint, heights = arc()
    down = np.array([0.0, np.cos(0.5), np.sin(0.5)])  # the camera looks down by 29 degrees
    away = np.array([0.0, -np.sin(0.5), np.cos(0.5)])
    foot = 0.5 * down
    points = np.outer(footprint[:, 0], [1, 0, 0]) + np.outer(footprint[:, 1], away) + (
        foot - np.outer(heights, down))
    box = fit_box(points, SupportPlane(-down, 0.5, 0.001, 1.0))
    assert np.allclose(box.extents_m[:2], 0.07, atol=0.008)
    assert np.allclose(box.centre_m, 0.8 * away + foot - 0.1 * down, atol=0.006)


@pytest.mark.parametrize('axis, turn', [([0, 0, 1], 0.0), ([1, 0, 0], np.pi), ([0, 1, 0], np.pi),
                                        ([0, 0, 1], np.pi), ([0.6, 0.8, 0], 2.5)])
def test_quaternion_when_taken_then_it_turns_as_the_matrix_does(axis, turn):
    rotation = cv2.Rodrigues(np.array(axis, np.float64) * turn)[0]
    x, y, z, w = quaternion_xyzw(rotation)
    assert np.hypot(np.hypot(x, y), np.hypot(z, w)) == pytest.approx(1) and w >= -1e-9
    assert abs(np.dot([x, y, z, w], [*np.multiply(axis, np.sin(turn / 2)), np.cos(turn / 2)])
               ) == pytest.approx(1)


def test_measure_alignment_when_something_else_stands_close_by_then_no_alarm():
    depth, mask = looking_down(noise_m=0.001)
    depth[mask] = TABLE_M  # as flat as the table: a cloth
    depth[60:180, 190:230] -= 0.1
    support = find_support(mask, depth, CAMERA)
    assert not measure_alignment(mask, depth, CAMERA, support).is_off


def test_scene_points_when_the_target_is_left_out_then_nothing_of_its_rim_stays():
    depth, mask = looking_down()
    depth[0, 0] = np.nan
    points = scene_points(depth, CAMERA, mask, 3)
    assert points.shape == (*depth.shape, 3) and points.dtype == np.float32
    gone = np.isnan(points).all(axis=2)
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert gone[wide].all() and gone[0, 0] and gone.sum() < 1.5 * mask.sum()
    kept = ~gone
    assert np.allclose(points[kept][:, 2], TABLE_M)
    rows, columns = np.nonzero(kept)
    assert np.allclose(CAMERA.project(points[kept]), np.column_stack([columns, rows]), atol=0.01)
    assert np.isfinite(scene_points(depth, CAMERA, None, 3)[1:]).all()


def test_lift_target_when_depth_is_shifted_then_misaligned():
    depth, mask = looking_down(noise_m=0.001)
    for shift in ((0, 16), (14, 0), (-12, 12)):
        lifted = lift_target(mask, np.roll(depth, shift, (0, 1)), CAMERA, *SETTINGS)
        assert lifted.status is LiftStatus.MISALIGNED
        assert np.allclose(lifted.alignment.shift_px, shift[::-1], atol=4)
        assert 'aligned to the colour image' in lifted.message
    assert lift_target(mask, depth, CAMERA, *SETTINGS).alignment.shift_px == (0, 0)


def test_lift_target_when_the_scale_is_wrong_then_says_what_it_looks_like():
    depth, mask = looking_down()
    in_millimetres = lift_target(mask, depth * 1000, CAMERA, *SETTINGS)
    assert in_millimetres.status is LiftStatus.OUT_OF_RANGE
    assert '900 m away' in in_millimetres.message and 'REP 118' in in_millimetres.message
    too_small = lift_target(mask, depth / 1000, CAMERA, *SETTINGS)
    assert too_small.status is LiftStatus.OUT_OF_RANGE and '16UC1' in too_small.message


def test_lift_target_when_there_is_nothing_to_lift_then_explicit_and_without_points():
    depth, mask = looking_down()
    empty = lift_target(np.zeros_like(mask), depth, CAMERA, *SETTINGS)
    assert empty.status is LiftStatus.EMPTY and not len(empty.surface.points_m)
    blind = lift_target(mask, np.full_like(depth, np.nan), CAMERA, *SETTINGS)
    assert blind.status is LiftStatus.NO_DEPTH and blind.box is None
    assert blind.depth_share == 0 and np.isnan(blind.depth_spread_m)
    noise = np.random.default_rng(0).uniform(0.2, 4.0, depth.shape).astype(np.float32)
    scattered = lift_target(mask, noise, CAMERA, PointSettings(), QualitySettings(min_points=1))
    assert scattered.status is LiftStatus.TOO_FEW_POINTS
    assert 'hang together' in scattered.message
    few = np.zeros_like(mask)
    cv2.circle(few.view(np.uint8), (160, 120), 2, 1, -1)
    assert lift_target(few, depth, CAMERA, *SETTINGS).status is LiftStatus.TOO_FEW_POINTS
