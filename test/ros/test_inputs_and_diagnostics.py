# SPDX-License-Identifier: Apache-2.0
"""Where images come from, why they do not, and what diagnostics tell about it."""

import array
import io

import numpy as np
import pytest
from harness import (
    ACTIVATE,
    CONFIGURE,
    DEACTIVATE,
    FAKE,
    START_NS,
    Scene,
    best_effort,
    image_message,
    latched,
    pixels,
    reliable,
    set_stamp,
    stamp_ns,
    wait_until,
)
from PIL import Image as Picture
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from samtok_ros.msg import Goal, MaskWords, RegionMasks


def compressed_message(ns, data, form='png'):
    message = CompressedImage(format=form)
    message.header.frame_id = 'camera'
    set_stamp(message.header, ns)
    message.data = array.array('B', data)
    return message


def as_file(image_rgb, form):
    file = io.BytesIO()
    Picture.fromarray(image_rgb).save(file, form)
    return file.getvalue()


def test_compressed_image_when_sent_then_png_gives_the_words_of_the_raw_one(world):
    world.start('perception')
    raw = Scene(world)
    raw.set_goal('two mugs')
    raw.show(START_NS, seed=4)
    expected = [tuple(word.codes) for word in raw.answer().words]
    assert world.programs[0].stop() == 0

    world.start('perception', {**FAKE, 'input.transport': 'compressed'})
    scene = Scene(world, image_type=CompressedImage, image_topic='image/compressed')
    scene.set_goal('two mugs')
    scene.images.publish(compressed_message(START_NS + 1, as_file(pixels(4), 'PNG')))
    assert [tuple(word.codes) for word in scene.answer(START_NS + 1).words] == expected
    scene.images.publish(compressed_message(START_NS + 2, as_file(pixels(4), 'JPEG'), 'jpeg'))
    answer = scene.answer(START_NS + 2)
    assert (answer.height, answer.width, answer.header.frame_id) == (48, 64, 'camera')
    scene.masks_of(START_NS + 2)


def test_compressed_image_when_it_cannot_be_read_then_it_is_dropped_with_the_reason(world):
    program = world.start('perception', {**FAKE, 'input.transport': 'compressed',
                                         'input.max_megapixels': 1})
    scene = Scene(world, image_type=CompressedImage, image_topic='image/compressed')
    scene.set_goal('one mug')
    whole = as_file(pixels(), 'JPEG')
    depth = io.BytesIO()
    Picture.fromarray(np.ones((8, 8), np.uint16)).save(depth, 'PNG')
    bad = {
        'has no data': b'', 'neither JPEG nor PNG': b'12 bytes of x', 'damaged': whole[:300],
        'too large': as_file(np.zeros((1100, 1100, 3), np.uint8), 'PNG'),
        'not in colour': depth.getvalue(),
    }
    for count, (reason, data) in enumerate(bad.items(), start=1):
        scene.images.publish(compressed_message(START_NS + count, data))
        found = scene.peer.health('grounding', 'words', lambda found, count=count: (
            found[2].get('bad_image') == str(count)))
        assert reason in found[2]['last_problem']
    program.wait_for_log('message on /samtok/image/compressed is refused')
    scene.images.publish(compressed_message(START_NS + 99, whole))
    assert len(scene.answer(START_NS + 99).words) == 1


def no_image_reason(world, text):
    level, message, values = world.peer.health(
        'grounding', 'input', lambda found: text in found[1])
    assert level == 2
    assert message.startswith('no image because ')
    return values


def test_diagnostics_when_nobody_publishes_images_then_they_say_so(world):
    world.start('perception')
    values = no_image_reason(world, 'nobody publishes /samtok/image: remap image')
    assert values['publishers'] == 'none'
    assert values['topic'] == '/samtok/image'


