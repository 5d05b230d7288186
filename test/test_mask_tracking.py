# SPDX-License-Identifier: Apache-2.0
"""What the mask tokenizer node does between two answers, without ROS."""

import threading

import pytest
from tracking_bench import (
    CORNER,
    MIDDLE,
    SECOND_NS,
    SIZE,
    WAIT_S,
    Bench,
    Walking,
    frame,
    let_speak,
)

from samtok_ros.errors import DeviceError, ImageError
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.records import Origin, Status
from samtok_ros.runtime.worker import Priority
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings
from samtok_ros.tracking.policies import Redecode


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def test_image_when_there_was_no_answer_then_nothing_is_done_with_it(bench):
    bench.arrive(1)
    assert bench.run() == []
    assert bench.frames.get(1).features is None


def test_image_when_it_comes_after_an_answer_then_its_regions_are_published_with_its_stamp(bench):
    answer = bench.answer(1, MIDDLE, CORNER)
    assert [region.track_id for region in answer.regions] == [1, 2]
    later = bench.arrive(2)
    (tracked,) = bench.run()
    assert (tracked.stamp_ns, tracked.answer_stamp_ns, tracked.origin, tracked.complete) == (
        2, 1, Origin.TRACKED, True)
    assert (tracked.goal, tracked.goal_id, tracked.status) == ('mugs', 1, Status.OK)
    assert [region.track_id for region in tracked.regions] == [1, 2]
    assert bench.statistics.total('frames_tracked') == 1
    # Requests can point at what is followed, by its number in this image.
    assert [(region.region_id, region.codes, region.mask) for region in later.last_regions] == [
        (1, MIDDLE, None), (2, CORNER, None)]


def test_images_when_they_come_faster_than_they_are_done_then_the_newest_counts(bench):
    bench.answer(1, MIDDLE)
    for stamp_ns in range(2, 9):
        bench.arrive(stamp_ns)
    assert [result.stamp_ns for result in bench.run()] == [8]
    assert bench.statistics.total('frames_not_tracked') == 6


def test_image_when_it_is_not_newer_then_it_is_left_out(bench):
    bench.answer(5, MIDDLE)
    bench.arrive(4)
    assert bench.run() == []


def test_answer_when_it_is_about_an_older_image_then_the_newest_is_done_again(bench):
    bench.answer(1, MIDDLE)
    for stamp_ns in (2, 3):
        bench.arrive(stamp_ns)
        bench.run()
    answer = bench.answer(2, CORNER, MIDDLE)
    assert [region.track_id for region in answer.regions] == [2, 1]
    assert bench.tracking.is_outdated(answer)
    last = bench.run()[-1]
    assert (last.stamp_ns, last.answer_stamp_ns) == (3, 2)
    assert [region.track_id for region in last.regions] == [2, 1]
    assert bench.tracking.answer_age_s == 1e-9


def test_answer_when_it_is_about_an_image_before_the_last_answer_then_it_changes_nothing(bench):
    bench.answer(5, MIDDLE)
    late = bench.answer(4, CORNER)
    assert [region.track_id for region in late.regions] == [0]
    bench.arrive(6)
    assert [result.answer_stamp_ns for result in bench.run()] == [5]


@pytest.mark.parametrize('fields, said', [
    ({'status': Status.NO_TARGET}, None),
    ({'goal_id': 2, 'complete': False}, 'there is a new goal'),
])
def test_answer_when_it_ends_what_was_followed_then_that_is_said(bench, fields, said):
    bench.answer(1, MIDDLE)
    bench.answer(2, **fields)
    bench.arrive(3)
    ends = bench.run()
    assert [result.message for result in ends] == (
        [f'nothing is followed any more: {said}'] if said else [])
    assert all(region.lost and not region.mask.any() for end in ends for region in end.regions)
    assert all(end.status is Status.CANCELLED for end in ends)
    assert (bench.tracking.alive, bench.tracking.answer_age_s) == (0, None)


def test_answer_when_it_failed_then_what_is_followed_stays(bench):
    bench.answer(1, MIDDLE)
    bench.answer(2, status=Status.FAILED)
    bench.arrive(3)
    assert [result.answer_stamp_ns for result in bench.run()] == [1]


@pytest.mark.parametrize('text, followed', [('mugs', True), ('cups', False), ('', False)])
def test_goal_when_it_changes_then_only_answers_to_it_are_followed(bench, text, followed):
    bench.answer(1, MIDDLE)
    bench.tracking.goal_changed(text)
    bench.run()
    assert bench.tracking.is_outdated(bench.answer(2, MIDDLE)) != followed
    bench.arrive(3)
    assert any(result.stamp_ns == 3 for result in bench.run()) == followed


@pytest.mark.parametrize('message, said', [
    ('', 'the answer was cancelled'), ('the goal was cleared', 'the goal was cleared')])
def test_answer_when_it_is_cancelled_then_what_is_followed_ends_whether_or_not_its_image_came(
        bench, message, said):
    bench.answer(1, MIDDLE)
    bench.cancel(2, message=message)
    (end,) = bench.run()
    assert (end.status, end.message) == (Status.CANCELLED, f'nothing is followed any more: {said}')
    bench.arrive(3)
    assert bench.run() == [end]


