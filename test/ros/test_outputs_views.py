# SPDX-License-Identifier: Apache-2.0
"""Views of the masks: label image, target and overlay, and what they cost when nobody looks."""

import numpy as np
import pytest
from harness import SECOND_NS, START_NS, reliable, stamp_ns, wait_until
from mask_bench import CORNER, HEIGHT, MIDDLE, TOP, WIDTH, MaskBench
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.msg import MaskWords
from samtok_ros.runtime.compressed import decode_image


def numbers(message):
    assert (message.encoding, message.is_bigendian, message.step) == ('16UC1', 0, 2 * WIDTH)
    return np.frombuffer(message.data, np.uint16).reshape(HEIGHT, WIDTH)


def mask_of(mask):
    return rle_to_mask(np.array(mask.rle), (HEIGHT, WIDTH))


def shown(message):
    return np.frombuffer(message.data, np.uint8).reshape(HEIGHT, WIDTH)


def test_views_when_nobody_looks_then_they_are_not_made_and_when_somebody_does_they_are(world):
    bench = MaskBench(world)
    for number in range(3):
        bench.ask(START_NS + number, MIDDLE, TOP)
    facts = bench.peer.health('mask_tokenizer', 'output',
                              lambda found: found[2].get('targets_out') == '3')[2]
    assert not {'labels_out', 'overlays_out', 'detections_out'} & facts.keys()
    stages = bench.peer.health('mask_tokenizer', 'inference')[2]
    assert not [name for name in stages if name.startswith(('overlay', 'label_image'))]

    labels = world.peer.listen(Image, 'label_image', reliable(1))
    overlay = world.peer.listen(CompressedImage, 'overlay/compressed', reliable(1))
    for topic in ('label_image', 'overlay/compressed'):
        bench.wait_for_listeners(topic, 1)
    masks = bench.ask(START_NS + 9, MIDDLE, CORNER, MIDDLE, scores=[0.25, 0.75, 0.5],
                      ids=[1, 2, 5])
    middle, corner, _ = (mask_of(mask) for mask in masks.masks)
    label_image = labels.wait()
    assert stamp_ns(label_image) == START_NS + 9
    assert label_image.header.frame_id == 'camera_color_optical_frame'
    # Regions 1 and 5 are the same mask: the one with the higher score is seen.
    assert np.array_equal(numbers(label_image), np.where(corner, 2, np.where(middle, 5, 0)))
    picture = overlay.wait()
    assert stamp_ns(picture) == START_NS + 9
    assert decode_image(bytes(picture.data), 1e6).shape == (HEIGHT, WIDTH, 3)


def test_views_when_words_are_not_complete_or_nothing_fits_then_each_says_so_in_its_way(world):
    bench = MaskBench(world)
    labels = world.peer.listen(Image, 'label_image')
    bench.wait_for_listeners('label_image', 1)
    for number in range(4):
        bench.show(START_NS + number)
    bench.say(START_NS, MIDDLE, complete=False)
    bench.say(START_NS + 1, MIDDLE, status=MaskWords.CANCELLED)
    bench.say(START_NS + 2, MIDDLE, status=MaskWords.FAILED, message='no')
    bench.say(START_NS + 3, status=MaskWords.NO_TARGET)
    target = bench.target.wait(lambda m: stamp_ns(m) == START_NS + 3)
    assert not any(target.data)
    assert not numbers(labels.wait(lambda m: stamp_ns(m) == START_NS + 3)).any()
    assert len(bench.masks.wait(count=4)) == 4, 'the exact masks go out for every message'
    assert [len(received.messages) for received in (bench.target, labels)] == [1, 1]


@pytest.mark.parametrize('scores, best', [([0.25, 0.75], 1), ([0.5, 0.5], 0)])
def test_target_when_scores_differ_then_it_is_the_best_region_and_the_first_among_equals(
        world, scores, best):
    bench = MaskBench(world)
    masks = bench.ask(START_NS, MIDDLE, CORNER, scores=scores)
    target = bench.target.wait()
    assert (target.encoding, target.step, stamp_ns(target)) == ('mono8', WIDTH, START_NS)
    assert np.array_equal(shown(target), mask_of(masks.masks[best]) * np.uint8(255))


def test_time_when_it_is_simulated_then_old_targets_are_held_back_and_a_jump_clears_words(world):
    bench = MaskBench(world, **{'use_sim_time': True, 'target.max_age_s': 0.5,
                                'words.wait_s': 600.0})
    clock = world.peer.publisher(Clock, '/clock')

    def set_time(ns):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(ns, SECOND_NS)

        def reached(now_s):
            clock.publish(message)  # Readers of clocks are best effort: one message may be lost.
            return now_s == f'{ns / 1e9:.3f}'

        bench.peer.value('mask_tokenizer', 'time', 'now_s', reached)

    set_time(100 * SECOND_NS)
    bench.ask(99 * SECOND_NS, MIDDLE)
    _, message, facts = bench.peer.health('mask_tokenizer', 'output',
                                          lambda found: found[2].get('targets_stale') == '1')
    assert message.startswith(
        'target is not published: it is 1.000 s old, more than 0.5 s: its stamp is 99.000000000, '
        'ROS time is 100.000000000. Set use_sim_time')
    assert bench.target.messages == []
    assert 'targets_out' not in facts
    bench.ask(99 * SECOND_NS + 700_000_000, MIDDLE)
    assert stamp_ns(bench.target.wait()) == 99 * SECOND_NS + 700_000_000

    bench.say(100 * SECOND_NS, MIDDLE)
    bench.peer.value('mask_tokenizer', 'inference', 'words_waiting', lambda count: count == '1')
    set_time(10 * SECOND_NS)
    bench.peer.value('mask_tokenizer', 'inference', 'words_waiting', lambda count: count == '0')
    assert len(bench.ask(10 * SECOND_NS, MIDDLE).masks) == 1
    wait_until(lambda: stamp_ns(bench.target.messages[-1]) == 10 * SECOND_NS, 'the new target')
    assert 100 * SECOND_NS not in [stamp_ns(m) for m in bench.masks.messages]
