# SPDX-License-Identifier: Apache-2.0
"""Lifting on a drawn scene: a table 1 m below the camera and a box on it, all exact by hand."""

import cv2
import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import depth_to_metres
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.oriented_box import fit_box
from samtok_ros.lifting.support_plane import find_support
from samtok_ros.lifting.target import LiftSettings, LiftStatus, lift_target
from samtok_ros.lifting.target_points import PointSettings, erode, lift_mask
from samtok_ros.regions import ImageSize

SIZE = ImageSize(240, 320)
K = (300.0, 0.0, 159.5, 0.0, 300.0, 119.5, 0.0, 0.0, 1.0)
P = (300.0, 0.0, 159.5, 0.0, 0.0, 300.0, 119.5, 0.0, 0.0, 0.0, 1.0, 0.0)
CAMERA = CameraModel.from_calibration(SIZE, K, P, (), 'plumb_bob')
TABLE_M, TOP_M = 1.0, 0.9


def looking_down(noise_m=0.0, seed=0):
    """Depth and mask of a box of 0.1 x 0.2 m, 0.1 m high, centred below a camera that looks down.

    Its top is at 0.9 m: 33 x 67 px. From straight above, nothing else of it is seen.
    """
    depth = np.full((SIZE.height, SIZE.width), TABLE_M, np.float32)
    mask = np.zeros(depth.shape, np.bool_)
    rows, columns = np.indices(depth.shape)
    mask |= (np.abs(columns - 159.5) < 300 * 0.05 / TOP_M) & (
        np.abs(rows - 119.5) < 300 * 0.1 / TOP_M)
    depth[mask] = TOP_M
    if noise_m:
        depth += np.random.default_rng(seed).normal(0, noise_m, depth.shape).astype(np.float32)
    return depth, mask


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


def test_camera_model_when_rectified_then_the_projection_matrix_counts():
    wide = (150.0, *P[1:5], 150.0, *P[6:])
    camera = CameraModel.from_calibration(SIZE, K, wide, (0.3, 0.1, 0, 0, 0), 'plumb_bob',
                                          rectified=True)
    assert camera.distortion is None and camera.matrix[0, 0] == 150.0


@pytest.mark.parametrize(('k', 'd', 'model', 'named'), [
    ((0.0,) * 9, (), 'plumb_bob', 'K has no focal length'),
    (K, (0.1,) * 5, 'fancy', "'fancy' with 5 coefficients"),
    (K, (0.1,) * 3, 'plumb_bob', "'plumb_bob' with 3 coefficients"),
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
    lifted = lift_target(mask, depth, CAMERA, LiftSettings())
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


def test_lift_target_when_depth_is_shifted_then_misaligned():
    depth, mask = looking_down(noise_m=0.001)
    for shift in ((0, 16), (14, 0), (-12, 12)):
        lifted = lift_target(mask, np.roll(depth, shift, (0, 1)), CAMERA, LiftSettings())
        assert lifted.status is LiftStatus.MISALIGNED
        assert np.allclose(lifted.alignment.shift_px, shift[::-1], atol=4)
        assert 'aligned to the colour image' in lifted.message
    assert lift_target(mask, depth, CAMERA, LiftSettings()).alignment.shift_px == (0, 0)


def test_lift_target_when_the_scale_is_wrong_then_says_what_it_looks_like():
    depth, mask = looking_down()
    in_millimetres = lift_target(mask, depth * 1000, CAMERA, LiftSettings())
    assert in_millimetres.status is LiftStatus.OUT_OF_RANGE
    assert '900 m away' in in_millimetres.message and 'REP 118' in in_millimetres.message
    too_small = lift_target(mask, depth / 1000, CAMERA, LiftSettings())
    assert too_small.status is LiftStatus.OUT_OF_RANGE and '16UC1' in too_small.message


def test_lift_target_when_there_is_nothing_to_lift_then_explicit_and_without_points():
    depth, mask = looking_down()
    empty = lift_target(np.zeros_like(mask), depth, CAMERA, LiftSettings())
    assert empty.status is LiftStatus.EMPTY and not len(empty.surface.points_m)
    blind = lift_target(mask, np.full_like(depth, np.nan), CAMERA, LiftSettings())
    assert blind.status is LiftStatus.NO_DEPTH and blind.box is None
    assert blind.depth_share == 0 and np.isnan(blind.depth_spread_m)
    few = np.zeros_like(mask)
    cv2.circle(few.view(np.uint8), (160, 120), 2, 1, -1)
    assert lift_target(few, depth, CAMERA, LiftSettings()).status is LiftStatus.TOO_FEW_POINTS
