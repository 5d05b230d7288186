# SPDX-License-Identifier: Apache-2.0
"""Depth images as compressedDepth: metres of both encodings, sizes without decoding, damage."""

import struct

import cv2
import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.image.depth_codec import (
    DEPTH_FORMAT,
    compressed_depth_size,
    compressed_to_metres,
    depth_to_compressed,
)
from samtok_ros.image.encodings import check_depth, depth_to_metres
from samtok_ros.regions import ImageSize

DEPTH_MM = np.array([[0, 500, 1234], [65535, 1, 2]], np.uint16)


def test_metres_when_millimetres_were_compressed_then_they_are_those_of_the_raw_image():
    metres = compressed_to_metres(depth_to_compressed(DEPTH_MM), DEPTH_FORMAT)
    raw = depth_to_metres(DEPTH_MM.tobytes(), 2, 3, '16UC1', 6)
    assert metres.dtype == np.float32 and np.array_equal(metres, raw, equal_nan=True)
    assert np.isnan(metres[0, 0]) and metres[0, 2] == pytest.approx(1.234)


def test_metres_when_metres_were_quantised_then_they_come_back_within_the_steps():
    depth_m = np.array([[0.5, 1.0, 4.0], [0.0, 9.0, 2.5]])
    a, b = 100.0 * 101.0, 1 - 100.0 * 101.0 / 10.0  # quantisation 100, up to 10 m
    with np.errstate(divide='ignore'):
        steps = np.where(depth_m > 0, a / depth_m + b, 0).astype(np.uint16)
    data = struct.pack('<iff', 0, a, b) + cv2.imencode('.png', steps)[1].tobytes()
    metres = compressed_to_metres(data, '32FC1; compressedDepth png')
    assert np.isnan(metres[1, 0])
    seen = depth_m > 0
    assert np.allclose(metres[seen], depth_m[seen], rtol=0.02)


def test_size_when_asked_for_then_nothing_is_decoded():
    data = depth_to_compressed(np.ones((7, 11), np.uint16))
    assert compressed_depth_size(data[:40], 100) == ImageSize(7, 11)
    with pytest.raises(ImageError, match='too large: expected at most 76 pixels, got 7 x 11'):
        compressed_depth_size(data, 76)
    with pytest.raises(ImageError, match='of another kind'):
        compressed_depth_size(b'\xff\xd8 jpeg', 100)
    with pytest.raises(ImageError, match='no pixels'):
        compressed_depth_size(data[:22], 100)
    with pytest.raises(ImageError, match='damaged'):
        compressed_to_metres(data[:40], DEPTH_FORMAT)


@pytest.mark.parametrize('change, text', [
    ({'encoding': 'rgb8'}, "expected 16UC1 or 32FC1, got 'rgb8'"), ({'step': 5}, 'step is too'),
    ({'height': 3}, 'too short'), ({'width': 0}, 'no pixels')])
def test_check_depth_when_the_layout_is_wrong_then_refused_before_it_is_converted(change, text):
    layout = {'data': DEPTH_MM.tobytes(), 'height': 2, 'width': 3, 'encoding': '16UC1', 'step': 6}
    assert check_depth(**layout) == ImageSize(2, 3)
    with pytest.raises(ImageError, match=text):
        check_depth(**layout | change)
