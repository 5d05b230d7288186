# SPDX-License-Identifier: Apache-2.0
"""Bayer mosaics and YUV -> RGB: orders of filters and bytes, padded rows, sizes that cannot be."""

import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import check_image, image_to_rgb
from samtok_ros.image.raw_formats import RAW_FORMATS

RED, GREEN, BLUE = 200, 100, 50
COLOUR = {'r': RED, 'g': GREEN, 'b': BLUE}
HEIGHT, WIDTH = 6, 8
# White, black, red, green and blue as BT.601 writes them in Y, U and V.
YUV = {(255, 255, 255): (235, 128, 128), (0, 0, 0): (16, 128, 128), (255, 0, 0): (81, 90, 240),
       (0, 255, 0): (145, 54, 34), (0, 0, 255): (41, 240, 110)}


def convert(rows, encoding, is_bigendian=False, padding=0, height=HEIGHT, width=WIDTH):
    rows = np.pad(np.asarray(rows, np.uint8), ((0, 0), (0, padding)), constant_values=77)
    return image_to_rgb(rows.tobytes(), height, width, encoding, rows.shape[1], is_bigendian,
                        convert_raw=True)


def mosaic(order):
    """(HEIGHT, WIDTH) uint8: one colour as a sensor with this order of filters sees it."""
    tile = np.array([COLOUR[letter] for letter in order], np.uint8).reshape(2, 2)
    return np.tile(tile, (HEIGHT // 2, WIDTH // 2))


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('order', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_when_converted_then_the_colour_is_the_one_of_the_sensor(order, padding):
    image = convert(mosaic(order), f'bayer_{order}8', padding=padding)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image == (RED, GREEN, BLUE)).all()


@pytest.mark.parametrize('is_bigendian', [False, True])
@pytest.mark.parametrize('order', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_of_16_bits_when_converted_then_the_byte_order_of_the_sender_holds(
        order, is_bigendian):
    wide = mosaic(order).astype('>u2' if is_bigendian else '<u2') * 256 + 17
    rows = wide.astype('>u2' if is_bigendian else '<u2').view(np.uint8)
    image = convert(rows, f'bayer_{order}16', is_bigendian, padding=4)
    assert (image == (RED, GREEN, BLUE)).all()


def packed(encoding, yuv):
    y, u, v = yuv
    if encoding == 'nv21':
        return np.vstack([np.full((HEIGHT, WIDTH), y), np.tile([v, u], (HEIGHT // 2, WIDTH // 2))])
    pair = [u, y, v, y] if encoding in ('yuv422', 'uyvy') else [y, u, y, v]
    return np.tile(pair, (HEIGHT, WIDTH // 2))


@pytest.mark.parametrize('rgb', YUV)
@pytest.mark.parametrize('encoding', ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv21'])
def test_yuv_when_converted_then_the_colour_is_the_one_that_was_sent(encoding, rgb):
    image = convert(packed(encoding, YUV[rgb]), encoding, padding=2)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize('encoding', RAW_FORMATS)
def test_raw_format_when_not_asked_for_then_it_is_refused_with_the_setting(encoding):
    with pytest.raises(ImageError, match='Set input.convert_raw_formats to true'):
        image_to_rgb(bytes(1000), HEIGHT, WIDTH, encoding, WIDTH)


@pytest.mark.parametrize('encoding, height, width, data, text', [
    ('uyvy', 6, 7, 84, 'even size'), ('nv21', 5, 8, 60, 'even size'),
    ('nv21', 6, 7, 63, 'even size'), ('nv21', 6, 8, 48, 'expected step x height = 8 x 9 = 72'),
    ('bayer_rggb8', 0, 8, 0, 'no pixels'), ('bayer_rggb16', 6, 8, 48, 'step is too small'),
])
def test_raw_format_when_the_layout_cannot_be_then_it_is_refused(encoding, height, width, data,
                                                                 text):
    step = width * (2 if encoding == 'uyvy' else 1)
    with pytest.raises(ImageError, match=text):
        check_image(bytes(data), height, width, encoding, step, convert_raw=True)


@pytest.mark.parametrize('encoding', ['bayer_rggb8', 'bayer_grbg16'])
@pytest.mark.parametrize('size', [(1, 1), (1, 5), (2, 1), (2, 2), (3, 3)])
def test_bayer_when_the_image_is_tiny_then_it_is_converted_or_refused(encoding, size):
    height, width = size
    step = width * RAW_FORMATS[encoding].sample_bytes
    try:
        image = image_to_rgb(bytes(step * height), height, width, encoding, step, convert_raw=True)
    except ImageError as error:
        assert 'cannot be converted' in str(error)
    else:
        assert image.shape == (height, width, 3)
