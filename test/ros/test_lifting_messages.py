# SPDX-License-Identifier: Apache-2.0
"""Messages of the lifting node, field by field, without a running node."""

import numpy as np
import pytest
from geometry_msgs.msg import Vector3
from harness import START_NS, stamp_ns
from lifting_bench import info_message, masks_message, region
from lifting_scene import CAMERA, SIZE, looking_down
from std_msgs.msg import Header
from vision_stand_ins import STAND_INS

from samtok_ros.errors import ImageError, SpanError
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.lifting.target import LiftStatus, lift_target
from samtok_ros.msg import LiftedTarget, RegionMasks
from samtok_ros.nodes.cloud_messages import flat_cloud, organised_cloud
from samtok_ros.nodes.lifted_messages import Ages, outcome_to_message, pose_of, to_detections_3d
from samtok_ros.nodes.lifting_messages import CalibrationReader, masks_to_set
from samtok_ros.nodes.vision_messages import vision_types
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.lifting_records import Outcome
from samtok_ros.runtime.records import Origin, Status
from samtok_ros.settings.lifting import PointSettings, QualitySettings

DEPTH_M, MASK = looking_down(noise_m=0.001)


def lifted_set(**fields):
    masks = masks_to_set(masks_message(START_NS, region(number=4, track_id=2), **fields))
    lifted = lift_target(MASK, DEPTH_M, CAMERA, PointSettings(), QualitySettings())
    return masks, lifted


def test_masks_when_read_then_every_field_and_the_mask_come_back():
    message = masks_message(START_NS, region(number=4, track_id=2, lost=True), region(number=5),
                            origin=RegionMasks.TRACKED, status=RegionMasks.TRUNCATED,
                            message='cut')
    masks = masks_to_set(message)
    assert (masks.stamp_ns, masks.frame_id, masks.size) == (
        START_NS, 'camera_color_optical_frame', SIZE)
    assert (masks.goal, masks.goal_id, masks.answer_stamp_ns) == ('the red box', 3, START_NS)
    assert (masks.origin, masks.status, masks.message) == (Origin.TRACKED, Status.TRUNCATED, 'cut')
    first, second = masks.things
    assert (first.region_id, first.track_id, first.lost, first.label) == (4, 2, True, 'the red box')
    assert (second.read_mask() == MASK).all()


def test_masks_when_they_make_no_sense_then_refused():
    with pytest.raises(SpanError, match='unknown status or origin'):
        masks_to_set(masks_message(START_NS, status=9))
    with pytest.raises(SpanError, match='unknown status or origin'):
        masks_to_set(masks_message(START_NS, origin=2))
    with pytest.raises(ImageError, match='no pixels'):
        masks_to_set(masks_message(START_NS, height=0))
    with pytest.raises(ImageError, match='no stamp'):
        masks_to_set(masks_message(0))


def test_calibration_when_equal_messages_come_then_the_camera_is_read_once():
    reader = CalibrationReader(rectified=False)
    first, second = (reader.read(info_message(START_NS + number)) for number in range(2))
    assert first.camera is second.camera and first.key == second.key
    assert second.stamp_ns == START_NS + 1
    other = reader.read(info_message(START_NS, k=[0.0] * 9))
    assert other.camera is None and 'no focal length' in other.refusal and other.key != first.key
    p = [150.0, *info_message(0).p[1:5], 150.0, *info_message(0).p[6:]]
    rectified = CalibrationReader(rectified=True).read(info_message(START_NS, p=p, d=[0.1] * 5))
    assert rectified.camera.matrix[0, 0] == 150.0 and rectified.camera.distortion is None


def test_calibration_when_it_has_a_roi_and_binning_then_they_count_and_a_change_is_another_one():
    message = info_message(START_NS)
    message.binning_x = message.binning_y = 2
    reader = CalibrationReader(rectified=False)
    first = reader.read(message)
    assert (first.camera.size, first.camera.matrix[0, 0]) == (ImageSize(120, 160), 150.0)
    roi = message.roi
    roi.x_offset, roi.y_offset, roi.width, roi.height, roi.do_rectify = 20, 10, 200, 100, True
    second = reader.read(message)
    assert second.camera.size == ImageSize(50, 100) and second.key != first.key
    assert list(second.camera.matrix[:2, 2]) == [(159.5 - 20) / 2, (119.5 - 10) / 2]
    rectified = CalibrationReader(rectified=True).read(message)
    assert (rectified.camera.matrix == second.camera.matrix).all()
    roi.x_offset = 200
    assert 'region of interest that is not on its sensor' in reader.read(message).refusal


