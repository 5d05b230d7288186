# SPDX-License-Identifier: Apache-2.0
"""The way through messages that the benchmark times: what comes out is what went in."""

import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.nodes.bench_messages import MessagePath
from samtok_ros.regions import ImageSize

CODES = np.array([[1, 255], [7, 0]])


@pytest.fixture
def path():
    return MessagePath()


@pytest.fixture
def frame(path):
    image_rgb = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    frame = path.image_in(path.image_message(image_rgb, 5))
    np.testing.assert_array_equal(frame.image_rgb(), image_rgb)
    return frame


def test_words_when_sent_then_codes_and_stamp_arrive(path, frame):
    found = path.words_through(frame, CODES, 'two boxes')
    assert [region.codes for region in found.regions] == [(1, 255), (7, 0)]
    assert (found.stamp_ns, found.size, found.answer) == (5, ImageSize(24, 32), 'two boxes')


def test_masks_when_sent_then_every_pixel_arrives(path, frame):
    masks = np.random.default_rng(1).random((2, 24, 32)) > 0.5
    message = path.masks_out(frame, CODES, masks)
    for mask, sent in zip(masks, message.masks, strict=True):
        runs = np.array(sent.rle, np.uint32)
        np.testing.assert_array_equal(rle_to_mask(runs, (24, 32)), mask)


def test_image_when_without_stamp_then_it_is_refused_as_by_a_node(path):
    with pytest.raises(ImageError, match='no stamp'):
        path.image_in(path.image_message(np.zeros((2, 2, 3), np.uint8), 0))
