# SPDX-License-Identifier: Apache-2.0
"""Frames by stamp, bounded by count and memory."""

from types import SimpleNamespace

import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize, Region
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


def test_frame_when_its_size_is_known_then_no_pixel_is_read_for_it():
    def unread():
        raise AssertionError('pixels were read')

    known = Frame(1, 'camera', unread, 18, lambda: ImageSize(480, 640))
    assert known.size == ImageSize(480, 640)


def test_frame_when_its_size_cannot_be_read_then_the_error_comes_each_time():
    def broken():
        raise ImageError('compressed image is damaged')

    bad = Frame(1, 'camera', broken, 18, broken)
    for _ in range(2):
        with pytest.raises(ImageError):
            assert bad.size


def test_frame_when_nothing_was_said_about_it_then_it_has_no_regions():
    fresh = frame(1)
    assert fresh.last_regions == ()
    fresh.last_regions = (Region(1, (1, 2), 'mug', 0.5),)
    assert fresh.nbytes == 100


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


def test_cache_when_frames_were_spoken_of_then_the_last_four_stay_over_the_count():
    cache = FrameCache(2, 10_000)
    frames = [frame(stamp) for stamp in range(8)]
    for item in frames:
        cache.put(item)
        cache.protect(item)
    assert cache.stamps() == (4, 5, 6, 7)
    cache.protect(frames[4])
    for stamp in (8, 9):
        cache.put(frame(stamp))
    cache.protect(cache.get(9))
    assert cache.stamps() == (6, 7, 4, 8, 9)
    assert cache.nbytes == 500
    assert len(cache) == 5
    assert [item.stamp_ns for item in cache.newest_first()] == [9, 8, 4, 7, 6]


def test_cache_when_frames_were_spoken_of_then_they_stay_over_the_memory_with_their_features():
    cache = FrameCache(10, 450)
    spoken_of = frame(1)
    spoken_of.features = SimpleNamespace(nbytes=100)
    cache.put(spoken_of)
    cache.protect(spoken_of)
    for stamp in (2, 3, 4):
        cache.put(frame(stamp))
    assert cache.stamps() == (1, 3, 4)
    assert spoken_of.features is not None
    assert cache.nbytes == 400
    cache.forget_features()
    assert (spoken_of.features, cache.nbytes) == (None, 300)


def test_frame_when_it_is_gone_and_then_spoken_of_then_it_is_back_and_not_the_newest():
    cache = FrameCache(1, 10_000)
    gone = frame(1)
    for item in (gone, frame(2)):
        cache.put(item)
    assert cache.get(1) is None
    cache.protect(gone)
    assert cache.get(1) is gone
    assert cache.find(1) is gone
    assert cache.stamps() == (1, 2)
    assert cache.newest().stamp_ns == 2
    cache.clear()
    assert (cache.get(1), len(cache), cache.nbytes) == (None, 0, 0)
    cache.protect(gone)
    assert cache.newest() is None


def test_frame_when_another_has_its_stamp_then_only_the_later_one_is_protected():
    cache = FrameCache(1, 10_000)
    first, second, third = frame(1), frame(1), frame(1)
    cache.put(first)
    cache.put(second)
    cache.protect(first)
    cache.put(frame(2))
    assert cache.get(1) is second
    cache.put(third)
    cache.put(frame(2))
    assert cache.get(1) is third


def test_cache_when_begun_anew_then_older_frames_have_stamps_but_none_is_the_newest():
    cache = FrameCache(10, 10_000)
    for stamp in (10, 20):
        cache.put(frame(stamp))
    cache.begin_anew()
    assert cache.newest() is None
    assert cache.find(10).stamp_ns == 10
    with pytest.raises(ImageError, match='no image has come since the node was act') as caught:
        cache.find(0)
    assert 'name an older one: 0.000000020, 0.000000010' in str(caught.value)
    cache.put(frame(5))
    assert cache.newest().stamp_ns == 5


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


def test_cache_when_over_its_memory_then_features_of_older_frames_go_before_frames():
    cache = FrameCache(10, 1000)
    frames = [frame(stamp) for stamp in (1, 2, 3)]
    for item in frames:
        item.features = SimpleNamespace(nbytes=200)
        cache.put(item)
    assert [item.features is None for item in frames] == [False, False, False]
    cache.put(frame(4, nbytes=150))
    assert [item.features is None for item in frames] == [True, False, False]
    cache.put(frame(5, nbytes=600))
    assert [item.features is None for item in frames] == [True, True, True]
    assert cache.stamps() == (2, 3, 4, 5)


def test_cache_when_made_smaller_or_cleared_then_frames_go():
    cache = FrameCache(10, 10_000)
    for stamp in range(5):
        cache.put(frame(stamp))
    cache.resize(2, 10_000)
    assert cache.stamps() == (3, 4)
    cache.clear()
    assert len(cache) == 0
    assert cache.newest() is None


def test_frame_when_found_then_it_has_exactly_this_stamp_or_is_the_newest():
    cache = FrameCache(10, 10_000)
    for stamp in (30, 10, 20):
        cache.put(frame(stamp))
    assert cache.find(10).stamp_ns == 10
    assert cache.find(0).stamp_ns == 20
    assert [item.stamp_ns for item in cache.newest_first()] == [20, 10, 30]


def test_frame_when_not_found_then_the_error_names_the_stamps_that_are_there():
    cache = FrameCache(10, 10_000)
    with pytest.raises(ImageError, match='no image is in the cache. Wait for the first one'):
        cache.find(0)
    for stamp in range(1, 9):
        cache.put(frame(stamp * 1_000_000_000 + 5))
    with pytest.raises(ImageError) as caught:
        cache.find(3_000_000_006)
    text = str(caught.value)
    assert 'expected 8.000000005, 7.000000005, 6.000000005' in text
    assert 'and 3 older ones, got 3.000000006' in text
    with pytest.raises(ImageError, match='got -1.999999999'):
        cache.find(-1)


def test_cache_when_a_frame_has_grown_then_trimming_keeps_to_the_bound():
    cache = FrameCache(10, 250)
    frames = [frame(stamp) for stamp in (1, 2)]
    for item in frames:
        cache.put(item)
    frames[1].decoded[(1, 2)] = (np.zeros((10, 10), bool), 0.5)
    cache.trim()
    assert cache.stamps() == (2,)


def test_cache_when_its_features_are_forgotten_then_the_frames_stay():
    cache = FrameCache(10, 10_000)
    cache.put(frame(1))
    kept = cache.get(1)
    kept.features = SimpleNamespace(nbytes=1000)
    kept.decoded[(1, 2)] = (np.zeros((2, 3), bool), 0.5)
    cache.forget_features()
    assert (kept.features, kept.decoded, cache.nbytes) == (None, {}, 100)


def test_cache_when_time_jumped_back_then_later_frames_are_forgotten():
    cache = FrameCache(10, 10_000)
    for stamp in (1, 2, 3):
        cache.put(frame(stamp))
        cache.protect(cache.get(stamp))
    cache.forget_after(3)
    assert cache.newest().stamp_ns == 3
    cache.forget_after(2)
    assert cache.stamps() == (1, 2)
    assert cache.get(3) is None
    assert cache.newest() is None  # A frame from before the jump is not where the camera is now.
