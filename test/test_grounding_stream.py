# SPDX-License-Identifier: Apache-2.0
"""Frames and a standing goal in, words out, without ROS."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import goal_instruction
from samtok_ros.runtime.backend import Question
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.grounding_stream import GroundingStream
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import Status
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.worker import Priority, Worker
from samtok_ros.settings.grounding import GroundingSettings, LimitSettings
from samtok_ros.settings.shared import FakeSettings, InputSettings

WAIT_S = 30


def frame(stamp_ns, broken=False):
    def read():
        if broken:
            raise ImageError('image data are too short')
        return np.full((8, 8, 3), stamp_ns % 251, np.uint8)

    return Frame(stamp_ns, 'camera', read, 192)


class Bench:
    """A stream with its worker; results are collected."""

    def __init__(self, settings=None, **fake):
        self.results = []
        self.changed = threading.Condition()
        self.worker = Worker()
        self.lines = []
        self.statistics = Statistics()
        self.problems = ProblemLog(self.lines.append)
        self.now_ns = 0
        self.frames = FrameCache(1, 10_000)
        self.stream = GroundingStream(self.worker, self.frames, self._publish, self.problems,
                                      self.statistics, lambda: self.now_ns)
        self.settings = settings or GroundingSettings()
        self.stream.configure(self.settings, FakeBackend(FakeSettings(**fake)).load_grounding())
        self.worker.start()

    def _publish(self, result):
        with self.changed:
            self.results.append(result)
            self.changed.notify_all()

    def complete(self):
        return [result for result in self.results if result.complete]

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.complete()) >= count, WAIT_S)
        return self.complete()

    def wait_for(self, condition):
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def make():
    benches = []

    def make_one(*args, **fields):
        benches.append(Bench(*args, **fields))
        return benches[-1]

    yield make_one
    for bench in benches:
        bench.stream.close()
        assert bench.worker.stop(WAIT_S)


EVERY = GroundingSettings(input=InputSettings(every_frame=True, reliability='reliable'))


def test_frame_when_it_comes_before_the_goal_then_it_waits_for_it(make):
    bench = make()
    bench.stream.open()
    bench.stream.put_frame(frame(7))
    bench.stream.set_goal('two mugs', 0)
    (result,) = bench.wait(1)
    assert (result.stamp_ns, result.frame_id, result.goal) == (7, 'camera', 'two mugs')
    assert (result.status, len(result.regions)) == (Status.OK, 2)
    assert result.tokenizer_id == 'fake@0000000000000001'


def test_frames_when_nobody_wants_anything_then_they_are_not_called_dropped(make):
    bench = make()
    bench.stream.open()
    for stamp in range(1, 6):
        bench.stream.put_frame(frame(stamp))
    assert bench.statistics.total('frames_dropped') == 0
    assert bench.statistics.total('frames_without_goal') == 4


def test_frames_when_the_model_is_slow_then_the_newest_is_taken_and_the_others_are_counted(make):
    bench = make(token_s=0.02)
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    bench.stream.put_frame(frame(1))
    bench.wait_for(lambda: not bench.stream.frames_waiting)
    for stamp in (2, 3, 4):
        bench.stream.put_frame(frame(stamp))
    assert [result.stamp_ns for result in bench.wait(2)] == [1, 4]
    assert bench.statistics.total('frames_dropped') == 2


def test_frames_when_every_one_counts_then_all_are_done_in_order_with_the_goal_of_their_time(make):
    bench = make(EVERY)
    bench.stream.set_goal('one mug', 3)
    bench.stream.set_goal('', 6)
    bench.stream.set_goal('two balls', 8)
    for stamp in range(1, 11):
        bench.stream.put_frame(frame(stamp))
    bench.stream.open()
    results = bench.wait(6)
    assert [(r.stamp_ns, r.goal) for r in results] == [
        (3, 'one mug'), (4, 'one mug'), (5, 'one mug'),
        (8, 'two balls'), (9, 'two balls'), (10, 'two balls')]
    assert bench.statistics.total('frames_without_goal') == 4


def test_frames_when_the_queue_is_full_then_the_loss_is_loud(make):
    bench = make(replace(EVERY, input=replace(EVERY.input, queue=2)))
    for stamp in (1, 2, 3):
        bench.stream.put_frame(frame(stamp))
    assert bench.problems.counts() == {'queue_full': 1}
    assert 'image 3 is lost' in bench.lines[0]


@pytest.mark.parametrize('rate_hz, expected', [
    (0.0, [0, 100, 200, 300, 400]),
    (5.0, [0, 200, 400]),
    (10.0, [0, 100, 200, 300, 400]),
    (4.0, [0, 300]),
])
def test_rate_limit_when_set_then_it_counts_in_image_stamps(make, rate_hz, expected):
    bench = make(GroundingSettings(max_rate_hz=rate_hz))
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    for index in range(5):
        bench.stream.put_frame(frame(10**9 + index * 100_000_000))
        bench.wait_for(lambda index=index: index + 1 == bench.statistics.total('frames_dropped')
                       + bench.statistics.total('frames_processed'))
    assert [(r.stamp_ns - 10**9) // 1_000_000 for r in bench.complete()] == expected


def test_frame_when_many_come_during_its_answer_then_it_is_in_the_cache_when_its_words_go_out(make):
    bench = make()
    shown, kept = frame(5), []
    answer = bench.stream._model.answer

    def others_come_meanwhile(result=None):
        kept.append(bench.frames.get(5))
        for stamp in range(10, 20):
            bench.frames.put(frame(stamp))
            bench.frames.protect(frame(stamp))  # Requests that cut in speak of others.

    bench.stream._model.answer = lambda *arguments: others_come_meanwhile() or answer(*arguments)
    bench.stream._publish = others_come_meanwhile
    bench.stream.open()
    bench.stream.set_goal('two mugs', 0)
    bench.stream.put_frame(shown)
    bench.wait_for(lambda: bench.statistics.total('frames_processed'))
    assert kept == [shown] * 4  # As the model begins, with each region, and at the end.


def test_goal_when_it_is_new_then_neither_rate_limit_nor_a_missing_image_holds_it_up(make):
    bench = make(GroundingSettings(max_rate_hz=0.1))
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    bench.stream.put_frame(frame(5))
    bench.wait(1)
    bench.stream.set_goal('two mugs', 0)
    assert [(r.stamp_ns, r.goal_id) for r in bench.wait(2)] == [(5, 1), (5, 2)]


def test_time_when_it_jumps_back_then_the_rate_limit_starts_anew(make):
    bench = make(GroundingSettings(max_rate_hz=1.0))
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    bench.stream.put_frame(frame(10**12))
    bench.wait(1)
    bench.stream.put_frame(frame(10**9))
    assert bench.wait(2)[1].stamp_ns == 10**9


def test_goal_when_it_is_replaced_or_cleared_then_the_answer_in_progress_is_cancelled(make):
    bench = make(token_s=0.02)
    bench.stream.open()
    for text in ('two cups', ''):
        done = len(bench.complete())
        goal = bench.stream.set_goal('many mugs', 0)
        bench.stream.put_frame(frame(5))
        bench.wait_for(lambda goal=goal: any(
            result.goal_id == goal.goal_id for result in list(bench.results)))
        bench.stream.set_goal(text, 0)
        assert bench.wait(done + 1)[done].status == Status.CANCELLED
        if text:
            bench.wait(done + 2)


def test_close_when_the_model_speaks_then_it_returns_soon_and_the_answer_is_cancelled(make):
    bench = make(token_s=0.02)
    bench.stream.open()
    bench.stream.set_goal('many mugs', 0)
    bench.stream.put_frame(frame(5))
    bench.wait_for(lambda: bench.results)
    assert bench.stream.close()
    assert bench.complete()[0].status == Status.CANCELLED
    assert bench.complete()[0].regions


def test_answer_when_the_model_fails_then_it_is_closed_as_failed_with_what_was_said(make):
    bench = make(fail_every=1)
    bench.stream.open()
    bench.stream.set_goal('two mugs', 0)
    bench.stream.put_frame(frame(5))
    (result,) = bench.wait(1)
    assert result.status == Status.FAILED
    assert 'out of memory' in result.message
    assert bench.lines[0].startswith('no answer for image 5: the device ran out of memory')


def test_answer_when_something_unforeseen_happens_then_it_is_closed_and_the_next_is_done(make):
    bench = make()
    told = []
    bench.worker.report_to(told.append)
    model = bench.stream._model
    bench.stream._model = type('Broken', (), {
        'tokenizer_id': 'x@1', 'answer': lambda self, *args: iter([1 / 0])})()
    bench.stream.open()
    bench.stream.set_goal('two mugs', 0)
    bench.stream.put_frame(frame(5))
    assert bench.wait(1)[0].status == Status.FAILED
    bench.wait_for(lambda: told)
    bench.stream._model = model
    bench.stream.put_frame(frame(6))
    assert bench.wait(2)[1].status == Status.OK


def test_frame_when_it_cannot_be_read_then_it_is_dropped_and_the_next_is_done(make):
    bench = make()
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    bench.stream.put_frame(frame(5, broken=True))
    bench.wait_for(lambda: bench.statistics.total('frames_dropped'))
    assert bench.lines == ['image 5 is dropped: image data are too short.']
    bench.stream.put_frame(frame(6))
    assert bench.wait(1)[0].stamp_ns == 6


def test_settings_when_changed_while_running_then_the_next_frame_has_them(make):
    bench = make()
    bench.stream.open()
    bench.stream.set_goal('three mugs', 0)
    bench.stream.change_settings(replace(
        bench.settings, limits=replace(bench.settings.limits, max_masks=1)))
    bench.stream.put_frame(frame(5))
    (result,) = bench.wait(1)
    assert (result.status, len(result.regions)) == (Status.TRUNCATED, 1)


def test_image_when_it_is_too_old_then_it_is_dropped_with_both_stamps_and_the_way_out(make):
    bench = make(GroundingSettings(input=InputSettings(max_age_s=0.5)))
    bench.now_ns = 10_000_000_000
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    bench.stream.put_frame(frame(9_400_000_000))
    bench.wait_for(lambda: bench.statistics.total('frames_stale'))
    assert 'it is 0.600 s old, more than 0.5 s' in bench.lines[0]
    assert 'its stamp is 9.400000000, ROS time is 10.000000000. Set use_sim_time' in bench.lines[0]
    bench.stream.put_frame(frame(9_500_000_000))
    assert [result.stamp_ns for result in bench.wait(1)] == [9_500_000_000]
    assert bench.problems.counts() == {'stale_image': 1}


@pytest.mark.parametrize('now_ns', [0, 100])
def test_image_when_the_clock_has_not_come_or_is_behind_then_it_is_not_too_old(make, now_ns):
    bench = make(GroundingSettings(input=InputSettings(max_age_s=0.001)))
    bench.now_ns = now_ns
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    bench.stream.put_frame(frame(5_000_000_000))
    bench.wait(1)


def test_answer_when_more_urgent_work_cuts_in_then_it_is_what_it_would_have_been(make):
    alone = make()
    alone.stream.open()
    alone.stream.set_goal('three mugs', 0)
    alone.stream.put_frame(frame(5))
    (expected,) = alone.wait(1)

    bench = make(GroundingSettings(limits=LimitSettings(deadline_s=0.5)))
    between = []

    def cut_in():
        between.extend(bench.stream._model.answer(
            np.zeros((8, 8, 3), np.uint8), Question(goal_instruction('four cups'), 'four cups'),
            GenerationLimits(), lambda: False))
        # Longer than the stream's answer may take: the time of others does not count.
        threading.Event().wait(0.6)

    bench.stream.open()
    bench.stream.set_goal('three mugs', 0)
    publish = bench.stream._publish

    def publish_and_cut_in(result):
        publish(result)
        if len(result.regions) == 1:
            bench.worker.submit(Priority.ACTION, cut_in)

    bench.stream._publish = publish_and_cut_in
    bench.stream.put_frame(frame(5))
    (result,) = bench.wait(1)
    assert between[-1].complete
    assert (result.answer, result.status) == (expected.answer, expected.status)
    assert [r.codes for r in result.regions] == [r.codes for r in expected.regions]


def test_answer_when_its_time_is_over_then_it_is_truncated_with_what_was_said(make):
    bench = make(GroundingSettings(limits=LimitSettings(deadline_s=0.2)), token_s=0.01)
    bench.stream.open()
    bench.stream.set_goal('many mugs', 0)
    bench.stream.put_frame(frame(5))
    (result,) = bench.wait(1)
    assert result.status == Status.TRUNCATED
    assert 0 < len(result.regions) < 40


def test_clear_goal_when_the_model_speaks_then_the_answer_is_cancelled_and_images_wait(make):
    bench = make(token_s=0.02)
    bench.stream.open()
    bench.stream.set_goal('many mugs', 0)
    bench.stream.put_frame(frame(5))
    bench.wait_for(lambda: bench.results)
    bench.stream.clear_goal()
    assert bench.wait(1)[0].status == Status.CANCELLED
    bench.stream.put_frame(frame(6))
    bench.stream.put_frame(frame(7))
    assert bench.statistics.total('frames_without_goal') == 1
    assert bench.stream.set_goal('one mug', 0).goal_id == 2


def test_regions_when_an_answer_is_closed_then_their_ids_are_known_until_one_with_regions(make):
    bench = make()
    bench.stream.open()
    shown = frame(5)
    bench.stream.set_goal('two mugs', 0)
    bench.stream.put_frame(shown)
    (first,) = bench.wait(1)
    assert shown.last_regions == first.regions
    bench.stream.set_goal('nothing', 0)
    bench.wait(2)
    assert shown.last_regions == first.regions
    bench.stream.set_goal('one cup', 0)
    last = bench.wait(3)[2]
    assert shown.last_regions == last.regions


def test_time_jump_when_told_then_the_frame_at_hand_is_forgotten(make):
    bench = make()
    bench.stream.put_frame(frame(5))
    bench.stream.time_jumped_back()
    assert bench.stream.frames_waiting == 0
    bench.stream.open()
    bench.stream.set_goal('one mug', 0)
    assert bench.stream.frames_waiting == 0


@pytest.mark.parametrize('text', ['left of <region:1>', '...'])
def test_goal_when_the_model_cannot_be_told_it_then_it_is_refused_and_the_old_one_holds(make, text):
    bench = make()
    bench.stream.set_goal('one mug', 0)
    with pytest.raises(ConfigError, match='a goal of the action ground'):
        bench.stream.set_goal(text, 0)
    assert bench.stream.goals.newest().text == 'one mug'
