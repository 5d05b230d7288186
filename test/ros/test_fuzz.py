# SPDX-License-Identifier: Apache-2.0
"""Ten thousand random messages: nothing ends, stalls or grows, and a good one is still answered."""

import array
import io

import pytest
from harness import (
    START_NS,
    Scene,
    World,
    image_message,
    own_domain,
    pixels,
    set_stamp,
    stamp_ns,
    wait_until,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from in_process import receive, running_nodes
from PIL import Image as Picture
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.msg import Goal, MaskWord, MaskWords, RegionReference
from samtok_ros.runtime.memory import give_back, resident_bytes
from samtok_ros.srv import AskRegion, DecodeMaskWords, EncodeMask, GetCachedFrames

BATCH, BATCHES, BATCHES_BEFORE = 50, 95, 15
"""Messages of an example, examples per transport, examples before memory is measured."""
OVER_DDS = 200
MAY_GROW_BYTES = 40e6
SETTINGS = {'model.backend': 'fake', 'autostart': True, 'cache.frames': 20, 'words.wait_s': 0.05,
            'words.queue': 20, 'input.max_megapixels': 1, 'input.convert_raw_formats': True,
            'services.time_limit_s': 30.0, 'limits.max_new_tokens': 40}

STAMPS = tuple(START_NS + offset for offset in range(6))
ENCODINGS = ('rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'bayer_rggb8', 'bayer_gbrg16', 'uyvy',
             'yuv422_yuy2', 'nv21', '16UC1', '32FC1', '8UC3', '', 'RGB8', 'rgb8; jpeg')
PIXEL_BYTES = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'bayer_gbrg16': 2, 'uyvy': 2,
               'yuv422_yuy2': 2, '16UC1': 2, '32FC1': 4}
EXTREMES = (0, 1, 2, 3, 5, 16, 64, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)
TEXTS = st.one_of(
    st.sampled_from(['', 'one mug', 'nothing', 'many things malformed', '<|mt_start|><|mt_0001|>',
                     '<|im_end|>', '<region:1>', '\x1b[2J', 'm' * 1024, 'm' * 3000, 'é' * 600]),
    st.text(st.characters(codec='utf-8', exclude_characters='\0'), max_size=20))
NUMBERS = st.one_of(st.sampled_from(EXTREMES), st.integers(0, 12))


def png(seed=0, form='PNG'):
    file = io.BytesIO()
    Picture.fromarray(pixels(seed)).save(file, form)
    return file.getvalue()


FILES = (png(), png(1, 'JPEG'), b'')


def faults(*names):
    """Which fields of a message are wrong: mostly none or one, sometimes two."""
    return st.sampled_from([(), (), (), *[(name,) for name in names],
                            *zip(names, names[1:] + names[:1], strict=True)])


@st.composite
def headers(draw, message, wrong):
    """Give a message a header."""
    header = message.header
    set_stamp(header, draw(st.sampled_from(STAMPS)))
    if 'stamp' in wrong:
        header.stamp.sec = draw(st.sampled_from([0, 1, -1, -2**31, 2**31 - 1]))
        header.stamp.nanosec = draw(NUMBERS)
    header.frame_id = draw(TEXTS) if 'frame_id' in wrong else 'camera'
    return message