def test_words_when_they_are_decoded_after_their_goal_was_cleared_then_they_are_not_followed(
        bench):
    there = bench.arrive(1)
    words = bench.decoded(there, MIDDLE)
    bench.tracking.words_arrived(words)
    bench.cancel(2)
    late = bench.tracking.take_answer(words, there)
    assert late.regions[0].track_id == 0
    assert bench.tracking.is_outdated(late)
    bench.arrive(3)
    assert bench.run() == []


@pytest.mark.parametrize('cleared, number', [(1, 2), (7, 1), (7, 7)],
                         ids=['new goal', 'restarted', 'activated again'])
def test_words_when_they_come_after_a_goal_was_cleared_then_they_are_followed_on_the_same_image(
        bench, cleared, number):
    bench.answer(1, MIDDLE, goal_id=cleared)
    bench.cancel(1, goal_id=cleared)
    bench.run()
    answer = bench.answer(1, MIDDLE, goal_id=number)
    assert not bench.tracking.is_outdated(answer)
    bench.arrive(2)
    assert bench.run()[-1].regions[0].track_id == 2


def test_goal_when_another_stands_by_the_time_one_was_cancelled_then_it_is_followed_on(bench):
    bench.answer(1, MIDDLE)
    bench.cancel(1)
    bench.answer(2, MIDDLE, goal_id=2)  # Decoded before the worker looks at what was cancelled.
    bench.arrive(3)
    assert [(result.status, result.goal_id) for result in bench.run()] == [
        (Status.CANCELLED, 1), (Status.OK, 2)]


def test_answer_when_it_is_too_old_then_the_next_image_ends_what_is_followed():
    bench = Bench(max_age_s=5.0)
    bench.answer(SECOND_NS, MIDDLE)
    bench.arrive(5 * SECOND_NS)
    bench.run()
    bench.arrive(7 * SECOND_NS)
    alive, end = bench.run()
    assert not alive.regions[0].lost
    assert (end.status, end.stamp_ns) == (Status.CANCELLED, 7 * SECOND_NS)
    assert 'the last answer is 6.0 s old' in end.message
    bench.close()


def test_image_when_it_has_another_size_then_what_is_followed_ends_with_the_reason(bench):
    bench.answer(1, MIDDLE)
    bench.arrive(2, ImageSize(96, 128))
    assert 'the images have another size' in bench.run()[0].message


def test_answer_when_its_image_has_another_size_then_what_was_followed_ends_and_it_is_followed(
        bench):
    large = ImageSize(96, 128)
    bench.answer(1, MIDDLE)
    bench.frames.put(frame(2, large))
    bench.arrive(3, large)
    answer = bench.answer(2, MIDDLE, size=large)
    assert [region.track_id for region in answer.regions] == [2]
    end, followed = bench.run()
    assert (end.status, end.size, end.message) == (
        Status.CANCELLED, SIZE, 'nothing is followed any more: the images have another size')
    assert (followed.stamp_ns, followed.status, followed.size) == (3, Status.OK, large)
    assert bench.lines == []


def test_time_when_it_jumps_back_then_everything_is_forgotten_in_silence(bench):
    bench.answer(5, MIDDLE)
    bench.tracking.forget()
    bench.arrive(1)
    assert bench.run() == []
    assert bench.answer(2, MIDDLE).regions[0].track_id == 2


def test_answer_when_it_waits_for_the_first_image_of_a_new_time_then_it_is_followed(bench):
    bench.answer(5, MIDDLE)
    bench.tracking.forget()
    bench.worker.submit(Priority.WORDS, lambda: bench.answer(1, MIDDLE))
    bench.run()
    bench.arrive(2)
    assert [result.answer_stamp_ns for result in bench.run()] == [1]


@pytest.mark.parametrize('status', [Status.OK, Status.NO_TARGET])
def test_answer_when_time_has_jumped_back_meanwhile_then_it_does_not_hold_up_new_ones(
        bench, status):
    gone = bench.arrive(100 * SECOND_NS)
    bench.frames.forget_after(SECOND_NS)
    bench.tracking.forget()
    bench.run()
    bench.answer(SECOND_NS, MIDDLE)
    bench.frames.protect(gone)
    late = bench.tracking.take_answer(bench.decoded(gone, CORNER, status=status), gone)
    assert bench.tracking.is_outdated(late)
    bench.arrive(SECOND_NS + 1)
    assert [(result.stamp_ns, result.answer_stamp_ns) for result in bench.run()] == [
        (SECOND_NS + 1, SECOND_NS)]


def test_image_when_it_cannot_be_read_then_it_is_reported_and_the_next_is_followed(bench):
    def broken():
        raise ImageError('image data are too short')

    bench.answer(1, MIDDLE)
    bad = Frame(2, 'camera', broken, 100, lambda: SIZE)
    bench.frames.put(bad)
    bench.tracking.frame_arrived(bad)
    assert bench.run() == []
    assert bench.problems.counts() == {'track_failed': 1}
    assert 'nothing is followed in image 2: image data are too short' in bench.lines[0]
    bench.arrive(3)
    assert len(bench.run()) == 1


