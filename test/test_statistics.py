# SPDX-License-Identifier: Apache-2.0
"""Counts, durations, rates and problems."""

import pytest

from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.statistics import Statistics


class Time:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


def test_percentile_when_durations_are_known_then_it_is_the_nearest_rank(time):
    statistics = Statistics(time)
    assert statistics.percentile_ms('decode', 50) is None
    for milliseconds in range(100, 0, -1):
        statistics.add_duration('decode', milliseconds / 1000)
    # Of 1..100 ms, half are at most 50 ms and 95 of 100 at most 95 ms.
    assert statistics.percentile_ms('decode', 50) == pytest.approx(50)
    assert statistics.percentile_ms('decode', 95) == pytest.approx(95)
    assert statistics.stages() == ('decode',)


def test_durations_when_there_are_many_then_only_the_newest_count(time):
    statistics = Statistics(time)
    for _ in range(300):
        statistics.add_duration('decode', 1.0)
    for _ in range(256):
        statistics.add_duration('decode', 2.0)
    assert statistics.percentile_ms('decode', 1) == 2000


def test_measure_when_the_stage_fails_then_nothing_is_kept(time):
    statistics = Statistics(time)
    with statistics.measure('embed'):
        time.now += 0.5
    with pytest.raises(ValueError), statistics.measure('embed'):
        raise ValueError
    assert statistics.percentile_ms('embed', 100) == 500


def test_rate_when_events_come_and_stop_then_it_follows(time):
    statistics = Statistics(time)
    assert statistics.age_s('frames_in') is None
    for _ in range(11):
        statistics.tick('frames_in')
        time.now += 0.1
    assert statistics.rate_hz('frames_in') == pytest.approx(10)
    assert statistics.age_s('frames_in') == pytest.approx(0.1)
    time.now += 60
    assert statistics.rate_hz('frames_in') == 0
    assert statistics.total('frames_in') == 11
    statistics.reset()
    assert statistics.total('frames_in') == 0


def test_problem_when_it_repeats_then_it_is_logged_once_per_period_with_the_number(time):
    lines = []
    problems = ProblemLog(lines.append, period_s=5, now=time)
    for _ in range(100):
        problems.report('bad_image', 'too short')
    problems.report('bad_goal', 'too long')
    assert lines == ['too short', 'too long']
    time.now += 6
    problems.report('bad_image', 'too short', 'more')
    assert lines[2] == 'too short (99 more of this kind since)\nmore'
    assert problems.counts() == {'bad_image': 101, 'bad_goal': 1}
    assert problems.last() == 'too short'


def test_problem_when_asked_for_then_only_recent_ones_of_the_kinds_are_given(time):
    problems = ProblemLog(lambda line: None, now=time)
    assert problems.last() == ''
    problems.report('bad_goal', 'too long')
    time.now += 3
    problems.report('bad_image', 'too short')
    assert problems.recent_of(('bad_goal', 'bad_image'), 5) == 'too short'
    assert problems.recent_of(('bad_goal',), 5) == 'too long'
    assert problems.recent_of(('bad_goal',), 2) == ''
    assert problems.recent_of(('other',), 5) == ''
