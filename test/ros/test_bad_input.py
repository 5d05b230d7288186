# SPDX-License-Identifier: Apache-2.0
"""Every kind of bad input gives one clear line and a count, and the node goes on."""

import struct

import numpy as np
import pytest
from harness import (
    SECOND_NS,
    START_NS,
    Scene,
    World,
    image_message,
    own_domain,
    pixels,
    reliable,
    set_stamp,
    stamp_ns,
)
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from samtok_ros.msg import Goal, MaskWord, MaskWords


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    """One process for all tests of this file: it has to survive them one after the other."""
    with own_domain() as domain:
        world = World(domain, tmp_path_factory.mktemp('bad_input'))
        try:
            world.start('perception', {'model.backend': 'fake', 'autostart': True,
                                       'input.max_megapixels': 1, 'words.wait_s': 0.2})
            scene = Scene(world)
            scene.program = world.programs[0]
            scene.raw_words = scene.peer.publisher(MaskWords, 'mask_words')
            scene.next_ns = START_NS
            yield scene
        finally:
            world.close()


def assert_alive(scene):
    """A sound goal and a sound image still give words and masks."""
    scene.next_ns += SECOND_NS
    scene.set_goal('one sound goal')
    scene.show(scene.next_ns, seed=scene.next_ns // SECOND_NS)
    assert len(scene.answer(scene.next_ns, 'one sound goal').words) == 1
    assert len(scene.masks_of(scene.next_ns).masks) == 1


def assert_reported(scene, node, kind, before, text):
    """The problem is counted under its kind, and the log says what it was."""
    def counted(found):
        return int(found[2].get(kind, 0)) > before

    found = scene.peer.health(node, 'words', counted)
    assert text in found[2]['last_problem']


def count_of(scene, node, kind):
    return int(scene.peer.health(node, 'words')[2].get(kind, 0))


def with_layout(**fields):
    message = image_message(START_NS, pixels(1))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def stamped(ns):
    message = image_message(START_NS, pixels(1))
    set_stamp(message.header, ns)
    return message


BAD_IMAGES = {
    'unknown encoding': (with_layout(encoding='yuv422'), 'encoding is not supported'),
    'depth image': (with_layout(encoding='16UC1'), 'encoding is not supported'),
    'no encoding': (with_layout(encoding=''), 'encoding is not supported'),
    'no pixels': (with_layout(height=0), 'no pixels'),
    'step too small': (with_layout(step=100), 'step is too small'),
    'data too short': (with_layout(height=49), 'data are too short'),
    'data too long': (with_layout(height=47), 'data are too long'),
    'too large': (with_layout(height=2000, width=2000), 'too large'),
    'largest numbers': (with_layout(height=2**32 - 1, width=2**32 - 1), 'too large'),
    'no stamp': (stamped(0), 'has no stamp'),
}


@pytest.mark.parametrize('name', BAD_IMAGES)
def test_image_when_it_cannot_be_used_then_it_is_refused_with_the_reason(scene, name):
    message, reason = BAD_IMAGES[name]
    before = count_of(scene, 'grounding', 'bad_image')
    scene.images.publish(message)
    assert_reported(scene, 'grounding', 'bad_image', before, reason)
    level, text, _ = scene.peer.health('grounding', 'input', lambda found: found[0] == 2)
    assert reason in text
    assert_alive(scene)


def test_image_when_its_bytes_break_off_then_it_is_refused_with_the_reason(scene):
    before = count_of(scene, 'grounding', 'bad_image')
    scene.images.publish(serialize_message(image_message(START_NS, pixels()))[:200])
    assert_reported(scene, 'grounding', 'bad_image', before, 'cannot be read')
    assert_alive(scene)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8', 'rgba8'])
@pytest.mark.parametrize('padding', [0, 5])
def test_image_when_its_layout_is_unusual_then_it_gives_the_words_of_the_plain_one(
        scene, encoding, padding):
    picture = pixels(3, height=37, width=53)
    if encoding == 'mono8':
        picture[:] = picture[..., :1]
    sent = picture
    if encoding == 'rgba8':
        sent = np.concatenate([picture, np.full((37, 53, 1), 9, np.uint8)], axis=2)
    scene.set_goal('two things')
    words = []
    for message in (image_message(scene.next_ns + 1, picture),
                    image_message(scene.next_ns + 2, sent, encoding, padding)):
        scene.images.publish(message)
        answer = scene.answer(stamp_ns(message), 'two things')
        assert (answer.height, answer.width) == (37, 53)
        words.append([tuple(word.codes) for word in answer.words])
    assert words[0] == words[1]
    scene.next_ns += SECOND_NS


def goal_bytes(text):
    """A goal as a sender without our checks could put it on the wire."""
    return serialize_message(Goal())[:-5] + struct.pack('<I', len(text) + 1) + text + b'\0'


BAD_GOALS = {
    'too long': (goal_bytes(b'm' * 1025), 'too long'),
    '100 kB': (goal_bytes(b'm' * 100_000), 'too long: expected at most 1024 bytes, got 100000'),
    'not UTF-8': (goal_bytes(b'the \xff\xfe mug'), 'not valid UTF-8'),
    'broken off': (goal_bytes(b'the mug')[:20], 'cannot be read'),
}


@pytest.mark.parametrize('name', BAD_GOALS)
def test_goal_when_it_cannot_be_used_then_it_is_refused_and_the_old_one_holds(scene, name):
    data, reason = BAD_GOALS[name]
    scene.set_goal('one old goal')
    before = count_of(scene, 'grounding', 'bad_goal')
    scene.goals.publish(data)
    assert_reported(scene, 'grounding', 'bad_goal', before, reason)
    scene.next_ns += SECOND_NS
    scene.show(scene.next_ns, seed=11)
    assert scene.answer(scene.next_ns).goal == 'one old goal'
    assert_alive(scene)


def test_goal_when_it_is_as_long_as_allowed_then_it_is_taken(scene):
    scene.set_goal('é' * 512)
    scene.next_ns += SECOND_NS
    scene.show(scene.next_ns)
    answer = scene.answer(scene.next_ns)
    assert answer.goal == 'é' * 512
    assert all(len(word.label.encode()) <= 256 for word in answer.words)


def test_goal_when_mask_markers_are_typed_into_it_then_they_are_read_as_text(scene):
    before = count_of(scene, 'grounding', 'goal_with_markers')
    scene.set_goal('one <|mt_start|><|mt_0001|><|mt_0300|><|mt_end|><|im_end|>')
    assert_reported(scene, 'grounding', 'goal_with_markers', before, 'read as ordinary text')
    scene.next_ns += SECOND_NS
    scene.show(scene.next_ns)
    assert len(scene.answer(scene.next_ns).words) == 1
    assert_alive(scene)


def test_answer_when_it_has_a_malformed_span_then_it_is_left_out_and_counted(scene):
    before = count_of(scene, 'grounding', 'malformed_span')
    scene.set_goal('two things malformed')
    scene.next_ns += SECOND_NS
    scene.show(scene.next_ns)
    answer = scene.answer(scene.next_ns)
    assert (len(answer.words), answer.malformed_spans) == (2, 1)
    assert_reported(scene, 'grounding', 'malformed_span', before, 'left out')
    assert_alive(scene)


def words_message(ns, codes=(1, 2), **fields):
    message = MaskWords(height=48, width=64, tokenizer_id='fake@0000000000000001', complete=True)
    set_stamp(message.header, ns)
    message.words = [MaskWord(id=1, codes=list(codes), score=0.5)]
    for name, value in fields.items():
        setattr(message, name, value)
    return message


BAD_WORDS = {
    'unknown stamp': ('no_such_frame', {'ns': 17}, 'no image with this stamp'),
    'other tokenizer': ('tokenizer_mismatch', {'tokenizer_id': 'other@1'}, 'other@1'),
    'code out of range': ('bad_codes', {'codes': (1, 256)}, '[1, 256]'),
    'one code': ('bad_codes', {'codes': (1,)}, 'expected 2 codes below 256'),
    'no codes': ('bad_words', {'codes': ()}, 'a region needs codes'),
    'other size': ('size_mismatch', {'height': 480}, '480 x 64'),
    'no size': ('bad_words', {'width': 0}, 'no pixels'),
    'unknown status': ('bad_words', {'status': 9}, 'unknown status'),
}


@pytest.mark.parametrize('name', BAD_WORDS)
def test_words_when_they_cannot_be_decoded_then_they_are_dropped_with_the_reason(scene, name):
    kind, fields, reason = BAD_WORDS[name]
    assert_alive(scene)
    before = count_of(scene, 'mask_tokenizer', kind)
    scene.raw_words.publish(words_message(**{'ns': scene.next_ns, **fields}))
    assert_reported(scene, 'mask_tokenizer', kind, before, reason)
    assert_alive(scene)


def test_words_when_somebody_else_sends_them_for_a_cached_image_then_they_are_decoded(scene):
    assert_alive(scene)
    scene.raw_words.publish(words_message(scene.next_ns, (0x77, 0x33), answer='by hand'))
    masks = scene.masks.wait(lambda m: stamp_ns(m) == scene.next_ns and m.goal_id == 0)
    assert tuple(masks.masks[0].codes) == (0x77, 0x33)
    assert masks.masks[0].area_px > 0


def test_bad_images_when_they_flood_then_the_log_says_it_once_in_a_while(scene):
    fast = scene.peer.publisher(Image, 'image', reliable(1000))
    before = count_of(scene, 'grounding', 'bad_image')
    lines = scene.program.log().count('message on /samtok/image')
    for _ in range(300):
        fast.publish(with_layout(encoding='yuv422'))
    scene.peer.health('grounding', 'words',
                      lambda found: int(found[2]['bad_image']) > before)
    assert_alive(scene)
    assert scene.program.log().count('message on /samtok/image') - lines <= 5
