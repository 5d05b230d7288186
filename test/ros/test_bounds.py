# SPDX-License-Identifier: Apache-2.0
"""Texts and arrays over their bounds are refused with the name of the field, in parts too."""

import array

import harness  # noqa: F401  (skips where ROS or our messages are missing)
import pytest
from sensor_msgs.msg import Image

from samtok_ros.errors import ConfigError
from samtok_ros.msg import Goal, MaskWord, MaskWords, RegionReference
from samtok_ros.nodes.bounds import MOST_RUNS, check_bounds
from samtok_ros.srv import EncodeMask


def words(**fields):
    return MaskWords(words=[MaskWord(label='mug'), MaskWord(**fields)])


@pytest.mark.parametrize('message, text', [
    (Goal(text='m' * 1025), 'text is too long: expected at most 1024 bytes, got 1025 bytes'),
    (Goal(text='é' * 513), 'text is too long: expected at most 1024 bytes, got 1026 bytes'),
    (words(label='m' * 257), 'words.label is too long: expected at most 256 bytes'),
    (words(codes=array.array('H', range(9))), 'words.codes is too long: expected at most 8 items'),
    (MaskWords(words=[MaskWord()] * 65), 'words is too long: expected at most 64 items, got 65'),
    (MaskWords(answer='m' * 16385), 'answer is too long'),
    (Image(encoding='x' * 5000), 'encoding is too long: expected at most 1024 bytes'),
    (EncodeMask.Request(regions=[RegionReference(
        rle=array.array('I', bytes(4 * (MOST_RUNS + 1))))]), 'regions.rle is too long'),
])
def test_message_when_over_a_bound_then_the_field_is_named(message, text):
    with pytest.raises(ConfigError, match=text):
        check_bounds(message)


def test_message_when_a_frame_id_is_endless_then_it_is_refused():
    message = Image()
    message.header.frame_id = 'camera' * 10_000
    with pytest.raises(ConfigError, match='header.frame_id is too long'):
        check_bounds(message)


@pytest.mark.parametrize('message', [
    Goal(text='é' * 512), words(label='m' * 256), MaskWords(words=[MaskWord()] * 64),
    Image(encoding='rgb8', data=array.array('B', bytes(100_000))),
])
def test_message_when_within_its_bounds_then_nothing_is_said(message):
    check_bounds(message)
