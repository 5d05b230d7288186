# SPDX-License-Identifier: Apache-2.0
"""Bytes of image messages -> arrays: layouts, padding, byte order, and bad messages."""
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import check_rgb, depth_to_metres, image_to_rgb, rgb_to_bytes

# Two pixels: red 1, green 2, blue 3 and red 4, green 5, blue 6.
TWO = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
NAN = np.nan


@pytest.mark.parametrize(('encoding', 'data', 'expected'), [
    ('rgb8', [1, 2, 3, 4, 5, 6], TWO),
    ('bgr8', [3, 2, 1, 6, 5, 4], TWO),
    ('rgba8', [1, 2, 3, 9, 4, 5, 6, 9], TWO),
    ('bgra8', [3, 2, 1, 9, 6, 5, 4, 9], TWO),
    ('mono8', [7, 8], np.array([[[7, 7, 7], [8, 8, 8]]], np.uint8)),
])
@pytest.mark.parametrize('padding', [0, 1, 5])
@pytest.mark.parametrize('holder', [bytes, bytearray, lambda d: memoryview(bytes(d)),
                                    lambda d: array('B', d), lambda d: np.array(d, np.uint8)],
                         ids=['bytes', 'bytearray', 'memoryview', 'array', 'ndarray'])
def test_image_to_rgb_when_layout_of_table_then_these_pixels(
        encoding, data, expected, padding, holder):
    rows = (data + [255] * padding) * 3
    image = image_to_rgb(holder(rows), 3, 2, encoding, len(data) + padding)
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.repeat(expected, 3, axis=0))


@pytest.mark.parametrize('encoding', ['rgb8', 'rgba8'])
def test_image_to_rgb_when_in_order_then_a_read_only_view(encoding):
    data = bytearray(range(4 * 20))
    image = image_to_rgb(data, 4, 3, encoding, 20)
    data[0] = 200
    assert image[0, 0, 0] == 200
    with pytest.raises(ValueError, match='read-only'):
        image[0, 0, 0] = 1


@pytest.mark.parametrize('encoding', ['bgr8', 'bgra8', 'mono8'])
def test_image_to_rgb_when_reordered_then_a_copy_that_opencv_can_use(encoding):
    data = bytearray(range(4 * 20))
    image = image_to_rgb(data, 4, 3, encoding, 20)
    before = image.copy()
    data[:] = bytes(80)
    assert np.array_equal(image, before)
    assert image.flags.c_contiguous


@settings(deadline=None)
@given(st.data(), st.sampled_from(['rgb8', 'bgr8', 'rgba8', 'bgra8']))
def test_rgb_and_bytes_when_there_and_back_then_unchanged(data, encoding):
    shape = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5)), 3)
    image = data.draw(arrays(np.uint8, shape))
    step = shape[1] * (4 if 'a' in encoding else 3)
    assert np.array_equal(image_to_rgb(rgb_to_bytes(image, encoding), *shape[:2], encoding, step),
                          image)


def test_rgb_to_bytes_when_alpha_then_opaque():
    assert rgb_to_bytes(TWO, 'bgra8') == bytes([3, 2, 1, 255, 6, 5, 4, 255])


