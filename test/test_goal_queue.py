# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is."""

from samtok_ros.runtime.goal_queue import GoalQueue


class Turn:
    def __init__(self, name, begun):
        self.name = name
        self._begun = begun

    def begin(self):
        self._begun.append(self.name)


def make(policy='queue', limit=2, count=4):
    queue, begun = GoalQueue(), []
    queue.configure(policy, limit)
    return queue, begun, [Turn(name, begun) for name in 'abcd'[:count]]


def test_goals_when_queued_then_one_begins_at_a_time_in_order():
    queue, begun, (a, b, c, _) = make()
    for turn in (a, b, c):
        assert not queue.is_full
        assert queue.displaced_by_new() == ()
        queue.add(turn)
    assert begun == ['a']
    assert queue.running is a
    assert queue.waiting == (b, c)
    assert queue.is_full
    queue.finished(a)
    assert begun == ['a', 'b']
    assert not queue.is_full
    queue.finished(b)
    queue.finished(c)
    assert begun == ['a', 'b', 'c']
    assert queue.running is None


def test_goal_when_none_may_wait_then_the_queue_is_full_while_one_runs_only():
    queue, _, (a, *_) = make(limit=0)
    assert not queue.is_full
    queue.add(a)
    assert queue.is_full
    queue.finished(a)
    assert not queue.is_full


def test_goal_when_it_leaves_while_waiting_then_it_begins_at_once_and_is_not_the_running_one():
    queue, begun, (a, b, c, _) = make()
    for turn in (a, b, c):
        queue.add(turn)
    queue.leave(b)
    assert begun == ['a', 'b']
    queue.finished(b)
    assert (queue.running, begun) == (a, ['a', 'b'])
    queue.finished(a)
    assert begun == ['a', 'b', 'c']


def test_goal_when_it_leaves_after_it_began_then_nothing_happens():
    queue, begun, (a, *_) = make()
    queue.add(a)
    queue.leave(a)
    assert begun == ['a']
    assert queue.running is a


def test_goal_when_the_newest_goes_first_then_all_others_are_displaced():
    queue, begun, (a, b, c, _) = make('preempt', 0)
    queue.add(a)
    assert not queue.is_full
    assert queue.displaced_by_new() == (a,)
    queue.add(b)
    # a was told to end and still does; b waits for that.
    assert begun == ['a']
    assert queue.displaced_by_new() == (a, b)
    queue.leave(b)
    queue.add(c)
    queue.finished(b)
    assert begun == ['a', 'b']
    queue.finished(a)
    assert begun == ['a', 'b', 'c']
