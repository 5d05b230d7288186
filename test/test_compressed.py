# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG <-> arrays."""

import io

import numpy as np
import pytest
from PIL import Image

from samtok_ros.errors import ImageError
from samtok_ros.runtime.compressed import decode_image, encode_jpeg


def picture(height=20, width=30):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return file.getvalue()


def test_png_when_decoded_then_the_pixels_are_exactly_the_same():
    assert np.array_equal(decode_image(png(picture()), 1e6), picture())


def test_grey_and_transparent_png_when_decoded_then_they_are_rgb():
    grey = picture()[..., 0]
    assert np.array_equal(decode_image(png(grey), 1e6), np.stack([grey] * 3, axis=2))
    opaque = np.concatenate([picture(), np.full((20, 30, 1), 255, np.uint8)], axis=2)
    assert np.array_equal(decode_image(png(opaque), 1e6), picture())


def test_jpeg_when_encoded_and_decoded_then_it_is_nearly_the_same():
    smooth = np.zeros((40, 60, 3), np.uint8)
    smooth[:, 30:] = (200, 100, 50)
    back = decode_image(encode_jpeg(smooth, 95), 1e6)
    assert back.shape == smooth.shape
    assert np.abs(back.astype(int) - smooth).mean() < 3


@pytest.mark.parametrize('data, text', [
    (b'', 'neither JPEG nor PNG'),
    (b'GIF89a' + bytes(20), 'neither JPEG nor PNG'),
    (png(picture())[:200], 'damaged'),
    (encode_jpeg(picture(), 80)[:300], 'damaged'),
    (png(picture(200, 300)), 'too large: expected at most 50000 pixels, got 200 x 300'),
    (png(np.ones((4, 4), np.uint16)), 'not in colour or grey of 8 bits'),
])
def test_file_when_it_cannot_be_used_then_the_error_says_why(data, text):
    with pytest.raises(ImageError, match=text):
        decode_image(data, 50_000)
