# SPDX-License-Identifier: Apache-2.0
"""Numbers of things, answers about older images, and what is lost; with masks made by hand."""

import numpy as np
import pytest

from samtok_ros.masks.boxes import with_mask
from samtok_ros.masks.rle import mask_to_rle
from samtok_ros.regions import Region
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tracking.association import associate
from samtok_ros.tracking.history import MaskHistory
from samtok_ros.tracking.policies import Reencode
from samtok_ros.tracking.records import Found, Track
from samtok_ros.tracking.tracker import Tracker
from samtok_ros.tracking.walk import steps_between

HEIGHT, WIDTH = 40, 60
RED, BLUE, GREY = (200, 30, 30), (30, 30, 200), (120, 120, 120)


def box(left, top=10, size=12):
    """(H, W) bool: a square thing."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[max(top, 0):top + size, max(left, 0):max(left + size, 0)] = True
    return mask


def image(**things):
    """An image with squares: colour by left edge."""
    picture = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for left, colour in things.values():
        picture[box(left)] = colour
    return picture


def frame(stamp_ns, picture=None):
    picture = image() if picture is None else picture
    return Frame(stamp_ns, 'camera', lambda: picture, picture.nbytes)


def region(number, left, label='mug', score=0.5):
    return with_mask(Region(number, (number, 0), label, score), box(left), 0.9)


class ByHand:
    """A policy whose findings the test writes down."""

    words_fit = walks = True

    def __init__(self):
        self.begun, self.next = [], {}

    def begin(self, frame, tracks):
        self.begun.append([track.track_id for track in tracks])

    def find(self, frame, tracks):
        return [Found(self.next.get(track.track_id, track.found.mask), 0.9, (7, 7), box(0))
                for track in tracks]

    def forget(self):
        self.next = {}


@pytest.fixture
def policy():
    return ByHand()


@pytest.fixture
def tracker(policy):
    return Tracker(policy, TrackSettings())


def ids(regions):
    return [one.track_id for one in regions]


def test_answer_when_it_is_the_first_then_its_regions_get_numbers_from_one(tracker, policy):
    assert ids(tracker.anchor(frame(1), [region(1, 5), region(2, 30)])) == [1, 2]
    assert policy.begun == [[1, 2]]
    assert (tracker.alive, tracker.lost, tracker.newest_ns) == (2, 0, 1)


def test_image_when_it_comes_then_things_have_new_masks_and_the_rest_as_answered(
        tracker, policy):
    picture = image(red=(5, RED))
    tracker.anchor(frame(1, picture), [region(4, 5, 'the mug', 0.7)])
    policy.next = {1: box(8)}
    (found,) = tracker.follow(frame(2, image(red=(8, RED))))
    assert (found.region_id, found.track_id, found.label, found.score, found.lost) == (
        4, 1, 'the mug', 0.7, False)
    assert np.array_equal(found.mask, box(8))
    assert found.box_xyxy == (8, 10, 20, 22)
    assert (found.codes, found.mask_score) == ((7, 7), 0.9)


def test_answer_when_about_an_older_image_then_numbers_follow_where_things_were_then(
        tracker, policy):
    tracker.anchor(frame(1), [region(1, 0), region(2, 30)])
    for stamp, moved in ((2, 7), (3, 14)):  # They come towards each other.
        policy.next = {1: box(moved), 2: box(30 - moved)}
        tracker.follow(frame(stamp))
    assert ids(tracker.anchor(frame(2), [region(1, 23), region(2, 7), region(3, 45)])) == [2, 1, 3]
    assert tracker.newest_ns == 2


def test_answer_when_it_corrects_what_was_found_then_the_next_is_compared_with_the_truth(
        tracker, policy):
    answered = [region(1, 0), region(2, 30)]
    tracker.anchor(frame(1), answered)
    policy.next = {1: box(30), 2: box(0)}  # One is taken for the other.
    tracker.follow(frame(20))
    policy.next = {}
    assert ids(tracker.anchor(frame(1), answered)) == [1, 2]
    tracker.follow(frame(20))
    assert ids(tracker.anchor(frame(20), answered)) == [1, 2]


def test_answer_when_a_thing_is_new_in_it_then_the_next_knows_it_in_newer_images(tracker):
    tracker.anchor(frame(1), [region(1, 0)])
    for stamp in range(2, 11):
        tracker.follow(frame(stamp))
    both = [region(1, 0), region(2, 30)]
    assert ids(tracker.anchor(frame(5), both)) == [1, 2]
    tracker.follow(frame(10))
    assert ids(tracker.anchor(frame(10), both)) == [1, 2]


def test_answer_when_a_thing_is_not_in_it_then_its_number_is_never_given_again(tracker):
    tracker.anchor(frame(1), [region(1, 0), region(2, 30)])
    assert ids(tracker.anchor(frame(2), [region(1, 0)])) == [1]
    assert ids(tracker.anchor(frame(3), [region(1, 0), region(2, 30)])) == [1, 3]
    tracker.end()
    assert ids(tracker.anchor(frame(4), [region(1, 0)])) == [4]


def test_things_when_they_end_then_all_are_lost_and_empty(tracker):
    tracker.anchor(frame(1), [region(1, 0), region(2, 30)])
    ended = tracker.end()
    assert [(one.track_id, one.lost, one.mask.any(), one.box_xyxy) for one in ended] == [
        (1, True, False, None), (2, True, False, None)]
    assert (tracker.alive, tracker.lost, tracker.end()) == (0, 0, ())


def test_policy_when_it_finds_nothing_then_the_thing_is_lost_until_it_is_found(tracker, policy):
    tracker.anchor(frame(1), [region(1, 5), region(2, 30)])
    policy.next = {1: np.zeros((HEIGHT, WIDTH), bool)}
    lost, kept = tracker.follow(frame(2))
    assert (lost.lost, lost.mask.any(), lost.track_id, lost.codes) == (True, False, 1, (1, 0))
    assert not kept.lost
    assert (tracker.alive, tracker.lost) == (1, 1)
    policy.next = {}
    assert [one.lost for one in tracker.follow(frame(3))] == [False, False]


def test_answer_when_a_lost_thing_is_named_again_then_its_label_tells_which_it_was(
        tracker, policy):
    tracker.anchor(frame(1), [region(1, 5, 'mug'), region(2, 30, 'bowl')])
    policy.next = {1: np.zeros((HEIGHT, WIDTH), bool)}
    tracker.follow(frame(2))
    assert ids(tracker.anchor(frame(3), [region(1, 45, 'mug'), region(2, 30, 'bowl')])) == [1, 2]


@pytest.mark.parametrize('left, size, colour, lost', [
    (5, 12, RED, False), (9, 12, RED, False), (5, 12, (190, 70, 20), False),
    (5, 12, GREY, True), (5, 12, BLUE, True), (5, 8, RED, True), (5, 10, RED, False),
    (5, 17, RED, True)])
def test_thing_when_its_colour_or_its_area_changes_too_much_then_it_is_lost(
        tracker, policy, left, size, colour, lost):
    tracker.anchor(frame(1, image(red=(5, RED))), [region(1, 5)])
    picture = image()
    policy.next = {1: box(left, size=size)}
    picture[policy.next[1]] = colour
    (found,) = tracker.follow(frame(2, picture))
    assert found.lost == lost
    if lost:  # It is back where it was seen last.
        policy.next = {}
        assert not tracker.follow(frame(3, image(red=(5, RED))))[0].lost


def test_thing_when_it_is_lost_then_it_is_looked_for_where_it_was_seen_last(tracker, policy):
    tracker.anchor(frame(1), [region(1, 5)])
    policy.next = {1: box(8)}
    tracker.follow(frame(2))
    policy.next = {1: box(20, size=30)}
    assert tracker.follow(frame(3))[0].lost
    policy.next = {}
    (found,) = tracker.follow(frame(4))
    assert np.array_equal(found.mask, box(8))


def test_settings_when_they_change_then_they_hold_for_the_next_image(tracker, policy):
    tracker.anchor(frame(1), [region(1, 5)])
    policy.next = {1: box(5, size=24)}
    tracker.settings = TrackSettings(max_area_change=10.0)
    assert not tracker.follow(frame(2))[0].lost


def track(number, left, label='mug'):
    known = region(1, left, label)
    return Track(number, known, Found(known.mask, 0.9, known.codes, known.mask), np.full(3, 120.0))


@pytest.mark.parametrize('masks, regions, expected, why', [
    ({1: 0, 2: 30}, [(30, 'mug'), (0, 'mug')], {0: 2, 1: 1}, 'by place, not by order'),
    ({1: 0, 2: 30}, [(45, 'mug')], {}, 'an overlap below 0.3 is none'),
    ({1: 0}, [(2, 'mug'), (1, 'mug')], {1: 1}, 'the greater overlap'),
    ({1: 0}, [(1, 'bowl'), (1, 'mug')], {1: 1}, 'nearly equal: the same label'),
    ({1: 0}, [(0, 'bowl'), (5, 'mug')], {0: 1}, 'far apart: the place'),
    ({}, [(50, 'mug')], {}, 'both lost things are called mug: which is it?'),
])
def test_regions_when_matched_then_place_comes_first_and_the_label_decides_ties(
        masks, regions, expected, why):
    tracks = [track(1, 0), track(2, 30)]
    found = associate([one for one in tracks if one.track_id in masks or not masks],
                      {number: box(left) for number, left in masks.items()},
                      [region(i, left, label) for i, (left, label) in enumerate(regions)])
    assert found == expected, why


@pytest.mark.parametrize('stamps_ms, expected_ms', [
    (range(0, 1100, 100), (300, 700)),          # a third of a second apart, of those that are there
    ((0, 600, 1000), (600,)),                   # the nearest one serves for two
    ((0, 1000), ()),
    ((0, 1000, 1500, -300), ()),                # not between
])
def test_way_when_it_is_long_then_it_goes_by_images_a_third_of_a_second_apart(
        stamps_ms, expected_ms):
    frames = [frame(10 ** 10 + ms * 10 ** 6) for ms in stamps_ms]
    chosen = steps_between(frames[::-1], 10 ** 10, 10 ** 10 + 10 ** 9)
    assert [one.stamp_ns - 10 ** 10 for one in chosen] == [ms * 10 ** 6 for ms in expected_ms]


def test_way_when_it_is_short_or_very_long_then_its_steps_stay_few():
    frames = [frame(ms * 10 ** 6) for ms in range(0, 60_000, 10)]
    assert steps_between(frames, 0, 300 * 10 ** 6) == []
    assert len(steps_between(frames, 0, 59_000 * 10 ** 6)) == 8


def test_words_when_the_thing_stands_still_then_they_are_kept_and_else_made_anew():
    class Access:
        """Draws each word as a box at its first code; makes words of the left edge of a mask."""

        encoded = 0

        def draw(self, frame, codes):
            return {one: (box(one[0] + frame.stamp_ns), 0.9) for one in codes}

        def encode(self, frame, masks):
            self.encoded += len(masks)
            return np.array([[np.flatnonzero(mask.any(0))[0] - frame.stamp_ns, 1]
                             for mask in masks])

    access = Access()
    tracker = Tracker(Reencode(access), TrackSettings(max_colour_change=255.0))
    answered = [with_mask(Region(1, (5, 0), 'mug', 0.5), box(5), 0.9)]
    tracker.anchor(frame(0), answered)
    (still,) = tracker.follow(frame(1))          # what the words draw has moved by one pixel
    assert (still.codes, access.encoded) == ((5, 0), 0)
    (moved,) = tracker.follow(frame(4))          # IoU 8/16 with what they drew first
    assert (moved.codes, access.encoded) == ((5, 1), 1)
    assert np.array_equal(moved.mask, box(9))
    (settled,) = tracker.follow(frame(5))        # with what the new words drew first: 11/13
    assert (settled.codes, access.encoded) == ((5, 1), 1)


def test_history_when_asked_then_it_knows_the_nearest_image_and_stays_small():
    history = MaskHistory()
    assert history.masks_near(5, (HEIGHT, WIDTH)) == {}
    for stamp in range(3000):
        history.add(10 * stamp, [track(1, stamp % 40), track(2, 30).unseen()])
    masks = history.masks_near(29_954, (HEIGHT, WIDTH))
    assert list(masks) == [1]
    assert np.array_equal(masks[1], box(2995 % 40))
    assert np.array_equal(history.masks_near(0, (HEIGHT, WIDTH))[1], box((3000 - 1024) % 40))
    history.drop_from(20_000)
    assert np.array_equal(history.masks_near(29_954, (HEIGHT, WIDTH))[1], box(1999 % 40))
    history.clear()
    assert history.masks_near(5, (HEIGHT, WIDTH)) == {}


def test_history_when_images_are_dropped_then_their_memory_is_there_for_others(monkeypatch):
    monkeypatch.setattr('samtok_ros.tracking.history._MOST_BYTES', 10 * mask_to_rle(box(5)).nbytes)
    history = MaskHistory()
    for _ in range(5):  # The same ten again and again.
        history.drop_from(1)
        for stamp in range(1, 11):
            history.add(stamp, [track(1, 5 + stamp)])
    assert np.array_equal(history.masks_near(1, (HEIGHT, WIDTH))[1], box(6))