BAD = [
    ({'encoding': 'cmyk'}, "image encoding is not supported: expected rgb8, bgr8, rgba8, bgra8 "
     "or mono8, got 'cmyk'. Set the encoding in the camera driver, or convert with image_proc."),
    ({'encoding': 'yuv422'}, "image encoding is not supported: expected rgb8, bgr8, rgba8, bgra8 "
     "or mono8, got 'yuv422'. Set input.convert_raw_formats to true, or convert with image_proc, "
     'which does it outside of this process.'),
    ({'encoding': '16UC1'}, "image encoding is not supported: expected rgb8, bgr8, rgba8, bgra8 "
     "or mono8, got '16UC1'. Remap image to the colour topic: this one has depth, infrared or raw "
     'values.'),
    ({'encoding': 'mono16'}, "image encoding is not supported: expected rgb8, bgr8, rgba8, bgra8 "
     "or mono8, got 'mono16'. Remap image to the colour topic: this one has depth, infrared or raw "
     'values.'),
    ({'encoding': '8UC3'}, "image encoding is not supported: expected rgb8, bgr8, rgba8, bgra8 "
     "or mono8, got '8UC3'. Let the driver name the order of the colours, rgb8 or bgr8: nothing is "
     'guessed from the number of channels.'),
    ({'encoding': ''}, "image encoding is not supported: expected rgb8, bgr8, rgba8, bgra8 or "
     "mono8, got ''. Set the encoding in the camera driver, or convert with image_proc."),
    ({'height': 0, 'data': b''},
     'image has no pixels: expected height and width of at least 1, got 0 x 4.'),
    ({'width': 0}, 'image has no pixels: expected height and width of at least 1, got 2 x 0.'),
    ({'step': 11}, 'step is too small: expected at least 12 bytes for 4 pixels of 3 bytes, got 11. '
     'Check the camera driver.'),
    ({'step': 0, 'data': b''}, 'step is too small: expected at least 12 bytes for 4 pixels of '
     '3 bytes, got 0. Check the camera driver.'),
    ({'data': bytes(23)}, 'image data are too short: expected step x height = 12 x 2 = 24 bytes, '
     'got 23. Check the camera driver and the transport for lost or extra data.'),
    ({'data': b''}, 'image data are too short: expected step x height = 12 x 2 = 24 bytes, '
     'got 0. Check the camera driver and the transport for lost or extra data.'),
    ({'data': bytes(25)}, 'image data are too long: expected step x height = 12 x 2 = 24 bytes, '
     'got 25. Check the camera driver and the transport for lost or extra data.'),
    ({'step': 13}, 'image data are too short: expected step x height = 13 x 2 = 26 bytes, got 24. '
     'Check the camera driver and the transport for lost or extra data.'),
    ({'height': 100_000, 'width': 100_000, 'step': 300_000},
     'image is too large: expected at most 50000000 pixels, got 100000 x 100000 = 10000000000. '
     'Lower the resolution of the camera, or raise the limit.'),
    ({'max_pixels': 7}, 'image is too large: expected at most 7 pixels, got 2 x 4 = 8. '
     'Lower the resolution of the camera, or raise the limit.'),
    ({'data': [0] * 24},
     'image data are not plain bytes: expected bytes or an array of uint8, got list.'),
    ({'data': np.zeros((2, 24), np.uint8)[:, ::2]},
     'image data are not plain bytes: expected bytes or an array of uint8, got ndarray.'),
]


@pytest.mark.parametrize(('changed', 'text'), BAD)
def test_image_to_rgb_when_message_is_bad_then_one_clear_error(changed, text):
    message = {'data': bytes(24), 'height': 2, 'width': 4, 'encoding': 'rgb8', 'step': 12}
    with pytest.raises(ImageError) as caught:
        image_to_rgb(**(message | changed))
    assert str(caught.value) == text


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize(('encoding', 'kind', 'values', 'metres'), [
    ('16UC1', 'u2', [0, 1, 1500, 65535], [NAN, 0.001, 1.5, 65.535]),
    ('32FC1', 'f4', [0, -1, 1.5, 0.25], [NAN, NAN, 1.5, 0.25]),
    ('32FC1', 'f4', [NAN, np.inf, -np.inf, 2], [NAN, NAN, NAN, 2]),
])
def test_depth_to_metres_when_layout_of_table_then_metres_or_nan(
        encoding, kind, values, metres, padding, order):
    row = np.array(values, order + kind).tobytes() + bytes(padding)
    depth = depth_to_metres(row * 2, 2, 4, encoding, len(row), is_bigendian=order == '>')
    assert depth.dtype == np.float32
    assert np.array_equal(depth, np.array([metres] * 2, np.float32), equal_nan=True)


def test_depth_to_metres_when_encoding_says_no_unit_then_refused():
    with pytest.raises(ImageError, match="depth encoding is not supported: expected 16UC1 or "
                                         "32FC1, got 'mono16'"):
        depth_to_metres(bytes(8), 2, 2, 'mono16', 4)


def test_rgb_to_bytes_when_encoding_has_no_colour_then_refused():
    with pytest.raises(ImageError, match="colour encoding is not supported: expected rgb8, bgr8, "
                                         "rgba8 or bgra8, got 'mono8'"):
        rgb_to_bytes(TWO, 'mono8')


@pytest.mark.parametrize('image', [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                                   np.zeros((4, 4, 3), np.float32)])
def test_check_rgb_when_of_another_form_then_refused(image):
    with pytest.raises(ImageError, match=r'image has the wrong form: expected \(H, W, 3\) uint8'):
        check_rgb(image)


@pytest.mark.parametrize('image', ['table.jpg', None, [[[1, 2, 3]]]])
def test_check_rgb_when_no_array_then_says_how_to_make_one(image):
    with pytest.raises(ImageError, match='image is no array.*Read a file with np.asarray'):
        check_rgb(image)
