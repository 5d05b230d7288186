# SPDX-License-Identifier: Apache-2.0
"""The lifting node over DDS: masks, depth and calibration in; points, box and markers out."""

import array

import numpy as np
import pytest
from harness import START_NS, best_effort, latched, reliable, stamp_ns, wait_until
from in_process import running_nodes
from lifting_bench import (
    DEPTH_M,
    FRAME,
    MASK,
    LiftingBench,
    depth_message,
    info_message,
    make_lifting,
    points_of,
    region,
    set_header,
)
from lifting_scene import SIZE, TOP_M
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from visualization_msgs.msg import Marker

from samtok_ros.image.depth_codec import DEPTH_FORMAT, depth_to_compressed
from samtok_ros.msg import LiftedTarget, RegionMasks

PARAMETERS = {'autostart': True, 'scene.enabled': True}


@pytest.fixture
def bench(world):
    with running_nodes(world.domain, PARAMETERS, make_lifting) as nodes:
        bench = LiftingBench(world.peer)
        bench.node = nodes['lifting']
        yield bench


def cloud_of(bench, ns):
    return bench.points.wait(lambda m: stamp_ns(m) == ns)


def test_target_when_all_of_one_stamp_is_there_then_points_box_and_markers_of_that_stamp(bench):
    box = bench.lift(START_NS, region(label='the red box', track_id=7))
    assert (box.status, box.message) == (LiftedTarget.OK, '')
    assert (box.goal, box.goal_id) == ('the red box', 3)
    assert (box.id, box.track_id, box.label, box.score) == (1, 7, 'the red box', 0.5)
    assert box.header.frame_id == FRAME
    size = box.box_size
    assert np.allclose([size.x, size.y, size.z], [0.2, 0.1, 0.1], atol=0.008)
    assert np.allclose([box.centroid.x, box.centroid.y, box.centroid.z], [0, 0, TOP_M], atol=0.002)
    assert box.box_completed and box.support_offset == pytest.approx(1.0, abs=0.003)
    assert box.mask_px == MASK.sum() == sum((
        box.eroded_px, box.no_depth_px, box.out_of_range_px, box.outlier_px, box.points))
    assert box.depth_share == 1.0 and box.depth_median == pytest.approx(TOP_M, abs=0.002)
    assert not box.truncated and box.age > 0 and box.answer_age == box.age
    cloud = cloud_of(bench, START_NS)
    points = points_of(cloud)
    assert (cloud.height, cloud.width, cloud.is_dense) == (1, box.points, True)
    assert cloud.header == box.header
    assert np.isfinite(points).all() and np.allclose(points[:, 2], TOP_M, atol=0.01)
    assert np.allclose(points.mean(axis=0), [0, 0, TOP_M], atol=0.002)
    markers = bench.markers.wait().markers
    assert [(m.id, m.type, m.action) for m in markers] == [
        (0, Marker.CUBE, Marker.ADD), (1, Marker.TEXT_VIEW_FACING, Marker.ADD),
        (2, Marker.SPHERE, Marker.ADD)]
    assert markers[0].pose == box.box_pose and markers[0].scale == box.box_size
    assert markers[1].text == 'the red box'
    assert all(m.header == box.header and m.ns == 'target' for m in markers)


def test_target_when_depth_comes_in_metres_then_the_same_cloud(bench):
    bench.lift(START_NS)
    in_mm = np.round(DEPTH_M * 1000).astype(np.float32) / 1000
    bench.lift(START_NS + 1, depth=depth_message(START_NS + 1, in_mm, '32FC1'))
    clouds = [points_of(cloud_of(bench, START_NS + n)) for n in range(2)]
    assert np.allclose(*clouds, atol=1e-6)


def test_target_when_there_is_none_then_an_empty_cloud_of_the_same_stamp(bench):
    bench.lift(START_NS)
    bench.show(START_NS + 1)
    bench.masks.publish(bench.message(START_NS + 1, status=RegionMasks.NO_TARGET,
                                      message='nothing fits'))
    box = bench.box_of(START_NS + 1)
    assert (box.status, box.id) == (LiftedTarget.EMPTY, 0)
    assert box.message == 'there is no target in the image: nothing fits'
    assert np.isnan([box.centroid.x, box.depth_median, box.depth_spread]).all()
    cloud = cloud_of(bench, START_NS + 1)
    assert (cloud.height, cloud.width, cloud.is_dense) == (1, 0, True) and not points_of(cloud).size
    gone = bench.markers.wait(lambda m: m.markers[0].action == Marker.DELETE).markers
    assert [(m.ns, m.id, m.action) for m in gone] == [('target', n, Marker.DELETE)
                                                      for n in range(3)]


