# SPDX-License-Identifier: Apache-2.0
"""Consumers as they are: late, slow, several at once, of other QoS."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import FAKE, START_NS, Peer, best_effort, latched, reliable, stamp_ns, wait_until
from mask_bench import CORNER, HEIGHT, MIDDLE, TOP, WIDTH, MaskBench
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from samtok_ros.msg import RegionMasks


@pytest.fixture
def reader(world):
    """A process that subscribes to all large outputs; it can be halted."""
    process = subprocess.Popen(
        [sys.executable, '-P', str(Path(__file__).with_name('stopped_reader.py'))],
        stdout=subprocess.PIPE, text=True, env={**os.environ, 'ROS_DOMAIN_ID': str(world.domain)})
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def test_planner_when_it_comes_late_then_it_gets_the_last_target_and_none_of_the_others(world):
    bench = MaskBench(world)
    for number, codes in enumerate((MIDDLE, TOP, CORNER)):
        bench.ask(START_NS + number, codes)
    last = bench.target.wait(lambda m: stamp_ns(m) == START_NS + 2)
    late = [world.peer.listen(Image, 'target/mask', latched()) for _ in range(2)]
    for planner in late:
        message = planner.wait()
        assert stamp_ns(message) == START_NS + 2
        assert list(message.data) == list(last.data)
    labels = world.peer.listen(Image, 'label_image')
    bench.wait_for_listeners('label_image', 1)
    bench.ask(START_NS + 3, MIDDLE)
    assert stamp_ns(labels.wait()) == START_NS + 3
    for planner in late:
        assert [stamp_ns(m) for m in planner.wait(count=2)] == [START_NS + 2, START_NS + 3]


def test_planners_when_two_of_different_qos_listen_then_both_get_every_target_with_equal_stamps(
        world):
    bench = MaskBench(world)
    second = Peer(world.peer.node.context, 'second_planner')
    try:
        volatile = second.listen(Image, 'target/mask', reliable())
        lossy = second.listen(Image, 'target/mask', best_effort(100))
        bench.wait_for_listeners('target/mask', 3)
        for received in (volatile, lossy):
            wait_until(received.subscription.get_publisher_count, 'the publisher')
        stamps = [START_NS + number * 33_333_333 for number in range(5)]
        for ns in stamps:
            bench.ask(ns, MIDDLE)
        for received in (bench.target, volatile, lossy):
            assert [stamp_ns(m) for m in received.wait(count=5)] == stamps
            first = np.frombuffer(received.messages[0].data, np.uint8)
            assert first.size == HEIGHT * WIDTH
            assert set(first) == {0, 255}
    finally:
        second.close()


def test_consumer_when_it_stops_reading_then_nobody_else_waits_and_later_it_gets_the_newest(
        world, reader):
    bench = MaskBench(world)
    for topic, count in (('masks', 2), ('label_image', 1), ('overlay/compressed', 1)):
        bench.wait_for_listeners(topic, count)
    # Not before all of its readers are matched, or the first images might pass it by.
    bench.ask(START_NS, MIDDLE)
    assert reader.stdout.readline().split() == ['1700000000', '123456789']
    reader.send_signal(signal.SIGSTOP)
    stamps = [START_NS + number for number in range(1, 181)]
    for wave in range(0, 180, 30):
        for ns in stamps[wave:wave + 30]:
            bench.show(ns)
            bench.say(ns, MIDDLE, TOP)
        bench.masks_of(stamps[wave + 29])
    assert [stamp_ns(m) for m in bench.masks.messages] == [START_NS, *stamps]
    facts = bench.peer.health('mask_tokenizer', 'output',
                              lambda found: found[2].get('labels_out') == '181')[2]
    assert facts['targets_out'] == '181'
    assert bench.peer.state('mask_tokenizer') == 'active'
    reader.send_signal(signal.SIGCONT)
    bench.ask(START_NS + 999, MIDDLE)
    wanted = str(START_NS % 1_000_000_000 + 999)
    for line in reader.stdout:
        if line.split()[1] == wanted:
            break


def test_consumer_when_it_asks_for_what_we_do_not_offer_then_the_log_names_it(world):
    bench = MaskBench(world)
    world.peer.listen(Image, 'label_image', latched())
    bench.program.wait_for_log(
        'subscription of /samtok/peer on /samtok/label_image asks for durability that is not '
        'offered: nothing arrives there. Ask for less there, or set '
        'qos_overrides./samtok/label_image.publisher.durability here')
    assert len(bench.ask(START_NS, MIDDLE).masks) == 1


def test_outputs_when_their_qos_is_overridden_then_the_publisher_has_it(world):
    world.start('mask_tokenizer', {
        **FAKE, 'qos_overrides./samtok/masks.publisher.reliability': 'best_effort'})
    masks = world.peer.listen(RegionMasks, 'masks', QoSProfile(
        depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT))
    wait_until(masks.subscription.get_publisher_count, 'the publisher')
    (info,) = world.peer.node.get_publishers_info_by_topic('/samtok/masks')
    assert info.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
    world.peer.listen(RegionMasks, 'masks', reliable())
    world.programs[0].wait_for_log('on /samtok/masks asks for reliability that is not offered')