@pytest.mark.parametrize('error, said', [
    (DeviceError('out of memory'), 'out of memory'),
    (ZeroDivisionError('a bug'), "ZeroDivisionError('a bug')\nTraceback")])
def test_model_when_it_fails_at_an_answer_then_the_answer_goes_out_without_numbers(error, said):
    class Failing(Redecode):
        def begin(self, *_):
            raise error

    bench = Bench(make=lambda settings, access: Failing(access))
    assert bench.answer(1, MIDDLE).regions[0].track_id == 0
    assert bench.problems.counts() == {'track_failed': 1}
    assert f'nothing is followed in image 1: {said}' in bench.lines[0]
    bench.arrive(2)
    assert bench.run() == []
    bench.close()


def test_model_when_it_has_other_things_to_do_then_following_takes_its_share():
    bench = Bench(shares_worker=True, load=0.25)
    draw = bench.loaded.model.decode

    def slow(features, codes):
        bench.now += 0.1
        return draw(features, codes)

    bench.loaded.model.decode = slow
    bench.answer(1, MIDDLE)
    bench.arrive(2)
    assert len(bench.run()) == 1
    for stamp_ns, seconds in ((3, 0.1), (4, 0.1)):
        bench.now += seconds
        bench.arrive(stamp_ns)
        assert len(bench.run()) == 1
    # Three times as long as it took: the image that waits is taken without a new one.
    bench.now += 0.101
    bench.tracking.wake_if_rested()
    assert [result.stamp_ns for result in bench.run()] == [2, 4]
    bench.close()


def test_image_when_it_is_much_later_then_some_in_between_are_looked_at():
    bench = Bench(make=lambda settings, access: Walking(access))
    step = SECOND_NS // 10
    for number in range(1, 12):
        bench.arrive(number * step)
    bench.answer(step, MIDDLE)
    assert [result.stamp_ns for result in bench.run()] == [11 * step]
    assert bench.policy.looked_at == [4 * step, 7 * step, 11 * step] or (
        len(bench.policy.looked_at) == 3 and bench.policy.looked_at[-1] == 11 * step)
    bench.close()


def test_image_on_the_way_when_it_does_not_fit_or_is_damaged_then_it_alone_is_left_out():
    def damaged():
        raise ImageError('compressed image is damaged')

    bench = Bench(make=lambda settings, access: Walking(access))
    bench.arrive(SECOND_NS)
    small, bad, good = (2 * SECOND_NS + number * SECOND_NS // 3 for number in range(3))
    bench.frames.put(frame(small, ImageSize(24, 32)))
    bench.frames.put(Frame(bad, 'camera', damaged, 100, lambda: SIZE))
    for stamp_ns in (good, 3 * SECOND_NS):
        bench.arrive(stamp_ns)
    bench.answer(SECOND_NS, MIDDLE)
    assert [result.stamp_ns for result in bench.run()] == [3 * SECOND_NS]
    assert bench.policy.looked_at == [bad, good, 3 * SECOND_NS]
    assert bench.lines == [
        f'nothing is followed in image {bad}: compressed image is damaged.']
    bench.arrive(3 * SECOND_NS + 1)
    assert len(bench.run()) == 2
    assert len(bench.lines) == 1
    bench.close()


def test_close_when_something_else_is_spoken_then_it_does_not_wait_for_that(bench):
    spoken = let_speak(bench.worker)
    bench.answer(1, MIDDLE)
    bench.arrive(2)
    assert bench.tracking.close(WAIT_S)
    assert not spoken.is_set()
    spoken.set()
    assert bench.run() == []


def test_close_when_a_step_does_not_end_then_it_says_so_once(bench):
    go_on, began = threading.Event(), threading.Event()
    bench.worker.submit(Priority.WORDS, lambda: (began.set(), go_on.wait(WAIT_S)))
    bench.worker.start()
    assert began.wait(WAIT_S)
    assert not bench.tracking.close(0.01)
    assert bench.tracking.close(WAIT_S)
    assert not go_on.is_set()
    go_on.set()


@pytest.mark.parametrize('policy', ['none', 'redecode'])
def test_close_when_called_then_nothing_is_followed_any_more(policy):
    bench = Bench(policy)
    bench.answer(1, MIDDLE)
    bench.worker.start()
    assert bench.tracking.close()
    bench.arrive(2)
    assert bench.run() == []
    bench.tracking.release()
    assert bench.tracking.policy is None
    bench.close()


def test_numbers_when_the_node_is_configured_again_then_none_is_given_twice(bench):
    assert bench.answer(1, MIDDLE, CORNER).regions[1].track_id == 2
    bench.tracking.close()
    bench.tracking.release()
    bench.tracking.configure(MaskTokenizerSettings(), bench.policy, bench.frames)
    bench.tracking.open()
    assert bench.answer(2, MIDDLE).regions[0].track_id == 3
