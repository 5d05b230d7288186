# SPDX-License-Identifier: Apache-2.0
"""Goals that reached one of two nodes only: which one the mask tokenizer node follows."""

import pytest
from tracking_bench import CORNER, MIDDLE, SECOND_NS, Bench, frame

from samtok_ros.runtime.records import Status


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.close()


def is_followed(bench, answer):
    """Say whether the next image is searched for what an answer names."""
    outdated = bench.tracking.is_outdated(answer)
    bench.arrive(answer.stamp_ns + 1)
    last = bench.run()[-1:]
    followed = [result.goal for result in last if result.stamp_ns == answer.stamp_ns + 1]
    assert followed == ([] if outdated else [answer.goal])
    return not outdated


def test_goal_when_only_the_grounding_node_heard_it_then_its_first_answer_is_followed(bench):
    bench.answer(1, MIDDLE)
    bench.tracking.goal_changed('cups')
    assert is_followed(bench, bench.answer(2, MIDDLE, goal='cups', goal_id=2))
    # Even on the same image: its number tells that it came later.
    assert is_followed(bench, bench.answer(2, CORNER, goal='bowls', goal_id=3))
    assert bench.problems.counts() == {'goal_missed': 1}
    assert 'a goal has reached only one of the two nodes' in bench.lines[0]


def test_goal_when_only_the_grounding_node_heard_it_then_what_was_followed_ends_without_an_image(
        bench):
    bench.answer(1, MIDDLE)
    bench.tracking.goal_changed('mugs')
    bench.now += 1.0
    # Its words alone, whose image does not come.
    bench.tracking.words_arrived(bench.decoded(
        bench.arrive(2 * SECOND_NS), goal='cups', goal_id=2))
    end = bench.run()[-1]
    assert (end.status, end.message) == (
        Status.CANCELLED, 'nothing is followed any more: there is a new goal')


@pytest.mark.parametrize('text', ['cups', ''])
def test_goal_when_only_this_node_heard_it_then_the_answers_that_go_on_are_followed_again(
        bench, text):
    bench.answer(SECOND_NS, MIDDLE)
    bench.tracking.goal_changed(text)
    assert bench.run()[-1].status is Status.CANCELLED
    bench.now += 1.0
    assert is_followed(bench, bench.answer(2 * SECOND_NS, MIDDLE))
    assert bench.problems.counts() == {'goal_missed': 1}
    # It is said again, to both now.
    bench.tracking.goal_changed('cups')
    assert is_followed(bench, bench.answer(3 * SECOND_NS, MIDDLE, goal='cups', goal_id=2))
    assert bench.problems.counts() == {'goal_missed': 1}


@pytest.mark.parametrize('later_s, stamp_ns, fields', [
    (0.1, 3 * SECOND_NS, {}),
    (9.0, SECOND_NS + SECOND_NS // 30, {}),
    (9.0, 3 * SECOND_NS, {'complete': False}),
    (9.0, 3 * SECOND_NS, {'status': Status.CANCELLED}),
    (9.0, 3 * SECOND_NS, {'goal_id': 0}),
], ids=['just now', 'image from before', 'not complete', 'cancelled', 'of no goal'])
def test_goal_when_set_just_now_then_the_last_answers_to_the_one_before_do_not_undo_it(
        bench, later_s, stamp_ns, fields):
    bench.answer(SECOND_NS, MIDDLE)
    bench.tracking.goal_changed('cups')
    bench.run()
    bench.now += later_s
    assert not is_followed(bench, bench.answer(stamp_ns, CORNER, **fields))
    assert bench.problems.counts() == {}


def test_goal_when_it_is_set_back_then_answers_to_the_one_in_between_do_not_undo_it(bench):
    bench.answer(1, MIDDLE)
    for text in ('cups', 'mugs'):
        bench.tracking.goal_changed(text)
    bench.answer(2, MIDDLE)
    assert not is_followed(bench, bench.answer(3, CORNER, goal='cups', goal_id=2))
    assert is_followed(bench, bench.answer(4, MIDDLE, goal_id=3))
    assert bench.problems.counts() == {}


def test_goal_when_time_jumps_back_then_answers_in_the_new_time_still_overrule_it(bench):
    bench.answer(100 * SECOND_NS, MIDDLE)
    bench.tracking.goal_changed('cups')
    bench.frames.forget_after(SECOND_NS)
    bench.tracking.forget()
    bench.run()
    bench.now += 1.0
    assert is_followed(bench, bench.answer(SECOND_NS, MIDDLE))


def test_goal_when_words_come_before_their_image_then_they_overrule_it_all_the_same(bench):
    bench.answer(SECOND_NS, MIDDLE)
    bench.tracking.goal_changed('cups')
    bench.now += 1.0
    later = bench.decoded(frame(3 * SECOND_NS), MIDDLE)
    bench.tracking.words_arrived(later)
    answer = bench.tracking.take_answer(later, bench.arrive(3 * SECOND_NS))
    assert is_followed(bench, answer)