def test_target_when_several_regions_are_there_then_the_surest_unless_it_is_lost(bench):
    other = np.zeros_like(MASK)
    other[10:40, 20:60] = True
    box = bench.lift(START_NS, region(other, 1, score=0.2), region(MASK, 2, score=0.4))
    assert box.id == 2 and box.mask_px == MASK.sum()
    box = bench.lift(START_NS + 1, region(np.zeros_like(MASK), 4, score=0.4, lost=True, track_id=4),
                     origin=RegionMasks.TRACKED)
    assert (box.status, box.id, box.track_id) == (LiftedTarget.LOST, 4, 4)
    assert box.message == 'the target was followed and is not found in this image'
    assert cloud_of(bench, START_NS + 1).width == 0


def test_planner_when_it_comes_late_then_it_gets_the_last_target(bench, world):
    for number in range(3):
        bench.lift(START_NS + number)
    late = world.peer.listen(LiftedTarget, 'target/box', latched())
    points = world.peer.listen(PointCloud2, 'target/points', latched())
    assert stamp_ns(late.wait()) == START_NS + 2
    assert stamp_ns(points.wait()) == START_NS + 2 and points.messages[0].width > 1000


def test_node_when_deactivated_then_the_last_target_is_withdrawn(bench, world):
    from harness import ACTIVATE, DEACTIVATE

    bench.lift(START_NS)
    assert world.peer.change('lifting', DEACTIVATE)
    box = bench.box_of(START_NS, lambda m: m.status == LiftedTarget.REFUSED)
    assert box.message == 'the lifting node was deactivated' and not box.points
    assert bench.points.wait(lambda m: stamp_ns(m) == START_NS and not m.width)
    late = world.peer.listen(LiftedTarget, 'target/box', latched())
    assert late.wait().status == LiftedTarget.REFUSED
    assert world.peer.change('lifting', ACTIVATE)
    bench.connect()
    assert bench.lift(START_NS + 9).status == LiftedTarget.OK


def test_scene_when_somebody_listens_then_an_organised_cloud_without_the_target(bench, world):
    scene = world.peer.listen(PointCloud2, 'scene/points', reliable())
    bench.wait_for_listeners('scene/points')
    depth = DEPTH_M.copy()
    depth[0, :10] = np.nan
    bench.lift(START_NS, depth=depth_message(START_NS, depth))
    cloud = scene.wait()
    assert (cloud.height, cloud.width, cloud.is_dense) == (SIZE.height, SIZE.width, False)
    assert stamp_ns(cloud) == START_NS and cloud.header.frame_id == FRAME
    points = points_of(cloud).reshape(SIZE.height, SIZE.width, 3)
    assert np.isnan(points[MASK]).all() and np.isnan(points[0, :10]).all()
    assert np.isfinite(points[0, 10:]).all()
    assert points[5, 300] == pytest.approx([(300 - 159.5) / 300, (5 - 119.5) / 300, 1.0], abs=0.01)
    bench.show(START_NS + 1)
    bench.masks.publish(bench.message(START_NS + 1, status=RegionMasks.NO_TARGET))
    whole = points_of(scene.wait(lambda m: stamp_ns(m) == START_NS + 1))
    assert np.isfinite(whole).all()


def test_scene_when_it_fails_by_our_own_fault_then_told_and_the_target_stays(
        bench, world, monkeypatch):
    scene = world.peer.listen(PointCloud2, 'scene/points', reliable())
    bench.wait_for_listeners('scene/points')
    with monkeypatch.context() as patch:
        patch.setattr('samtok_ros.nodes.lifting.scene_without', lambda *_: 1 / 0)
        assert bench.lift(START_NS).status == LiftedTarget.OK
        _, text, _ = bench.peer.health('lifting', 'lifting', lambda found: found[0] == 2)
    assert 'the scene could not be lifted: ZeroDivisionError' in text
    assert [m.status for m in bench.box.messages] == [LiftedTarget.OK]
    assert bench.lift(START_NS + 1).status == LiftedTarget.OK
    assert stamp_ns(scene.wait()) == START_NS + 1