@st.composite
def images(draw):
    wrong = draw(faults('encoding', 'height', 'width', 'step', 'data', 'stamp', 'frame_id'))
    encoding = draw(TEXTS if 'encoding' in wrong else st.sampled_from(ENCODINGS))
    height, width = 2 * draw(st.integers(1, 5)), 2 * draw(st.integers(1, 5))
    message = Image(height=height, width=width, encoding=encoding,
                    is_bigendian=draw(st.integers(0, 255)))
    message.step = width * PIXEL_BYTES.get(encoding, 1) + draw(st.sampled_from([0, 0, 3]))
    size = message.step * (height * 3 // 2 if encoding == 'nv21' else height)
    data = bytes([draw(st.integers(0, 255))]) * size
    if 'data' in wrong:
        data = data[:draw(st.sampled_from([0, 1, size // 2, size - 1]))] + draw(st.binary())
    message.data = array.array('B', data)
    for name in ('height', 'width', 'step'):
        if name in wrong:
            setattr(message, name, draw(NUMBERS))
    return draw(headers(message, wrong))


@st.composite
def compressed_images(draw):
    wrong = draw(faults('change', 'cut', 'format', 'stamp', 'frame_id'))
    data = bytearray(draw(st.sampled_from(FILES)))
    for place in draw(st.lists(st.integers(0, 60), max_size=3)) if 'change' in wrong else ():
        data[place:place + 1] = bytes([draw(st.integers(0, 255))])
    if 'cut' in wrong:
        data = data[:draw(st.integers(0, len(data)))]
    message = CompressedImage(format=draw(TEXTS) if 'format' in wrong else 'rgb8; png')
    message.data = array.array('B', bytes(data))
    return draw(headers(message, wrong))


@st.composite
def words(draw, wrong=()):
    codes = [draw(st.integers(0, 255)), draw(st.integers(0, 255))]
    if 'codes' in wrong:
        codes = draw(st.lists(st.integers(0, 65535), max_size=8))
    score = draw(st.sampled_from([-1.0, 1e30, float('nan')])) if 'score' in wrong else 0.5
    return MaskWord(id=draw(st.integers(0, 65535)), codes=array.array('H', codes), score=score,
                    label=draw(TEXTS)[:200].strip('\0') if 'label' in wrong else 'mug')


@st.composite
def mask_words(draw):
    wrong = draw(faults('codes', 'score', 'label', 'size', 'tokenizer', 'status', 'answer',
                        'stamp', 'frame_id'))
    message = MaskWords(
        height=draw(NUMBERS) if 'size' in wrong else 48, width=64, complete=draw(st.booleans()),
        tokenizer_id=draw(TEXTS)[:64] if 'tokenizer' in wrong else 'fake@0000000000000001',
        goal='mug', answer=draw(TEXTS) if 'answer' in wrong else 'It is there.',
        status=draw(st.integers(0, 255)) if 'status' in wrong else draw(st.integers(0, 4)),
        goal_id=draw(st.integers(0, 3)))
    message.words = [draw(words(wrong)) for _ in range(draw(st.integers(0, 3)))]
    return draw(headers(message, wrong))


@st.composite
def goals(draw):
    return draw(headers(Goal(text=draw(TEXTS)), draw(faults('stamp', 'frame_id'))))


def on_the_wire(message):
    """Serialise a message; one over its bounds cannot be, as no sound sender could send it."""
    try:
        return serialize_message(message)
    except Exception:  # Whatever the middleware raises.
        return serialize_message(type(message)())


@st.composite
def damaged(draw, messages):
    """Bytes of a message; one in four is cut, changed or followed by more."""
    data = bytearray(on_the_wire(draw(messages)))
    if draw(st.integers(0, 3)) == 0:
        for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=4)):
            data[place] = draw(st.integers(0, 255))
        data = data[:draw(st.sampled_from([len(data), len(data) // 2, 7, 4]))]
        data += draw(st.binary(max_size=8))
    return bytes(data)


def any_message(transport):
    """(node, topic, bytes) for one of the inputs."""
    image = {'raw': ('image', images()), 'compressed': ('image/compressed', compressed_images())}
    topic, strategy = image[transport]
    return st.one_of(
        st.tuples(st.just('grounding'), st.just(topic), damaged(strategy)),
        st.tuples(st.just('grounding'), st.just(topic), damaged(strategy)),
        st.tuples(st.just('grounding'), st.just('goal'), damaged(goals())),
        st.tuples(st.just('mask_tokenizer'), st.just('mask_words'), damaged(mask_words())))


@pytest.fixture(scope='module', params=['raw', 'compressed'])
def nodes(request, tmp_path_factory):
    with own_domain() as domain, running_nodes(
            domain, {**SETTINGS, 'input.transport': request.param}) as nodes:
        world = World(domain, tmp_path_factory.mktemp('fuzz'))
        try:
            nodes['transport'] = request.param
            topic, kind = {'raw': ('image', Image),
                           'compressed': ('image/compressed', CompressedImage)}[request.param]
            nodes['scene'] = Scene(world, image_type=kind, image_topic=topic)
            yield nodes
        finally:
            world.close()


def good_image(nodes, stamp):
    if nodes['transport'] == 'raw':
        return 'image', image_message(stamp, pixels(9))
    message = CompressedImage(format='png', data=array.array('B', png(9)))
    set_stamp(message.header, stamp)
    return 'image/compressed', message


def assert_sound(nodes):
    """No step failed in a way nobody foresaw, and a good goal and image are answered."""
    for name in ('grounding', 'mask_tokenizer'):
        counts = nodes[name].problems.counts()
        assert not counts.get('exception') and not counts.get('publish_failed'), (
            counts, nodes[name].problems.last())
    scene = nodes['scene']
    scene.goals.publish(Goal(text='one good goal'))
    stamp = START_NS + 10**12

    def answered():
        # Again and again: a best-effort image may be lost, and random goals may still be taken.
        scene.images.publish(good_image(nodes, stamp)[1])
        return [m for m in list(scene.masks.messages) if m.complete and stamp_ns(m) == stamp
                and m.goal == 'one good goal']

    assert len(wait_until(answered, 'masks for a good image')[0].masks) == 1


def hypothesis_settings(examples):
    return settings(max_examples=examples, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))


def test_messages_when_thousands_are_random_then_the_nodes_go_on_and_do_not_grow(nodes):
    count = 0

    def feed(batch):
        nonlocal count
        for node, topic, data in batch:
            receive(nodes[node], topic, data)
            count += 1

    batches = st.lists(any_message(nodes['transport']), min_size=BATCH, max_size=BATCH)
    hypothesis_settings(BATCHES_BEFORE)(given(batches)(feed))()
    assert_sound(nodes)
    give_back()
    before = resident_bytes()
    hypothesis_settings(BATCHES - BATCHES_BEFORE)(given(batches)(feed))()
    assert_sound(nodes)
    give_back()
    assert count >= BATCH * BATCHES
    assert resident_bytes() - before < MAY_GROW_BYTES


def test_messages_when_random_ones_come_over_dds_then_the_nodes_go_on(nodes):
    scene = nodes['scene']
    sends = {'goal': scene.goals, 'mask_words': scene.peer.publisher(MaskWords, 'mask_words')}

    @hypothesis_settings(OVER_DDS // BATCH)
    @given(st.lists(any_message(nodes['transport']), min_size=BATCH, max_size=BATCH))
    def send(batch):
        for _, topic, data in batch:
            sends.get(topic, scene.images).publish(data)

    send()
    assert_sound(nodes)


@st.composite
def references(draw):
    reference = RegionReference(kind=draw(st.integers(0, 6)), id=draw(st.integers(0, 4)))
    reference.codes = array.array('H', draw(st.lists(st.integers(0, 300), max_size=8)))
    reference.rle = array.array('I', draw(st.one_of(
        st.lists(NUMBERS, max_size=5), st.just([1000, 500, 48 * 64 - 1500]))))
    box = reference.box
    box.x_offset, box.y_offset, box.width, box.height = (draw(NUMBERS) for _ in range(4))
    box.do_rectify = draw(st.booleans())
    reference.point_x, reference.point_y = draw(st.floats(width=32)), draw(st.floats(width=32))
    return reference


@st.composite
def requests(draw):
    """(node, service, request) for one of the services."""
    kind, node, name = draw(st.sampled_from([
        (AskRegion, 'grounding', 'ask_region'), (EncodeMask, 'mask_tokenizer', 'encode_mask'),
        (DecodeMaskWords, 'mask_tokenizer', 'decode_mask_words'),
        (GetCachedFrames, 'mask_tokenizer', 'get_cached_frames')]))
    request = kind.Request()
    if hasattr(request, 'stamp'):
        stamp = draw(st.sampled_from([0, *STAMPS]))
        request.stamp.sec, request.stamp.nanosec = divmod(stamp, 10**9)
        if draw(st.integers(0, 9)) == 0:
            request.stamp.sec = -1
    if hasattr(request, 'tokenizer_id'):
        request.tokenizer_id = draw(st.sampled_from(['', 'fake@0000000000000001', 'other']))
    if hasattr(request, 'regions'):
        request.regions = draw(st.lists(references(), max_size=3))
    if kind is AskRegion:
        request.text = draw(TEXTS)
        request.time_limit_s = draw(st.sampled_from([0.0, 0.01, -1.0, float('nan'), 1.0]))
        request.max_new_tokens = draw(st.sampled_from([0, 1, 5, 2**32 - 1]))
    if kind is DecodeMaskWords:
        request.words = [draw(words(draw(faults('codes', 'score', 'label')))) for _ in range(2)]
    if kind is GetCachedFrames:
        request.max_frames = draw(NUMBERS)
    return node, name, request, kind.Response()


def test_services_when_requests_are_random_then_each_gets_an_answer_with_a_reason(nodes):
    for stamp in STAMPS:
        topic, message = good_image(nodes, stamp)
        receive(nodes['grounding'], topic, serialize_message(message))

    @hypothesis_settings(500)  # one in ten is a good one
    @given(requests())
    def call(given_request):
        node, name, request, response = given_request
        (service,) = [s for s in nodes[node].services if s.service_name == f'/samtok/{name}']
        answer = service.callback(request, response)
        assert answer.success or answer.message
        serialize_message(answer)

    call()
    assert_sound(nodes)
    statistics = nodes['mask_tokenizer'].statistics
    assert statistics.total('calls') - statistics.total('calls_failed') > 10


def test_random_pixels_when_the_layout_is_right_then_they_are_answered(nodes):
    """The fuzz reaches the model, not only the checks in front of it."""
    assert nodes['grounding'].statistics.total('frames_processed') > 50
    assert nodes['mask_tokenizer'].statistics.total('masks_out') > 50
