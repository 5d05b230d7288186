# SPDX-License-Identifier: Apache-2.0
"""What was said of a goal is taken back when it is cleared, once, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest

from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.records import FrameResult, Status
from samtok_ros.runtime.withdrawal import Withdrawal

ANSWER = FrameResult(5, 'camera', ImageSize(8, 8), 'fake@1', 'mugs', 3, 'a mug', True,
                     (Region(1, (7, 7), 'mug', 0.9),), malformed_count=1)


class Bench:
    def __init__(self):
        self.said = []
        self.frames = FrameCache(10, 10_000)
        self.withdrawal = Withdrawal(self.said.append, self.frames)

    def publish(self, words):
        self.said.append(words)
        self.withdrawal.note(words)

    def clear(self, last_id):
        self.withdrawal.clear(last_id)
        return self.steps()

    def steps(self):
        """Let the worker look twice; return what it said."""
        said = len(self.said)
        self.withdrawal.step()
        self.withdrawal.step()
        return self.said[said:]


@pytest.fixture
def bench():
    return Bench()


def test_goal_when_cleared_then_its_answer_is_taken_back_once_for_the_newest_image(bench):
    bench.publish(ANSWER)
    assert bench.steps() == []
    bench.frames.put(Frame(9, 'other', lambda: np.zeros((4, 6, 3), np.uint8), 72))
    (taken_back,) = bench.clear(3)
    assert taken_back == replace(
        ANSWER, stamp_ns=9, frame_id='other', size=ImageSize(4, 6), answer='', regions=(),
        malformed_count=0, status=Status.CANCELLED, message='the goal was cleared')
    assert bench.clear(3) == []


def test_goal_when_cleared_and_no_image_is_here_then_the_one_of_the_answer_is_named(bench):
    bench.publish(ANSWER)
    assert [words.stamp_ns for words in bench.clear(4)] == [5]


def test_goal_when_cleared_before_anything_was_said_then_nothing_is(bench):
    bench.frames.put(Frame(9, 'camera', lambda: np.zeros((4, 6, 3), np.uint8), 72))
    assert bench.clear(1) == []


@pytest.mark.parametrize('last', [
    {'status': Status.CANCELLED}, {'status': Status.NO_TARGET, 'regions': ()}, {'regions': ()}])
def test_goal_when_the_last_answer_left_nothing_to_go_by_then_nothing_is_taken_back(bench, last):
    bench.publish(ANSWER)
    bench.publish(replace(ANSWER, **last))
    assert bench.clear(3) == []


@pytest.mark.parametrize('last', [{'status': Status.FAILED, 'regions': ()}, {'complete': False}])
def test_goal_when_a_later_answer_changed_nothing_then_the_one_before_is_taken_back(bench, last):
    bench.publish(ANSWER)
    bench.publish(replace(ANSWER, stamp_ns=6, **last))
    assert len(bench.clear(3)) == 1


def test_answer_when_its_goal_came_after_the_clear_then_it_stands(bench):
    bench.withdrawal.clear(3)
    bench.publish(replace(ANSWER, goal_id=4))
    assert bench.steps() == []
    # One that was complete just before the clear, and goes out just after it, does not.
    bench.publish(ANSWER)
    assert len(bench.steps()) == 1


def test_goals_when_they_are_numbered_anew_then_an_old_clear_is_forgotten(bench):
    bench.withdrawal.clear(3)
    bench.withdrawal.forget()
    bench.publish(replace(ANSWER, goal_id=1))
    assert bench.steps() == []
