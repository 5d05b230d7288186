# SPDX-License-Identifier: Apache-2.0
"""The player of camera bags over DDS: raw and compressed images, each only when asked for."""

import numpy as np
import pytest
from demo_samples import SIZE_HW, sample_frame, stamp, write_sample
from harness import best_effort, stamp_ns, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from samtok_ros.demo.bag_file import open_bag
from samtok_ros.demo.camera_bag import (
    COLOUR_INFO_TOPIC,
    COLOUR_SUFFIX,
    COLOUR_TOPIC,
    DEPTH_SUFFIX,
    DEPTH_TOPIC,
)
from samtok_ros.demo.make_bag import CAMERA_BAG
from samtok_ros.demo.replay_clock import ReplayClock
from samtok_ros.errors import DeviceError
from samtok_ros.nodes.demo_bring_up import start_nodes
from samtok_ros.nodes.demo_bring_up import wait_until as wait_or_fail
from samtok_ros.nodes.demo_player import BagPlayer

FRAMES = 3


def play(world, folder, topics):
    """Play a sample to a listener of each topic (name, type); return what was heard, by topic."""
    write_sample(folder, FRAMES)
    heard = {topic: world.peer.listen(kind, topic) for topic, kind in topics}
    clock = ReplayClock(stamp(0), rate=5.0)
    ticks = world.peer.listen(Clock, '/clock', best_effort())
    with open_bag(folder / CAMERA_BAG) as bag:
        player = BagPlayer(world.peer.node, dict(bag.topics), clock, lossless=True)
        for received in (*heard.values(), ticks):
            wait_until(received.subscription.get_publisher_count, f'player on {received.topic}')
            wait_until(lambda topic=received.topic: world.peer.node.count_subscribers(topic),
                       f'listener on {received.topic}')
        clock.run()
        for message in bag.messages():
            player.play(message)
        for received in heard.values():
            received.wait(count=FRAMES)
        # Best effort: those before the reader and the writer knew each other are lost.
        wait_until(lambda: player.publish_clock() or ticks.messages, 'a tick of the clock')
    return {topic: received.messages for topic, received in heard.items()}


def test_player_when_raw_images_are_wanted_then_they_are_decoded(world, tmp_path):
    heard = play(world, tmp_path, [(COLOUR_TOPIC, Image), (DEPTH_TOPIC, Image),
                                   (COLOUR_INFO_TOPIC, CameraInfo)])
    for messages in heard.values():
        assert [stamp_ns(message) for message in messages] == [stamp(i) for i in range(FRAMES)]
    for index, (colour, depth) in enumerate(
            zip(heard[COLOUR_TOPIC], heard[DEPTH_TOPIC], strict=True)):
        frame = sample_frame(index)
        assert (colour.encoding, depth.encoding) == ('rgb8', '16UC1')
        assert (colour.step, depth.step) == (3 * SIZE_HW[1], 2 * SIZE_HW[1])
        pixels = np.frombuffer(colour.data, np.uint8).reshape(*SIZE_HW, 3)
        assert np.abs(pixels.astype(int) - frame.rgb).mean() < 4
        assert np.array_equal(np.frombuffer(depth.data, '<u2').reshape(SIZE_HW), frame.depth_mm)


def test_player_when_compressed_images_are_wanted_then_they_come_as_stored(world, tmp_path):
    heard = play(world, tmp_path, [(COLOUR_TOPIC + COLOUR_SUFFIX, CompressedImage),
                                   (DEPTH_TOPIC + DEPTH_SUFFIX, CompressedImage)])
    with open_bag(tmp_path / CAMERA_BAG) as bag:
        for topic, messages in heard.items():
            stored = [bag.record(message) for message in bag.messages(topic)]
            assert [bytes(m.data) for m in messages] == [m.data.tobytes() for m in stored]
            assert {m.format for m in messages} == {stored[0].format}


def test_bring_up_when_a_node_is_not_there_then_it_says_so_in_time(world):
    with pytest.raises(DeviceError, match=r'not within .* s: node nobody is there'):
        start_nodes(world.peer.node, ['nobody'], timeout_s=0.3)


def test_wait_when_the_condition_comes_true_then_it_ends():
    answers = iter([False, False, True])
    wait_or_fail(lambda: next(answers), lambda: 'never asked', 5.0)