def test_clouds_when_made_then_flat_ones_are_dense_and_organised_ones_have_a_point_per_pixel():
    header = Header(frame_id='camera')
    flat = flat_cloud(header, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert (flat.height, flat.width, flat.is_dense, flat.point_step, flat.row_step) == (
        1, 2, True, 12, 24)
    assert list(np.frombuffer(flat.data, '<f4')) == [1, 2, 3, 4, 5, 6]
    empty = flat_cloud(header, np.empty((0, 3)))
    assert (empty.height, empty.width, empty.row_step, len(empty.data)) == (1, 0, 0, 0)
    assert [f.name for f in empty.fields] == ['x', 'y', 'z'] and empty.is_dense
    points = np.full((2, 3, 3), np.nan, np.float32)
    points[1, 2] = 7, 8, 9
    grid = organised_cloud(header, points)
    assert (grid.height, grid.width, grid.is_dense, grid.row_step) == (2, 3, False, 36)
    assert list(np.frombuffer(grid.data, '<f4')[-3:]) == [7, 8, 9]


def test_message_when_there_is_nothing_then_what_is_not_known_is_nan_or_zero():
    masks, _ = lifted_set()
    message = outcome_to_message(Outcome(masks, LiftStatus.REFUSED, 'x' * 5000), Ages(0.5, 1.5))
    assert stamp_ns(message) == START_NS and len(message.message) == 1024
    assert (message.age, message.answer_age, message.id, message.points) == (0.5, 1.5, 0, 0)
    assert np.isnan([message.centroid.x, message.depth_median, message.depth_spread]).all()
    assert message.box_size == Vector3() and message.support_normal == Vector3()


def test_statuses_when_compared_then_the_numbers_are_those_of_the_message():
    assert {status.name: int(status) for status in LiftStatus} == {
        name: getattr(LiftedTarget, name) for name in (
            'OK', 'EMPTY', 'NO_DEPTH', 'OUT_OF_RANGE', 'TOO_FEW_POINTS', 'MISALIGNED', 'REFUSED',
            'LOST')}


def test_ages_when_the_answer_is_older_then_both_are_told():
    masks, _ = lifted_set()
    assert Ages.of(masks, START_NS + 250_000_000) == Ages(0.25, 0.25)
    old = masks_message(START_NS, region())
    old.answer_stamp.sec -= 2
    assert Ages.of(masks_to_set(old), START_NS + 250_000_000) == Ages(0.25, 2.25)


def test_pose_when_made_then_its_axes_are_those_of_the_box():
    rotation = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    pose = pose_of(OrientedBox(np.array([1.0, 2.0, 3.0]), rotation, np.ones(3), True))
    assert (pose.position.x, pose.position.y, pose.position.z) == (1.0, 2.0, 3.0)
    q = pose.orientation
    assert [q.x, q.y, q.z, q.w] == pytest.approx([0.5] * 4)


def test_detections_when_made_then_only_regions_with_a_box_are_in_them():
    masks, lifted = lifted_set()
    blind = lift_target(MASK, np.full_like(DEPTH_M, np.nan), CAMERA, PointSettings(),
                        QualitySettings())
    (thing,) = masks.things
    message = to_detections_3d(masks, [(thing, lifted), (thing, blind)],
                               vision_types() or STAND_INS)
    assert stamp_ns(message) == START_NS
    (found,) = message.detections
    assert (found.id, found.header) == ('4', message.header)
    assert found.results[0].hypothesis.class_id == 'the red box'
    assert found.results[0].hypothesis.score == 0.5
    assert found.results[0].pose.pose == found.bbox.center == pose_of(lifted.box)
    assert [found.bbox.size.x, found.bbox.size.y, found.bbox.size.z] == pytest.approx(
        list(lifted.box.extents_m))
