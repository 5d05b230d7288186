# SPDX-License-Identifier: Apache-2.0
"""The lifting node and what cameras do wrong: a clear status each time, and no stale target."""

import time

import numpy as np
import pytest
from harness import START_NS, latched, stamp_ns
from in_process import running_nodes
from lifting_bench import (
    DEPTH_M,
    MASK,
    LiftingBench,
    depth_message,
    info_message,
    make_lifting,
    region,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2

from samtok_ros.msg import LiftedTarget, RegionMask, RegionMasks
from samtok_ros.regions import ImageSize

MS = 1_000_000
NS = START_NS + 33 * MS


@pytest.fixture
def bench(world):
    """A node that has lifted a good target: what comes next must not leave that one alive."""
    with running_nodes(world.domain, {'autostart': True, 'wait_s': 0.2}, make_lifting) as nodes:
        bench = LiftingBench(world.peer)
        bench.node = nodes['lifting']
        assert bench.lift(START_NS).status == LiftedTarget.OK
        yield bench


def check_refused(bench, box, *texts, status=LiftedTarget.REFUSED):
    """Check what a planner sees: status and reason, and an empty cloud of the same stamp."""
    assert box.status == status, box.message
    for text in texts:
        assert text in box.message
    cloud = bench.points.wait(lambda m: m.header == box.header and not m.width)
    assert (cloud.height, len(cloud.data), cloud.is_dense) == (1, 0, True)
    late = bench.peer.listen(PointCloud2, 'target/points', latched())
    assert late.wait().header == box.header and late.messages[0].width == 0
    name = next(name for name in ('EMPTY', 'NO_DEPTH', 'OUT_OF_RANGE', 'TOO_FEW_POINTS',
                                  'MISALIGNED', 'REFUSED', 'LOST')
                if getattr(LiftedTarget, name) == status)
    level, text, values = bench.peer.health(
        'lifting', 'lifting', lambda found: box.message in found[1])
    assert level == 1 and values['last_status'] == name


def test_depth_when_it_is_missing_then_refused_after_the_wait_with_the_nearest_stamp(bench):
    box = bench.lift(NS, depth=None)
    check_refused(bench, box, 'no depth image has the stamp 1700000000.156456789 of the image; the '
                  'nearest is 1700000000.123456789, 33.0 ms earlier')
    assert (box.goal_id, box.id, box.label) == (3, 1, 'the red box')


def test_depth_when_it_comes_after_the_mask_then_it_is_waited_for(bench):
    # Nothing here depends on time: the node waits as long as the test allows.
    bench.node.set_parameters([_parameter('wait_s', 60.0)])
    bench.show(NS, depth=None)
    bench.say(NS)
    bench.value('masks_waiting_for_depth', lambda count: count == '1')
    bench.show(NS, info=None)
    assert bench.box_of(NS).status == LiftedTarget.OK


def test_depth_when_it_comes_at_half_the_rate_then_every_other_mask_is_refused_at_once(bench):
    bench.node.set_parameters([_parameter('wait_s', 60.0)])
    for place in range(4):
        ns = NS + place * 33 * MS
        bench.show(ns, depth=True if place % 2 else None)
        bench.say(ns)
    assert bench.box_of(ns).status == LiftedTarget.OK
    assert bench.value('REFUSED', lambda count: count == '2')
    assert bench.value('OK', lambda count: count == '3')


@pytest.mark.parametrize('given, texts', [
    ({'depth': depth_message(NS, frame='camera_depth_optical_frame')},
     ["the depth image is of frame 'camera_depth_optical_frame', the image of "
      "'camera_color_optical_frame'", 'aligned']),
    ({'info': info_message(NS, frame='camera_link')},
     ["the camera_info is of frame 'camera_link'"]),
    ({'depth': depth_message(NS, DEPTH_M[::2, ::2])},
     ['the depth image is 160 x 120, the image 320 x 240']),
    ({'info': info_message(NS, size=ImageSize(480, 640))}, ['the camera_info is 640 x 480']),
    ({'info': info_message(NS, k=[0.0] * 9)},
     ['camera_info holds no calibration: K has no focal length', 'Calibrate the camera']),
    ({'info': info_message(NS, d=[0.1] * 3)}, ["'plumb_bob' with 3 coefficients"]),
], ids=['depth frame', 'info frame', 'depth size', 'info size', 'zeros', 'distortion'])
def test_camera_when_depth_or_calibration_do_not_fit_then_refused_by_name(bench, given, texts):
    check_refused(bench, bench.lift(NS, **given), *texts)


@pytest.mark.parametrize('depth_m, status, text', [
    (np.full_like(DEPTH_M, np.nan), LiftedTarget.NO_DEPTH, '0 of 1860 pixels'),
    (DEPTH_M * 1000, LiftedTarget.OUT_OF_RANGE, '32FC1 means metres (REP 118)'),
    (DEPTH_M / 1000, LiftedTarget.OUT_OF_RANGE, '16UC1 means millimetres (REP 118)'),
    (np.roll(DEPTH_M, (0, 14), (0, 1)), LiftedTarget.MISALIGNED, 'fits the mask 14 px aside'),
], ids=['all NaN', 'metres as millimetres', 'millimetres as metres', 'shifted'])
def test_depth_when_its_values_are_wrong_then_the_status_says_how(bench, depth_m, status, text):
    box = bench.lift(NS, depth=depth_message(NS, depth_m, '32FC1'))
    check_refused(bench, box, text, status=status)


def test_mask_when_it_is_of_another_size_or_damaged_then_refused(bench):
    small = region(MASK[::2, ::2])
    box = bench.lift(NS, small, height=120, width=160)
    check_refused(bench, box, 'the depth image is 320 x 240, the image 160 x 120')
    box = bench.lift(NS + MS, RegionMask(id=1, area_px=5, rle=[1, 2, 3]))
    check_refused(bench, box, 'run lengths do not fit the mask')
    box = bench.lift(NS + 2 * MS, RegionMask(id=1, area_px=70000))
    check_refused(bench, box, 'the mask of region 1 was left out of the message')
    box = bench.lift(NS + 3 * MS, region(np.zeros_like(MASK)))
    assert (box.status, box.message) == (LiftedTarget.EMPTY, 'the mask is empty')


def test_answer_when_it_failed_then_the_old_target_does_not_stay(bench):
    bench.show(NS)
    bench.masks.publish(bench.message(NS, status=RegionMasks.FAILED, message='no memory left'))
    check_refused(bench, bench.box_of(NS), 'the answer failed: no memory left')


def test_goal_when_it_is_cleared_then_the_target_goes_without_a_warning(bench):
    bench.show(NS)
    bench.masks.publish(bench.message(
        NS, origin=RegionMasks.TRACKED, status=RegionMasks.CANCELLED,
        message='the goal was cleared'))
    box = bench.box_of(NS)
    assert (box.status, box.message) == (
        LiftedTarget.REFUSED, 'the answer was cancelled: the goal was cleared')
    level, text, values = bench.peer.health(
        'lifting', 'lifting', lambda found: 'the goal was cleared' in found[1])
    assert level == 0 and 'target_refused' not in values


def test_lifting_when_it_fails_by_our_own_fault_then_told_and_the_old_target_does_not_stay(bench):
    import samtok_ros.nodes.lifting as module
    lift, module.lift_pair = module.lift_pair, lambda pair, settings: 1 / 0
    try:
        bench.show(NS)
        bench.say(NS)
        box = bench.box_of(START_NS, lambda m: m.status == LiftedTarget.REFUSED)
        assert 'could not be lifted' in box.message
    finally:
        module.lift_pair = lift
    level, text, _ = bench.peer.health('lifting', 'lifting', lambda found: found[0] == 2)
    assert 'ZeroDivisionError' in text
    assert bench.lift(NS + MS).status == LiftedTarget.OK


def test_depth_messages_when_damaged_then_counted_and_the_node_goes_on(bench):
    for change in ({'encoding': 'rgb8'}, {'step': 3}, {'height': 0}):
        message = depth_message(NS)
        for name, value in change.items():
            setattr(message, name, value)
        bench.depth.publish(message)
    unstamped = depth_message(0)
    bench.depth.publish(unstamped)
    bench.value('bad_depth', lambda count: count == '4')
    level, text, _ = bench.peer.health('lifting', 'input', lambda found: found[0] == 2)
    assert 'message on /samtok/depth is refused' in text
    assert bench.lift(NS).status == LiftedTarget.OK


def test_stamps_when_they_step_back_then_the_target_is_withdrawn_and_work_goes_on(bench):
    early = START_NS - 60_000 * MS
    bench.show(early)
    box = bench.box_of(START_NS, lambda m: m.status == LiftedTarget.REFUSED)
    check_refused(bench, box, 'time jumped back')
    bench.say(early)
    assert bench.box_of(early).status == LiftedTarget.OK
    bench.say(START_NS)
    assert 'no depth image has the stamp' in bench.box.wait(
        lambda m: stamp_ns(m) == START_NS and 'no depth' in m.message).message


def test_clock_when_it_jumps_back_then_the_target_is_withdrawn(world):
    with running_nodes(world.domain, {'autostart': True, 'use_sim_time': True}, make_lifting):
        bench = LiftingBench(world.peer)
        clock = world.peer.publisher(Clock, '/clock')
        clock.publish(Clock(clock=info_message(START_NS + 100 * MS).header.stamp))
        world.peer.value('lifting', 'time', 'now_s', lambda text: text == '1700000000.223')
        assert bench.lift(START_NS).age == pytest.approx(0.1)
        clock.publish(Clock(clock=info_message(START_NS - 5000 * MS).header.stamp))
        box = bench.box_of(START_NS, lambda m: m.status == LiftedTarget.REFUSED)
        check_refused(bench, box, 'time jumped back')
        bench.say(START_NS)
        box = bench.box_of(START_NS, lambda m: 'no depth' in m.message)
        assert 'no depth image has come' in box.message, 'it was of the time that is gone'


def test_masks_when_they_stop_then_the_target_is_withdrawn(bench):
    bench.node.set_parameters([_parameter('withdraw_after_s', 0.05)])
    box = bench.box_of(START_NS, lambda m: m.status == LiftedTarget.REFUSED)
    check_refused(bench, box, 'no masks have come for 0.05 s')


def test_calibration_when_it_has_another_stamp_then_taken_only_while_it_does_not_change(bench):
    bench.show(NS, info=None)
    bench.say(NS)
    assert bench.box_of(NS).status == LiftedTarget.OK
    zoomed = info_message(NS + 5 * MS, k=[2 * v if place < 8 else v
                                          for place, v in enumerate(info_message(NS).k)])
    box = bench.lift(NS + 10 * MS, info=zoomed)
    check_refused(bench, box, 'no camera_info has the stamp', 'the calibration is changing')


def test_masks_when_they_come_faster_than_they_are_lifted_then_the_oldest_are_counted(bench):
    import samtok_ros.nodes.lifting as module
    lift, slow = module.lift_pair, []

    def slowly(pair, settings):
        slow.append(pair)
        while len(slow) == 1 and bench.node.statistics.total('masks_left_out') < 3:
            time.sleep(0.005)
        return lift(pair, settings)

    module.lift_pair = slowly
    try:
        for number in range(1, 9):
            bench.show(START_NS + number)
            bench.say(START_NS + number)
        assert bench.box_of(START_NS + 8).status == LiftedTarget.OK
    finally:
        module.lift_pair = lift
    assert bench.value('masks_left_out', lambda count: count != '0') == '3'
    stamps = [stamp_ns(m) for m in bench.box.messages]
    assert stamps == sorted(stamps)


def _parameter(name, value):
    from rclpy.parameter import Parameter

    return Parameter(name, value=value)