def test_depth_when_compressed_then_it_is_read_too(world):
    with running_nodes(world.domain, {'autostart': True}, make_lifting):
        bench = LiftingBench(world.peer, compressed=True)
        data = depth_to_compressed(np.round(DEPTH_M * 1000).astype(np.uint16))
        box = bench.lift(START_NS, depth=set_header(
            CompressedImage(format=DEPTH_FORMAT, data=array.array('B', data)), START_NS))
        assert box.status == LiftedTarget.OK and box.points == 1860
        other = CompressedImage(format='jpeg', data=[1, 2, 3])
        bench.depth.publish(set_header(other, START_NS + 1))
        level, text, _ = bench.peer.health('lifting', 'input', lambda found: found[0] == 2)
        assert 'compressed depth image is of another kind' in text


def test_inputs_when_publishers_differ_then_each_is_heard_as_reliably_as_it_offers(bench, world):
    def offered(name, wanted):
        bench.peer.value('lifting', 'input', name, lambda text: text == wanted)

    offered('depth_qos', 'reliable, last 10')
    offered('camera_info_qos', 'best_effort, last 10')
    lossy = world.peer.publisher(Image, 'depth', best_effort(10), wait=False)
    offered('depth_qos', 'best_effort, last 10')
    world.peer.node.destroy_publisher(lossy)
    offered('depth_qos', 'reliable, last 10')
    bench.connect()
    assert bench.lift(START_NS).status == LiftedTarget.OK


def test_calibration_when_it_was_latched_before_we_came_then_it_is_heard_and_is_enough(
        world, monkeypatch):
    info = world.peer.publisher(CameraInfo, 'camera_info', latched(), wait=False)
    info.publish(info_message(START_NS))
    with running_nodes(world.domain, {'autostart': True}, make_lifting) as nodes:
        world.peer.value('lifting', 'input', 'camera_info_in', lambda count: count == '1')
        world.peer.value('lifting', 'input', 'camera_info_qos',
                         lambda text: text == 'reliable, transient local, last 10')
        # What is kept is forgotten when time jumps back, and not sent again by itself.
        depth = world.peer.publisher(Image, 'depth')
        world.peer.value('lifting', 'input', 'depth_qos', lambda text: text[:8] == 'reliable')
        world.peer.value('lifting', 'input', 'depth_matched_publishers', lambda count: count == '1')
        for number, ns in enumerate((START_NS, START_NS - 5 * 10**9), start=1):
            depth.publish(depth_message(ns))
            world.peer.value('lifting', 'input', 'depth_in',
                             lambda count, number=number: count == str(number))
        world.peer.value('lifting', 'input', 'camera_info_in', lambda count: count == '2')
        assert nodes['lifting']._pairs.has_calibration
        monkeypatch.setattr(nodes['lifting'].statistics, 'age_s',
                            lambda name: 99.0 if name == 'camera_info_in' else 0.0)
        world.peer.health('lifting', 'input', lambda found: 'nobody publishes /samtok/masks'
                          in found[1])
        world.peer.publisher(CameraInfo, 'camera_info', reliable(10), wait=False)
        world.peer.value('lifting', 'input', 'camera_info_qos',
                         lambda text: text == 'reliable, last 10')
        world.peer.health('lifting', 'input', lambda found: 'no camera_info comes' in found[1])


def test_answers_when_tracking_is_ahead_then_targets_never_go_back_in_time(bench):
    second = 1_000_000_000
    bench.show(START_NS)
    bench.lift(START_NS + second, origin=RegionMasks.TRACKED)
    bench.say(START_NS, origin=RegionMasks.ANSWERED)
    bench.value('answers_overtaken', lambda count: count == '1')
    bench.lift(START_NS + 2 * second, origin=RegionMasks.TRACKED)
    assert [stamp_ns(m) for m in bench.box.messages] == [
        START_NS + second, START_NS + 2 * second]


def test_node_when_nothing_is_there_yet_then_nothing_is_logged_and_diagnostics_say_why(world):
    with running_nodes(world.domain, {'autostart': True}, make_lifting):
        level, text, _ = world.peer.health('lifting', 'input', lambda found: found[0] == 1)
        assert text == ('no depth image comes: nobody publishes /samtok/depth: remap depth to the '
                        'depth images that are aligned to the colour camera')
        level, text, values = world.peer.health('lifting', 'lifting')
        assert (level, text) == (0, 'no target so far')
        assert wait_until(lambda: values['masks_in'] == '0', 'no masks')