def test_diagnostics_when_only_compressed_images_are_there_then_they_say_what_to_set(world):
    world.start('perception', {**FAKE, 'input.transport': 'raw'})
    world.peer.publisher(CompressedImage, 'image/compressed', wait=False)
    no_image_reason(world, 'set input.transport to compressed or auto')


def test_diagnostics_when_images_are_on_another_topic_then_they_name_it(world):
    world.start('perception')
    world.peer.publisher(Image, '/camera/color/image_raw', wait=False)
    no_image_reason(world, 'remap image to the topic of the camera, perhaps '
                    '/camera/color/image_raw')


def test_diagnostics_when_a_publisher_is_silent_then_it_is_named(world):
    world.start('perception')
    world.peer.publisher(Image, 'image')
    values = no_image_reason(world, '/samtok/peer on /samtok/image sends nothing')
    assert values['publishers'] == '/samtok/peer (reliable)'


def test_diagnostics_when_qos_does_not_fit_then_publisher_and_policy_are_named(world):
    program = world.start('perception', {**FAKE, 'input.reliability': 'reliable'})
    world.peer.publisher(Image, 'image', best_effort(), wait=False)
    values = no_image_reason(world, '/samtok/peer')
    assert 'INCOMPATIBLE' in values['publishers']
    program.wait_for_log('publisher /samtok/peer on /samtok/image offers incompatible reliability')


def test_diagnostics_when_qos_of_a_goal_or_a_reader_does_not_fit_then_the_images_are_not_blamed(
        world):
    world.start('perception')
    no_image_reason(world, 'nobody publishes /samtok/image')
    world.peer.publisher(Goal, 'goal', best_effort(), wait=False)
    level, text, values = world.peer.health('grounding', 'words', lambda found: found[0])
    assert level == 1 and values['bad_goal_qos'] == '1'
    assert text.startswith('publisher /samtok/peer on /samtok/goal offers incompatible')
    assert 'nobody publishes /samtok/image' in world.peer.health('grounding', 'input')[1]
    world.peer.listen(MaskWords, 'mask_words', latched())
    level, text, _ = world.peer.health('grounding', 'output', lambda found: found[0])
    assert level == 1 and 'on /samtok/mask_words asks for durability' in text
    assert 'nobody publishes /samtok/image' in world.peer.health('grounding', 'input')[1]


def test_qos_override_when_given_then_the_input_uses_it(world):
    world.start('perception', {
        **FAKE, 'qos_overrides./samtok/image.subscription.reliability': 'reliable',
        'qos_overrides./samtok/image.subscription.depth': 7})
    world.peer.publisher(Image, 'image', reliable())
    (info,) = world.peer.node.get_subscriptions_info_by_topic('/samtok/image')
    assert info.qos_profile.reliability.name == 'RELIABLE'


@pytest.mark.parametrize('policy, value', [('history', 'keep_all'), ('reliability', 'maybe')])
def test_qos_override_when_it_cannot_be_used_then_activate_fails_and_says_so(
        world, policy, value):
    program = world.start('grounding', {
        'model.backend': 'fake', f'qos_overrides./samtok/image.subscription.{policy}': value})
    assert world.peer.change('grounding', CONFIGURE)
    assert not world.peer.change('grounding', ACTIVATE)
    assert world.peer.state('grounding') == 'inactive'
    program.wait_for_log('activate failed: cannot subscribe to image')


def test_inputs_when_not_overridden_then_they_are_best_effort_and_connect_to_every_camera(world):
    world.start('perception')
    scene = Scene(world, image_qos=best_effort())
    (info,) = world.peer.node.get_subscriptions_info_by_topic('/samtok/image')
    assert info.qos_profile.reliability.name == 'BEST_EFFORT'
    scene.set_goal('one mug')
    scene.show()
    scene.answer()


