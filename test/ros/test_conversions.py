# SPDX-License-Identifier: Apache-2.0
"""Messages <-> records."""

import numpy as np
import pytest
from harness import START_NS, image_message, pixels
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage

from samtok_ros.errors import ConfigError, ImageError, SpanError
from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.msg import Goal, MaskWord, MaskWords, RegionMasks
from samtok_ros.nodes import conversions
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.compressed import encode_jpeg
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.records import FrameResult, Status


def result(*regions, **fields):
    record = {'stamp_ns': START_NS, 'frame_id': 'camera', 'size': ImageSize(4, 4),
              'tokenizer_id': 'tiny@1', 'goal': 'mugs', 'goal_id': 3, 'answer': 'two mugs',
              'complete': True, 'regions': regions, 'malformed_count': 1,
              'status': Status.TRUNCATED, 'message': 'a limit'}
    return FrameResult(**{**record, **fields})


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize('stamp_ns', [1, 999_999_999, 1_000_000_000, START_NS,
                                      (2**31 - 1) * 10**9 + 999_999_999])
def test_stamp_when_converted_and_back_then_every_nanosecond_is_kept(stamp_ns):
    assert conversions.stamp_to_ns(conversions.ns_to_stamp(stamp_ns)) == stamp_ns


def test_words_when_sent_and_read_back_then_the_record_is_the_same():
    regions = (Region(1, (0, 255), 'red mug', 0.5), Region(2, (7, 8), '', 1.0))
    back = conversions.words_to_result(over_the_wire(conversions.result_to_words(result(*regions))))
    sent = result(*regions)
    for name in ('stamp_ns', 'frame_id', 'size', 'tokenizer_id', 'goal', 'goal_id', 'answer',
                 'complete', 'malformed_count', 'status', 'message'):
        assert getattr(back, name) == getattr(sent, name), name
    assert [vars(region) for region in back.regions] == [vars(region) for region in regions]


def test_words_when_texts_are_too_long_then_they_are_cut_between_characters():
    long = result(Region(1, (1, 2), 'é' * 300, 2.0), answer='é' * 9000, message='é' * 2000,
                  goal='é' * 600)
    message = over_the_wire(conversions.result_to_words(long))
    assert message.answer == 'é' * 8192
    assert message.message == 'é' * 512
    assert message.goal == 'é' * 512
    assert message.words[0].label == 'é' * 128
    assert message.words[0].score == 1.0


def test_words_when_there_are_too_many_then_the_first_64_are_sent():
    regions = tuple(Region(i, (1, 2), '', 0.5) for i in range(1, 80))
    assert len(over_the_wire(conversions.result_to_words(result(*regions))).words) == 64


MASK = np.array([[c == '#' for c in row] for row in ('.##.', '.#..', '....', '....')])


def test_masks_when_sent_then_runs_area_and_box_are_those_of_the_mask():
    region = Region(1, (1, 2), 'mug', 0.5, MASK, (1.0, 0.0, 3.0, 2.0), 0.75)
    message = over_the_wire(conversions.result_to_masks(result(region)))
    (mask,) = message.masks
    # Down the columns: 4 outside, 2 inside, 2 outside, 1 inside, 7 outside.
    assert list(mask.rle) == [4, 2, 2, 1, 7]
    assert np.array_equal(rle_to_mask(np.array(mask.rle), (4, 4)), MASK)
    box = mask.box
    assert (box.x_offset, box.y_offset, box.width, box.height) == (1, 0, 2, 2)
    assert (mask.area_px, mask.mask_score, mask.label) == (3, 0.75, 'mug')
    assert (message.status, message.message) == (RegionMasks.TRUNCATED, 'a limit')


def test_masks_when_one_is_empty_then_its_box_is_zero_and_its_runs_are_all_outside():
    region = Region(1, (1, 2), '', 0.5, np.zeros((4, 4), bool), None, 0.1)
    (mask,) = conversions.result_to_masks(result(region)).masks
    assert (list(mask.rle), mask.area_px, mask.box.width) == ([16], 0, 0)


def test_masks_when_one_has_too_many_runs_then_it_goes_without_them_and_the_message_says_so():
    noise = np.indices((512, 512)).sum(axis=0) % 2 == 0
    region = Region(5, (1, 2), '', 0.5, noise, (0.0, 0.0, 512.0, 512.0), 0.1)
    message = over_the_wire(conversions.result_to_masks(
        result(region, size=ImageSize(512, 512), message='')))
    assert len(message.masks[0].rle) == 0
    assert message.masks[0].area_px == 512 * 256
    assert message.message == 'masks of more than 65536 runs are left out: regions [5]'


