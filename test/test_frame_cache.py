# SPDX-License-Identifier: Apache-2.0
"""Frames by stamp, bounded by count and memory."""

from types import SimpleNamespace

import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.frame_cache import Frame, FrameCache


def frame(stamp_ns, nbytes=100, image=None):
    image = np.zeros((2, 3, 3), np.uint8) if image is None else image
    return Frame(stamp_ns, 'camera', lambda: image, nbytes)


def test_frame_when_read_twice_then_the_message_is_converted_once():
    calls = []
    read = Frame(1, 'camera', lambda: calls.append(1) or np.zeros((2, 3, 3), np.uint8), 18)
    assert read.size == ImageSize(2, 3)
    assert read.image_rgb() is read.image_rgb()
    assert len(calls) == 1


def test_frame_when_it_cannot_be_read_then_the_error_comes_each_time():
    def broken():
        raise ImageError('image data are too short')

    bad = Frame(1, 'camera', broken, 18)
    for _ in range(2):
        with pytest.raises(ImageError):
            bad.image_rgb()


def test_frame_when_its_memory_is_counted_then_copies_features_and_masks_count():
    whole = np.zeros((2, 3, 3), np.uint8)
    copied = frame(1, 100, whole)
    copied.image_rgb()
    assert copied.nbytes == 118
    viewed = frame(1, 100, whole[:])
    viewed.image_rgb()
    assert viewed.nbytes == 100
    viewed.features = SimpleNamespace(nbytes=1000)
    viewed.decoded[(1, 2)] = (np.zeros((2, 3), bool), 0.5)
    assert viewed.nbytes == 1106


def test_cache_when_over_its_count_then_the_oldest_goes():
    cache = FrameCache(2, 10_000)
    for stamp in (30, 10, 20):
        cache.put(frame(stamp))
    assert cache.stamps() == (10, 20)
    assert cache.get(30) is None
    assert cache.newest().stamp_ns == 20


def test_cache_when_over_its_memory_then_the_oldest_goes_but_never_the_newest():
    cache = FrameCache(10, 250)
    for stamp in (1, 2, 3):
        cache.put(frame(stamp))
    assert cache.stamps() == (2, 3)
    cache.put(frame(4, nbytes=9999))
    assert cache.stamps() == (4,)
    assert cache.nbytes == 9999


def test_cache_when_a_stamp_comes_again_then_the_newer_frame_replaces_the_older():
    cache = FrameCache(2, 10_000)
    first, second = frame(1), frame(1)
    cache.put(first)
    cache.put(second)
    assert len(cache) == 1
    assert cache.get(1) is second


def test_features_when_asked_for_twice_then_they_are_computed_once_and_counted():
    calls = []

    class Model:
        def embed_image(self, image_rgb):
            calls.append(image_rgb)
            return SimpleNamespace(nbytes=200)

    cache = FrameCache(10, 350)
    frames = [frame(stamp) for stamp in (1, 2)]
    for item in frames:
        cache.put(item)
    assert cache.features_of(frames[1], Model()) is cache.features_of(frames[1], Model())
    assert len(calls) == 1
    assert cache.stamps() == (2,)


def test_cache_when_made_smaller_or_cleared_then_frames_go():
    cache = FrameCache(10, 10_000)
    for stamp in range(5):
        cache.put(frame(stamp))
    cache.resize(2, 10_000)
    assert cache.stamps() == (3, 4)
    cache.clear()
    assert len(cache) == 0
    assert cache.newest() is None
