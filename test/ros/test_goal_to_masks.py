# SPDX-License-Identifier: Apache-2.0
"""The main path over DDS: goal and image in, words, masks and target out."""

import numpy as np
from harness import FAKE, START_NS, Scene, latched, pixels, stamp_ns, wait_until
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.msg import Goal, MaskWords, RegionMasks


def words_of(message):
    return [(word.id, tuple(word.codes), word.label, word.score) for word in message.words]


def regions_of(message):
    return [(mask.id, tuple(mask.codes), mask.label, mask.score, mask.area_px, tuple(mask.rle))
            for mask in message.masks]


def test_goal_when_image_comes_then_words_masks_and_target_carry_its_stamp(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('two red mugs')
    scene.show()
    words, masks = scene.answer(), scene.masks_of()
    target = scene.target.wait(lambda m: stamp_ns(m) == START_NS)
    for message in (words, masks, target):
        assert stamp_ns(message) == START_NS
        assert message.header.frame_id == 'camera_color_optical_frame'
        assert (message.height, message.width) == (48, 64)
    assert (words.goal, words.goal_id, words.status) == ('two red mugs', 1, MaskWords.OK)
    assert [word.id for word in words.words] == [1, 2] == [mask.id for mask in masks.masks]
    assert all(word.label == 'two red mugs' for word in words.words)
    best = max(masks.masks, key=lambda mask: mask.score)
    expected = rle_to_mask(np.array(best.rle), (48, 64))
    shown = np.frombuffer(target.data, np.uint8).reshape(48, 64)
    assert target.encoding == 'mono8'
    assert np.array_equal(shown, expected * np.uint8(255))
    assert best.area_px == expected.sum() > 0
    box = best.box
    assert expected[box.y_offset:box.y_offset + box.height,
                    box.x_offset:box.x_offset + box.width].sum() == best.area_px


def test_two_processes_when_given_the_same_then_they_say_what_one_process_says(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('three cups')
    scene.show(seed=5)
    one = (words_of(scene.answer()), regions_of(scene.masks_of()))
    assert world.programs[0].stop() == 0
    wait_until(lambda: not world.peer.node.count_publishers('mask_words'), 'the process is gone')

    world.start('grounding')
    world.start('mask_tokenizer')
    split = Scene(world, split=True)
    split.set_goal('three cups')
    split.show(seed=5)
    assert (words_of(split.answer()), regions_of(split.masks_of())) == one


def test_answer_when_being_spoken_then_each_region_is_streamed_and_the_last_is_complete(world):
    world.start('perception', {**FAKE, 'fake.token_s': 0.03})
    scene = Scene(world)
    scene.set_goal('three cups')
    scene.show()
    scene.masks_of()
    counts = [(len(m.words), m.complete) for m in scene.words.messages]
    assert counts == [(1, False), (2, False), (3, False), (3, True)]
    final = [tuple(word.codes) for word in scene.words.messages[-1].words]
    for message in scene.words.messages:
        assert [tuple(word.codes) for word in message.words] == final[:len(message.words)]
    # Masks come while the model still speaks, from the same worker thread.
    assert [len(m.masks) for m in scene.masks.messages if not m.complete]
    first_mask = scene.masks.messages[0]
    assert not first_mask.complete


def test_goal_when_nothing_fits_then_an_empty_answer_and_an_empty_target_come(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('nothing of the kind')
    scene.show()
    words, masks = scene.answer(), scene.masks_of()
    target = scene.target.wait(lambda m: stamp_ns(m) == START_NS)
    assert (words.status, len(words.words), words.answer) == (MaskWords.NO_TARGET, 0, 'No target.')
    assert (masks.status, len(masks.masks)) == (RegionMasks.NO_TARGET, 0)
    assert not any(target.data)


def test_goal_when_replaced_then_the_image_at_hand_is_grounded_again(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    assert scene.answer(goal='one mug').goal_id == 1
    scene.set_goal('two mugs')
    assert scene.answer(goal='two mugs').goal_id == 2


def test_goal_when_replaced_while_speaking_then_the_old_answer_ends_as_cancelled(world):
    world.start('perception', {**FAKE, 'fake.token_s': 0.1})
    scene = Scene(world)
    scene.set_goal('many things')
    scene.show()
    scene.words.wait()
    scene.set_goal('nothing')
    old = scene.answer(goal='many things')
    assert old.status == MaskWords.CANCELLED
    assert 1 <= len(old.words) < 40
    assert scene.answer(goal='nothing').status == MaskWords.NO_TARGET


def test_goal_when_it_is_said_again_while_speaking_then_the_answer_goes_on_undisturbed(world):
    world.start('perception', {**FAKE, 'fake.token_s': 0.1})
    scene = Scene(world)
    scene.set_goal('three mugs')
    scene.show()
    scene.words.wait()
    for text in ('three mugs', ' three mugs '):
        scene.goals.publish(Goal(text=text))
    words = scene.answer()
    assert (words.status, words.goal_id) == (MaskWords.OK, 1)
    # Nor is an image answered again.
    scene.goals.publish(Goal(text='three mugs'))
    scene.peer.value('grounding', 'inference', 'goals', lambda value: value == '4')
    scene.show(START_NS + 1)
    assert scene.answer(START_NS + 1).goal_id == 1
    assert [stamp_ns(m) for m in scene.words.messages if m.complete] == [START_NS, START_NS + 1]


def test_goal_when_cleared_then_images_are_taken_but_not_grounded(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    scene.answer()
    scene.set_goal('  ')
    scene.show(START_NS + 1)
    scene.peer.value('grounding', 'inference', 'frames_in', lambda value: value == '2')
    scene.show(START_NS + 2)
    scene.peer.value('grounding', 'inference', 'frames_without_goal', lambda value: value == '1')
    assert {stamp_ns(m) for m in scene.words.messages} == {START_NS}


def test_target_when_the_planner_comes_late_then_it_still_gets_the_last_one(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    scene.target.wait()
    late = world.peer.listen(Image, 'target/mask', latched())
    assert stamp_ns(late.wait()) == START_NS


def test_overlay_when_subscribed_then_a_jpeg_with_the_stamp_of_the_image_comes(world):
    from samtok_ros.runtime.compressed import decode_image

    world.start('perception')
    scene = Scene(world)
    scene.set_goal('two mugs')
    scene.show()
    scene.target.wait()
    facts = scene.peer.health('mask_tokenizer', 'output', lambda found: 'targets_out' in found[2])
    assert 'overlays_out' not in facts[2]
    overlay = world.peer.listen(CompressedImage, 'overlay/compressed',
                                QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT))
    scene.peer.health('mask_tokenizer', 'output', lambda found: found[2].get(
        '/samtok/overlay/compressed') == '1 subscribers')
    scene.show(START_NS + 7)
    picture = overlay.wait()
    assert stamp_ns(picture) == START_NS + 7
    assert decode_image(bytes(picture.data), 1e6).shape == pixels().shape