@pytest.mark.parametrize('mask, expected', [(MASK, MASK), (None, np.zeros((4, 4), bool))])
def test_target_when_made_then_it_is_0_and_255_with_the_header_of_the_image(mask, expected):
    image = conversions.mask_to_image(result(), mask)
    assert (image.encoding, image.step, image.header.frame_id) == ('mono8', 4, 'camera')
    assert conversions.stamp_to_ns(image.header.stamp) == START_NS
    data = np.frombuffer(image.data, np.uint8).reshape(4, 4)
    assert np.array_equal(data, expected * np.uint8(255))


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8'])
def test_image_when_wrapped_then_it_is_read_only_when_asked_for_and_right(encoding):
    picture = pixels(height=5, width=7)
    if encoding == 'mono8':
        picture[:] = picture[..., :1]
    frame = conversions.image_to_frame(image_message(START_NS, picture, encoding, padding=3), 1e6)
    assert (frame.stamp_ns, frame.frame_id) == (START_NS, 'camera_color_optical_frame')
    assert np.array_equal(frame.image_rgb(), picture)


@pytest.mark.parametrize('sec, nanosec, text', [
    (0, 0, 'has no stamp'), (-1, 5, 'stamp is no time'), (1, 1_000_000_000, 'stamp is no time')])
def test_image_when_its_stamp_cannot_be_used_then_it_is_refused(sec, nanosec, text):
    message = image_message(START_NS, pixels())
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    with pytest.raises(ImageError, match=text):
        conversions.image_to_frame(message, 1e6)


def test_compressed_image_when_empty_then_it_is_refused():
    message = CompressedImage()
    message.header.stamp.sec = 1
    with pytest.raises(ImageError, match='has no data'):
        conversions.compressed_to_frame(message, 1e6)


@pytest.mark.parametrize('text, cleaned', [(' the mug\n', 'the mug'), ('', ''), (' \t', '')])
def test_goal_when_sound_then_blanks_around_it_go(text, cleaned):
    assert conversions.goal_text(Goal(text=text)) == cleaned


@pytest.mark.parametrize('text, reason', [
    ('é' * 513, 'too long: expected at most 1024 bytes, got 1026 bytes'),
    ('the \ufffd mug', 'not valid UTF-8')])
def test_goal_when_it_cannot_be_used_then_the_error_says_why(text, reason):
    with pytest.raises(ConfigError, match=reason):
        conversions.goal_text(Goal(text=text))


@pytest.mark.parametrize('change, error, reason', [
    ({'height': 0}, ImageError, 'no pixels'), ({'status': 7}, SpanError, 'unknown status'),
    ({'words': [MaskWord(id=1)]}, SpanError, 'needs codes')])
def test_words_when_unsound_then_they_are_refused(change, error, reason):
    message = MaskWords(height=4, width=4)
    message.header.stamp.sec = 1
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(error, match=reason):
        conversions.words_to_result(message)


@pytest.mark.parametrize('score', [float('nan'), float('inf'), -0.1, 1.5])
def test_words_when_a_score_is_no_probability_then_they_are_refused(score):
    with pytest.raises(SpanError, match='score of word 3 is no probability: expected 0 to 1'):
        conversions.words_to_regions([MaskWord(id=3, codes=[1, 2], score=score)])


def test_labels_when_made_a_message_then_each_number_is_two_bytes_with_the_header_of_the_image():
    labels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000
    image = over_the_wire(conversions.labels_to_image(result(), labels))
    assert (image.encoding, image.step, image.is_bigendian) == ('16UC1', 8, 0)
    assert conversions.stamp_to_ns(image.header.stamp) == START_NS
    assert np.array_equal(np.frombuffer(image.data, '<u2').reshape(4, 4), labels)


def test_frame_when_listed_then_size_and_features_are_told_without_reading_pixels():
    frame = Frame(START_NS, 'camera', lambda: pytest.fail('pixels are read'), 0,
                  lambda: ImageSize(480, 640))
    info = conversions.frame_info(frame)
    assert conversions.stamp_to_ns(info.header.stamp) == START_NS
    assert (info.height, info.width, info.features_cached) == (480, 640, False)
    frame.features = object()
    assert conversions.frame_info(frame).features_cached


def test_compressed_image_when_wrapped_then_its_size_is_that_of_its_head():
    message = CompressedImage(format='jpeg')
    message.header.stamp.sec = 1
    message.data = encode_jpeg(pixels(height=20, width=30), 80)
    assert conversions.compressed_to_frame(message, 1e6).size == ImageSize(20, 30)
    with pytest.raises(ImageError, match='too large'):
        assert conversions.compressed_to_frame(message, 100).size


def test_statuses_when_compared_then_record_and_messages_agree():
    for status in Status:
        assert getattr(MaskWords, status.name) == status == getattr(RegionMasks, status.name)