def test_diagnostics_when_all_is_well_then_each_part_says_so_with_its_figures(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('two mugs')
    scene.show()
    scene.masks_of()
    level, message, values = scene.peer.health(
        'grounding', 'input', lambda found: found[1] == 'images arrive')
    assert (level, values['format']) == (0, 'rgb8 64x48')
    _, _, values = scene.peer.health(
        'grounding', 'inference', lambda found: found[2]['frames_processed'] == '1')
    assert (values['frames_in'], values['frames_dropped'], values['goal_id']) == ('1', '0', '1')
    assert {'ground_ms_p50', 'ground_ms_p95', 'age_ms_p50', 'frames_waiting'} <= set(values)
    _, _, values = scene.peer.health(
        'mask_tokenizer', 'inference', lambda found: found[2]['frames_processed'] == '1')
    assert {'embed_ms_p50', 'decode_ms_p95', 'frames_cached', 'words_waiting'} <= set(values)
    _, _, values = scene.peer.health('mask_tokenizer', 'model')
    assert (values['name'], values['backend']) == ('tabletop', 'fake')
    assert values['tokenizer_id'] == 'fake@0000000000000001'
    level, message, values = scene.peer.health('grounding', 'words')
    assert (level, message, values['words']) == (0, 'all words are sound', '2')
    _, _, values = scene.peer.health('grounding', 'output',
                                     lambda found: 'words_out' in found[2])
    assert values['/samtok/mask_words'] == '2 subscribers'


def test_diagnostics_when_inactive_then_they_flow_on_and_say_so(world):
    world.start('perception')
    Scene(world)
    world.peer.change('grounding', DEACTIVATE)
    world.peer.health('grounding', 'input', lambda found: (
        found[:2] == (0, 'inactive: no images are taken')))


def test_diagnostics_when_another_type_is_on_the_topic_then_it_is_named(world):
    world.start('perception')
    world.peer.publisher(String, 'image', wait=False)
    values = no_image_reason(world, '/samtok/peer publishes std_msgs/msg/String on /samtok/image, '
                             'not sensor_msgs/msg/Image')
    assert 'OF TYPE std_msgs/msg/String' in values['publishers']


def test_words_when_they_come_before_their_image_then_they_wait_for_it(world):
    world.start('mask_tokenizer', {**FAKE, 'words.wait_s': 60.0})
    peer = world.peer
    masks = peer.listen(RegionMasks, 'masks')
    words = peer.publisher(MaskWords, 'mask_words')
    images = peer.publisher(Image, 'image')
    peer.value('mask_tokenizer', 'output', '/samtok/masks', lambda text: text[:1] == '1')
    peer.value('mask_tokenizer', 'input', 'matched_publishers', lambda count: count == '1')
    message = MaskWords(height=48, width=64, tokenizer_id='fake@0000000000000001', complete=True)
    set_stamp(message.header, START_NS)
    words.publish(message)
    peer.value('mask_tokenizer', 'inference', 'words_waiting', lambda count: count == '1')
    images.publish(image_message(START_NS, pixels()))
    assert stamp_ns(masks.wait()) == START_NS


def test_two_instances_when_in_two_namespaces_then_they_do_not_hear_each_other(world):
    peer = world.peer
    words = {}
    for name in ('left', 'right'):
        world.start('perception', ros_args=['-r', f'__ns:=/{name}'])
        words[name] = peer.listen(MaskWords, f'/{name}/mask_words')
        images = peer.publisher(Image, f'/{name}/image')
        goals = peer.publisher(Goal, f'/{name}/goal')
        for part, key in (('input', 'matched_publishers'), ('output', f'/{name}/mask_words')):
            wait_until(lambda part=part, key=key, name=name: peer.diagnostics.get(
                f'{name}/grounding: {part}', (0, '', {}))[2].get(key, '0')[0] != '0', key)
        goals.publish(Goal(text=f'one {name} mug'))
        images.publish(image_message(START_NS, pixels()))
        words[name].wait(lambda m: m.complete)
    for name, received in words.items():
        assert {m.goal for m in received.messages} == {f'one {name} mug'}
