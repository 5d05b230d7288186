# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG <-> arrays."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.compressed import compressed_size, decode_image, encode_jpeg


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


def png_that_claims(height, width):
    """A PNG whose head names a size and whose pixels are few."""
    head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    rest = png(picture())
    start = rest.index(b'IDAT') - 4
    return rest[:8] + struct.pack('>I', 13) + head + struct.pack('>I', zlib.crc32(head)) + (
        rest[start:])


@pytest.mark.parametrize('read', [decode_image, compressed_size])
@pytest.mark.parametrize('height, width, limit', [
    (60_000, 60_000, 20e6), (60_000, 60_000, 200e6), (10_000, 10_000, 20e6),
    (2**31 - 1, 2**31 - 1, 200e6)])
def test_file_when_it_claims_a_huge_size_then_no_memory_is_taken_for_it(
        read, height, width, limit):
    file = png_that_claims(height, width)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match='image is too large'):
            read(file, limit)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize('file', [png(picture(20, 30)), encode_jpeg(picture(20, 30), 80)])
def test_size_when_the_file_breaks_off_later_then_it_is_known_all_the_same(file):
    assert compressed_size(file, 1e6) == ImageSize(20, 30)
    assert compressed_size(file[:-10], 1e6) == ImageSize(20, 30)


@pytest.mark.parametrize('file, limit, text', [
    (b'no picture', 1e6, 'neither JPEG nor PNG'), (png(picture()), 100, 'too large')])
def test_size_when_it_cannot_be_used_then_the_error_says_why(file, limit, text):
    with pytest.raises(ImageError, match=text):
        compressed_size(file, limit)
