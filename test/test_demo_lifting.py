# SPDX-License-Identifier: Apache-2.0
"""Targets in 3D against the truth, by hand; what is reported of them, and how they are drawn."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_samples import (
    INTRINSICS,
    sample_box,
    sample_frame,
    sample_goals,
    sample_masks,
    sample_truth,
    sample_view,
    stamp,
    write_sample,
)

from samtok_ros.demo.bag_file import BagWriter, open_bag, register_types, standard_types
from samtok_ros.demo.camera_views import CameraView, read_views
from samtok_ros.demo.lift_scoring import LiftScore, score_lifted, spread, summarise
from samtok_ros.demo.lifted_results import LiftedResult, read_lifted
from samtok_ros.demo.make_bag import CAMERA_BAG, DATA_DIR, TRUTH_FILE
from samtok_ros.demo.replay_plan import BOX_TOPIC, POINTS_TOPIC
from samtok_ros.demo.report import report
from samtok_ros.demo.results import GoalAnswer, Results
from samtok_ros.demo.score_table import table
from samtok_ros.demo.scoring import score_demo
from samtok_ros.demo.target_picture import draw_target, side_view
from samtok_ros.demo.truth import load_truth, save_truth
from samtok_ros.errors import ConfigError
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.lifting.target import LiftStatus
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.compressed import encode_jpeg
from samtok_ros.runtime.records import Status

FRAMES = 9
GOALS = sample_goals(FRAMES)
TRUTH = {stamp(index): sample_truth(index) for index in range(FRAMES)}
VIEWS = {stamp(index): sample_view(index) for index in range(FRAMES)}
SHOWN = tuple(TRUTH)


def lifted(index, goal_id=1, thing=1, moved_m=(0.0, 0.0, 0.0), grown=1.0, status=LiftStatus.OK,
           message='', region_id=1, age_ms=120.0):
    """A target as the nodes would lift thing 1 or 2; moved, and with a box that is too large."""
    mask = sample_masks(index)[thing]
    points = VIEWS[stamp(index)].surface(mask) + moved_m
    box = sample_box(mask, 0.5 + 0.1 * thing)
    box = OrientedBox(box.centre_m + moved_m, box.rotation, box.extents_m * grown, True)
    if status != LiftStatus.OK:
        points, box = np.empty((0, 3)), None
    return LiftedResult(stamp(index), goal_id, status, message, region_id,
                        points.mean(axis=0) if len(points) else np.full(3, np.nan),
                        points.astype(np.float32), box, 0.9, False, age_ms)


def answer(index, goal_id, *masks, followed_ms=None, latency_ms=100.0, status=Status.OK):
    regions = tuple(Region(number, (number, 7), 'thing', 0.9, mask)
                    for number, mask in enumerate(masks, start=1))
    return GoalAnswer(stamp(index), goal_id, 'a goal', status, '', regions, latency_ms, 'fake@1',
                      followed_ms)


def score(answers, targets, followed=()):
    return score_demo(GOALS, Results(SHOWN, tuple(answers), tuple(followed), tuple(targets)),
                      TRUTH, VIEWS)


def compare(target, thing=1, targets=(1,), index=0):
    return score_lifted(target, sample_masks(index)[thing], TRUTH[stamp(index)], targets,
                        VIEWS[stamp(index)].surface)


# One target

def test_target_when_exact_then_it_has_no_error():
    found = compare(lifted(0))
    assert (found.centroid_mm, found.box_centre_mm) == pytest.approx((0.0, 0.0), abs=1e-3)
    assert found.size_errors == pytest.approx((0.0, 0.0, 0.0))
    assert found.near_share == 1.0


def test_target_when_moved_and_grown_then_the_errors_are_in_millimetres_and_shares():
    found = compare(lifted(0, moved_m=(0.0, 0.0, 0.02), grown=np.array([1.1, 0.8, 1.0])))
    assert (found.centroid_mm, found.box_centre_mm) == pytest.approx((20.0, 20.0), abs=1e-3)
    assert found.size_errors == pytest.approx((0.1, -0.2, 0.0))
    assert found.size_error == pytest.approx(0.2)
    assert found.near_share == 0.0


def test_target_when_its_box_names_the_axes_the_other_way_round_then_lengths_are_still_right():
    target = lifted(0)
    turned = OrientedBox(target.box.centre_m, target.box.rotation[:, [1, 0, 2]] * [1, -1, 1],
                         target.box.extents_m[[1, 0, 2]], True)
    target = LiftedResult(**{**vars(target), 'box': turned})
    assert compare(target).size_errors == pytest.approx((0.0, 0.0, 0.0))


def test_points_when_some_lie_on_something_else_then_their_share_is_counted():
    target = lifted(0)
    beside = target.points_m.copy()
    beside[: len(beside) // 4, 0] += 0.5
    target = LiftedResult(**{**vars(target), 'points_m': beside})
    assert compare(target).near_share == pytest.approx(0.75, abs=0.01)


def test_target_when_two_were_asked_for_then_the_one_it_covers_counts():
    assert compare(lifted(0, thing=2), thing=2, targets=(1, 2)).centroid_mm < 0.01
    # Asked for the other one, it is at the wrong place.
    assert compare(lifted(0, thing=2), thing=2, targets=(1,)).centroid_mm > 100


# The whole demo

def test_goal_when_its_first_answer_was_lifted_then_that_target_stands_for_it():
    masks = sample_masks(6)
    found = score([answer(0, 1, sample_masks(0)[1]), answer(6, 3, masks[1], masks[2])],
                  [lifted(0), lifted(6, 3, thing=2, region_id=2)])
    assert found.goals[0].lift.score.box_centre_mm == pytest.approx(0.0, abs=1e-3)
    assert found.goals[2].lift.score.centroid_mm == pytest.approx(0.0, abs=1e-3)
    assert found.goals[1].lift is None
    assert found.lifting.centroid_mm.count == 2


def test_targets_when_between_answers_then_they_count_and_masks_age_with_their_answer():
    followed = answer(2, 1, sample_masks(2)[1], followed_ms=200.0, latency_ms=60.0)
    found = score([answer(0, 1, sample_masks(0)[1])], [lifted(0), lifted(2)], [followed])
    assert found.lifting.centroid_mm.count == 2
    assert (found.mask_age_ms.p50, found.answer_age_ms.p50) == (80.0, 180.0)
    assert (found.latency_ms_p50, found.frames_processed) == (100.0, 1)


@pytest.mark.parametrize('other', [
    lifted(0, goal_id=2),  # of another goal
    lifted(1),  # of an image without an answer
])
def test_target_when_it_is_not_of_this_goal_and_image_then_it_does_not_count(other):
    found = score([answer(0, 1, sample_masks(0)[1])], [other])
    assert (found.goals[0].lift, found.lifting.centroid_mm) == (None, None)


def test_target_when_refused_then_it_is_counted_by_its_reason():
    refused = lifted(0, status=LiftStatus.NO_DEPTH, message='it is shiny')
    found = score([answer(0, 1, sample_masks(0)[1])], [refused])
    assert (found.goals[0].lift.score, found.lifting.refused) == (None, {'NO_DEPTH': 1})
    row = report(found, {})['goals'][0]['target']
    assert (row['status'], row['message'], row['points']) == ('NO_DEPTH', 'it is shiny', 0)
    assert 'no_depth' in table(found).splitlines()[1]
    assert '3D refused: 1 x no_depth' in table(found)


def test_target_when_withdrawn_after_it_was_good_then_the_good_one_counts():
    withdrawn = lifted(0, status=LiftStatus.REFUSED, age_ms=300.0)
    found = score([answer(0, 1, sample_masks(0)[1])], [lifted(0), withdrawn])
    assert found.goals[0].lift.result.status == LiftStatus.OK
    assert found.lifting.refused == {}


def test_report_when_made_then_errors_and_ages_are_in_it():
    found = json.loads(json.dumps(report(score(
        [answer(0, 1, sample_masks(0)[1])], [lifted(0, moved_m=(0, 0, 0.01), grown=1.1)]), {})))
    assert found['mask_age_ms'] == {'p50': 100.0, 'p95': 100.0, 'count': 1}
    assert found['lifting']['box_centre_mm'] == {'p50': 10.0, 'p95': 10.0, 'count': 1}
    assert found['lifting']['box_size_error']['p50'] == 0.1
    row = found['goals'][0]['target']
    assert (row['centroid_mm'], row['box_centre_mm'], row['points_within_5_mm']) == (10.0, 10.0, 0)
    assert row['box_size_errors'] == [0.1, 0.1, 0.1]
    assert row['age_ms'] == 120.0
    assert len(row['box_centre_m']) == len(row['box_size_m']) == 3
    assert found['goals'][1]['target'] is None


def test_table_when_a_target_is_lifted_then_its_row_ends_with_both_errors():
    found = score([answer(0, 1, sample_masks(0)[1])], [lifted(0, moved_m=(0, 0, 0.01), grown=1.1)])
    lines = table(found).splitlines()
    assert lines[0].split()[-4:] == ['off', 'mm', 'size', '%']
    assert lines[1].split()[-2:] == ['10', '10']
    assert '3D of 1 targets (p95): centroid 10 (10) mm off, box 10 (10) mm off' in lines[-2]


def test_spread_when_values_are_missing_then_the_rest_counts():
    assert spread([None]) is None
    found = spread([None, 1.0, 3.0])
    assert (found.p50, found.p95, found.count) == (2.0, pytest.approx(2.9), 2)
    summary = summarise([], [LiftScore(1.0, 0.5, None, None), LiftScore(3.0, 0.9, None, None)])
    assert (summary.box_centre_mm, summary.size_error) == (None, None)
    assert summary.near_share.p95 == pytest.approx(0.52)  # from below


# Drawn

def test_picture_when_a_target_is_drawn_then_points_box_and_side_view_are_in_it():
    image = np.full((480, 640, 3), 60, np.uint8)
    target, view = lifted(0), large_view()
    taken = np.zeros((480, 640), bool)
    drawn = draw_target(image, taken, target, view)
    assert drawn.shape == image.shape
    x, y = np.round(view.camera.project(target.points_m[len(target.points_m) // 2][None])[0])
    assert (drawn[int(y), int(x)] != 60).any()
    start, end = view.camera.project(target.box.corners()[[4, 5]])
    middle = np.round((start + end) / 2).astype(int)
    assert (drawn[middle[1] - 2:middle[1] + 3, middle[0] - 2:middle[0] + 3] > 200).any()
    assert (image == 60).all()
    inset = side_view(target, view, 173)
    assert inset.shape == (173, 173, 3)
    assert np.array_equal(drawn[-173:, -173:], inset)


def test_side_view_when_the_target_is_there_then_it_stays_away_from_it():
    image = np.zeros((480, 640, 3), np.uint8)
    taken = np.zeros((480, 640), bool)
    taken[400:, 500:] = True
    drawn = draw_target(image, taken, lifted(0), large_view())
    assert (drawn[-100:, -100:] == 0).all()
    assert drawn[-100:, :100].any()


def test_picture_when_there_is_no_box_then_only_the_points_are_drawn():
    target = LiftedResult(**{**vars(lifted(0)), 'box': None})
    image = np.zeros((480, 640, 3), np.uint8)
    drawn = draw_target(image, np.zeros((480, 640), bool), target, large_view())
    assert 0 < np.count_nonzero(drawn.any(axis=2)) <= len(target.points_m)


def test_picture_when_a_target_was_refused_then_its_box_is_not_drawn():
    target = LiftedResult(**{**vars(lifted(0)), 'points_m': np.empty((0, 3), np.float32),
                             'status': LiftStatus.MISALIGNED})
    image = np.zeros((480, 640, 3), np.uint8)
    assert not draw_target(image, np.zeros((480, 640), bool), target, large_view()).any()


def large_view():
    """The view of a camera with ten times the pixels, so that lines do not fill the picture."""
    matrix = INTRINSICS * [[10.0], [10.0], [1.0]]
    rgb = cv2.resize(VIEWS[stamp(0)].image_rgb, (640, 480))
    return CameraView(encode_jpeg(rgb, 95), VIEWS[stamp(0)].depth,
                      CameraModel(ImageSize(480, 640), matrix))


# Read back

def test_results_when_read_back_then_target_and_cloud_of_a_stamp_are_one(tmp_path):
    types = standard_types()
    register_types(types, 'samtok_ros', Path(__file__).resolve().parents[1] / 'msg')
    of = types.types
    header = of['std_msgs/msg/Header'](of['builtin_interfaces/msg/Time'](7, 5), 'optical')
    point, vector = of['geometry_msgs/msg/Point'], of['geometry_msgs/msg/Vector3']
    half = np.sqrt(0.5)
    pose = of['geometry_msgs/msg/Pose'](
        point(0.1, 0.2, 0.8), of['geometry_msgs/msg/Quaternion'](0.0, 0.0, half, half))
    fields = {
        'header': header, 'goal': 'a mug', 'goal_id': 3, 'id': 2, 'track_id': 0, 'label': 'mug',
        'score': 0.2, 'mask_score': 0.9, 'status': 0, 'message': '',
        'centroid': point(0.1, 0.2, 0.7), 'box_pose': pose, 'box_size': vector(0.1, 0.05, 0.08),
        'box_completed': True, 'support_normal': vector(0.0, -1.0, 0.0), 'support_offset': 0.3,
        'mask_px': 100, 'eroded_px': 10, 'no_depth_px': 5, 'out_of_range_px': 0, 'outlier_px': 1,
        'points': 2, 'depth_share': 0.95, 'depth_median': 0.7, 'depth_spread': 0.02,
        'truncated': True, 'age': 0.5, 'answer_age': 0.5}
    target = of['samtok_ros/msg/LiftedTarget'](**fields)
    field = of['sensor_msgs/msg/PointField']
    values = np.array([[0.1, 0.2, 0.7], [0.2, 0.3, 0.8]], np.float32)
    cloud = of['sensor_msgs/msg/PointCloud2'](
        header, 1, 2, [field(name, 4 * index, 7, 1) for index, name in enumerate('xyz')], False,
        12, 24, values.view(np.uint8).ravel(), True)
    empty = of['sensor_msgs/msg/PointCloud2'](
        header, 1, 0, cloud.fields, False, 12, 0, np.empty(0, np.uint8), True)
    withdrawn = of['samtok_ros/msg/LiftedTarget'](**{
        **fields, 'status': 6, 'points': 0, 'box_size': vector(0.0, 0.0, 0.0)})
    with BagWriter(tmp_path / 'bag', types) as bag:
        bag.write_record(POINTS_TOPIC, 7_000_000_400, cloud)
        bag.write_record(BOX_TOPIC, 7_500_000_005, target)
        bag.write_record(POINTS_TOPIC, 7_600_000_000, empty)
        bag.write_record(BOX_TOPIC, 7_600_000_005, withdrawn)
    with open_bag(tmp_path / 'bag') as bag:
        found, gone = read_lifted(bag)
    assert (gone.status, len(gone.points_m), gone.box) == (LiftStatus.REFUSED, 0, None)
    assert (found.stamp_ns, found.goal_id, found.region_id) == (7_000_000_005, 3, 2)
    assert (found.status, found.truncated, found.age_ms) == (LiftStatus.OK, True, 500.0)
    assert np.array_equal(found.points_m, values)
    assert np.allclose(found.centroid_m, [0.1, 0.2, 0.7])
    assert np.allclose(found.box.extents_m, [0.1, 0.05, 0.08])
    assert np.allclose(found.box.rotation[:, 0], [0, 1, 0])


def test_views_when_read_then_they_are_the_images_of_their_stamps(tmp_path):
    bag = write_sample(tmp_path / 'sample', frames=4) / CAMERA_BAG
    views = read_views(bag, [stamp(3), stamp(1)])
    assert list(views) == [stamp(1), stamp(3)]
    for index in (1, 3):
        view, frame = views[stamp(index)], sample_frame(index)
        assert np.abs(view.image_rgb.astype(int) - frame.rgb).mean() < 4
        assert np.isnan(view.depth_m[:, -1]).all()
        assert np.allclose(view.depth_m[:, :-1], frame.depth_mm[:, :-1] / 1000)
        assert np.array_equal(view.camera.matrix, INTRINSICS)
        points = view.surface(sample_masks(index)[1])
        assert np.allclose(points[:, 2], 0.6) and len(points) == 144


def test_views_when_the_bag_has_no_such_image_then_it_is_said(tmp_path):
    bag = write_sample(tmp_path / 'sample', frames=3) / CAMERA_BAG
    with pytest.raises(ConfigError, match='the bag lacks messages .* none with 1 of 2 stamps'):
        read_views(bag, [stamp(0), stamp(7)])


def test_truth_when_read_back_then_boxes_are_the_same(tmp_path):
    save_truth(tmp_path / 'truth.jsonl', [sample_truth(0)])
    (frame,) = load_truth(tmp_path / 'truth.jsonl').values()
    for found, expected in zip(frame.objects, sample_truth(0).objects, strict=True):
        assert np.allclose(found.box.centre_m, expected.box.centre_m, atol=1e-4)
        assert np.allclose(found.box.rotation, expected.box.rotation, atol=1e-3)
        assert np.allclose(found.box.extents_m, expected.box.extents_m, atol=1e-4)


def test_shipped_truth_when_boxes_are_projected_then_they_frame_their_masks():
    truth = load_truth(DATA_DIR / TRUTH_FILE)
    views = read_views(DATA_DIR / CAMERA_BAG, list(truth)[::20])
    for stamp_ns, view in views.items():
        for thing in truth[stamp_ns].objects:
            corners = view.camera.project(thing.box.corners()).astype(np.float32)
            hull = cv2.convexHull(np.round(corners).astype(np.int32))
            inside = cv2.fillConvexPoly(np.zeros(thing.mask.shape, np.uint8), hull, 1) > 0
            # A box holds its thing: every pixel of it, but for rounding.
            assert (thing.mask & ~inside).sum() <= 0.01 * thing.mask.sum()
            # And its visible surface in 3D, on the table or above.
            own = (view.surface(thing.mask) - thing.box.centre_m) @ thing.box.rotation
            assert (np.abs(own) <= thing.box.extents_m / 2 + 0.003).all(axis=1).mean() > 0.99
