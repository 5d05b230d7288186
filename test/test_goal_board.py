# SPDX-License-Identifier: Apache-2.0
"""Which goal holds for which frame."""

from samtok_ros.runtime.goal_board import GoalBoard


def text_for(board, stamp_ns):
    goal = board.goal_for(stamp_ns)
    return goal and goal.text


def test_goal_when_live_then_the_newest_holds_whatever_its_stamp():
    board = GoalBoard(by_stamp=False)
    assert board.goal_for(5) is None
    first = board.set('mug', 1000)
    assert text_for(board, 5) == 'mug'
    second = board.set('ball', 10)
    assert (first.goal_id, second.goal_id) == (1, 2)
    assert text_for(board, 5) == 'ball'
    assert not board.is_current(first)
    board.set('', 0)
    assert board.goal_for(5) is None
    assert board.newest() is None


def test_goal_when_by_stamp_then_it_holds_from_its_stamp_on_in_whatever_order_they_came():
    board = GoalBoard(by_stamp=True)
    board.set('third', 300)
    board.set('first', 100)
    board.set('', 200)
    assert [text_for(board, ns) for ns in (99, 100, 199, 200, 299, 300, 10**18)] == [
        None, 'first', 'first', None, None, 'third', 'third']


def test_goal_when_by_stamp_and_without_one_then_it_holds_from_the_start():
    board = GoalBoard(by_stamp=True)
    goal = board.set('mug', 0)
    board.set('ball', 50)
    assert [text_for(board, ns) for ns in (1, 49, 50)] == ['mug', 'mug', 'ball']
    assert board.is_current(goal)


def test_goal_when_two_have_the_same_stamp_then_the_later_one_holds():
    board = GoalBoard(by_stamp=True)
    board.set('mug', 7)
    board.set('ball', 7)
    assert text_for(board, 7) == 'ball'


def test_goal_when_it_is_said_again_then_it_holds_already_until_it_is_replaced_or_cleared():
    board = GoalBoard(by_stamp=False)
    assert not board.holds('mug')
    assert not board.holds('')
    board.set('mug', 0)
    assert board.holds('mug')
    assert not board.holds('ball')
    board.set('', 0)
    assert not board.holds('mug')
    assert board.holds('')
    board.set('mug', 0)
    board.clear()
    assert not board.holds('mug')
    assert board.last_id == 3


def test_goal_when_by_stamp_then_saying_it_again_counts():
    board = GoalBoard(by_stamp=True)
    board.set('mug', 5)
    assert not board.holds('mug')


def test_board_when_cleared_then_goals_are_gone_and_when_flooded_then_it_stays_small():
    board = GoalBoard(by_stamp=True)
    for stamp in range(1, 1001):
        board.set('mug', stamp)
    assert board.goal_for(10) is None
    assert board.goal_for(1000).goal_id == 1000
    board.clear()
    assert board.goal_for(1000) is None
