# SPDX-License-Identifier: Apache-2.0
"""Goals and questions answered for a caller that waits: how they begin, go on and end."""

import threading
import time
from dataclasses import replace

import pytest
from answering_bench import CANCEL, WAIT_S, benches, frame

from samtok_ros.errors import ConfigError, ImageError, SpanError
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.records import Status
from samtok_ros.runtime.references import CodesReference
from samtok_ros.runtime.requests import Request, Task
from samtok_ros.runtime.tickets import Ended, Phase, Progress, ProgressGate, Stop
from samtok_ros.runtime.worker import Priority
from samtok_ros.settings.grounding import GroundingSettings
from samtok_ros.settings.shared import InputSettings


@pytest.fixture
def make():
    with benches() as make_one:
        yield make_one


def test_goal_when_answered_then_words_and_masks_are_of_the_frame(make):
    bench = make()
    shown = bench.show(frame())
    caller = bench.begin(' Two red mugs')
    outcome = caller.outcome()
    assert (outcome.ended, outcome.message) == (Ended.SUCCEEDED, '')
    result = outcome.result
    assert (result.stamp_ns, result.frame_id, result.goal_id) == (5, 'camera', 0)
    assert (result.status, result.complete, len(result.regions)) == (Status.OK, True, 2)
    assert [r.mask.shape for r in outcome.masks.regions] == [(32, 48)] * 2
    assert shown.last_regions == result.regions
    phases = [progress.phase for progress in caller.progress]
    assert phases[:2] == [Phase.QUEUED, Phase.ENCODING]
    assert phases[-1] == Phase.DECODING
    assert set(phases) == set(Phase)


def test_goal_about_the_newest_image_when_none_has_come_then_it_waits_for_one(make):
    bench = make()
    caller = bench.begin('one mug')
    bench.show(frame(9))
    assert caller.outcome().result.stamp_ns == 9


def test_goal_about_the_newest_image_when_that_is_too_old_then_it_waits_for_a_new_one(make):
    bench = make(GroundingSettings(input=InputSettings(max_age_s=1.0)))
    bench.now_ns = 10_000_000_000
    bench.show(frame(5_000_000_000))
    caller = bench.begin('one mug')
    bench.show(frame(9_500_000_000))
    assert caller.outcome().result.stamp_ns == 9_500_000_000
    # Whoever names a stamp gets it, however old.
    assert bench.begin('one mug', stamp_ns=5_000_000_000).outcome().ended is Ended.SUCCEEDED


def test_goal_about_the_newest_image_when_that_came_before_activation_then_it_waits_for_another(
        make):
    bench = make()
    bench.show(frame(5))
    assert bench.answering.close('deactivated')
    bench.answering.open()
    with pytest.raises(ImageError, match='no image has come since the node was activated'):
        bench.answering.check(Request(Task.ASK, 'What?'), waits_for_image=False)
    caller = bench.begin('one mug')
    # Whoever names its stamp means it.
    assert bench.begin('one mug', stamp_ns=5).outcome().result.stamp_ns == 5
    bench.show(frame(4))
    assert caller.outcome().result.stamp_ns == 4


def test_goal_when_its_image_has_left_the_cache_then_the_next_can_be_about_it_again(make):
    bench = make()
    bench.runtime.frames.resize(1, 10 ** 9)
    bench.show(frame(5))
    go_on = bench.hold_worker()
    caller = bench.begin('one mug', stamp_ns=5)
    bench.show(frame(6))
    with pytest.raises(ImageError):
        bench.runtime.frames.find(5)
    go_on.set()
    caller.outcome()
    assert bench.begin('one cup', stamp_ns=5).outcome().ended is Ended.SUCCEEDED


def test_goal_when_its_time_is_over_before_an_image_comes_then_it_is_aborted(make):
    bench = make()
    outcome = bench.begin('one mug', time_limit_s=0.1).outcome()
    assert outcome.ended is Ended.ABORTED
    assert outcome.result is None
    assert 'the time limit of 0.1 s was over before a new image came' in outcome.message


def test_goal_when_its_image_leaves_the_cache_while_it_waits_then_it_still_has_it(make):
    bench = make()
    bench.show(frame(5))
    go_on = bench.hold_worker()
    caller = bench.begin('one mug', stamp_ns=5)
    bench.runtime.frames.clear()
    go_on.set()
    assert caller.outcome().result.stamp_ns == 5


@pytest.mark.parametrize('request_, kind, text', [
    (Request(Task.GROUND, 'mug', stamp_ns=6), ImageError, 'expected 0.000000005'),
    (Request(Task.GROUND, 'mug', tokenizer_id='x@1'), ConfigError, 'another mask tokenizer'),
    (Request(Task.ASK, 'What?', max_new_tokens=9999), ConfigError, 'max_new_tokens'),
    (Request(Task.ASK, 'What?', references=(CodesReference((1, 999)),)), SpanError, 'region 1'),
])
def test_request_when_it_cannot_be_answered_then_it_is_refused_with_the_reason(
        make, request_, kind, text):
    bench = make()
    bench.show(frame(5))
    with pytest.raises(kind, match=text):
        bench.answering.check(request_)
    with pytest.raises(kind, match=text):
        bench.answering.accept(request_, Priority.ACTION)


def test_request_when_the_node_is_inactive_then_it_is_refused(make):
    bench = make()
    bench.answering.close('over')
    with pytest.raises(ConfigError, match='not active'):
        bench.answering.check(Request(Task.GROUND, 'mug'))


def test_call_when_no_image_has_come_then_it_is_refused_instead_of_waiting(make):
    with pytest.raises(ImageError, match='no image is in the cache'):
        make().answering.check(Request(Task.ASK, 'What?'), waits_for_image=False)


def test_goal_when_cancelled_while_speaking_then_what_was_said_stays(make):
    bench = make(token_s=0.01)
    bench.show(frame())
    caller = bench.begin('many mugs')
    caller.wait_for_region()
    caller.stop()
    outcome = caller.outcome()
    assert (outcome.ended, outcome.message) == (Ended.CANCELLED, CANCEL.message)
    assert (outcome.result.status, outcome.result.message) == (Status.CANCELLED, CANCEL.message)
    assert 0 < len(outcome.result.regions) < 40
    assert outcome.masks is None


@pytest.mark.parametrize('has_image', [True, False])
def test_goal_when_cancelled_before_the_model_is_free_then_it_ends_at_once(make, has_image):
    bench = make()
    if has_image:
        bench.show(frame())
    go_on = bench.hold_worker()
    caller = bench.begin('one mug')
    caller.stop()
    outcome = caller.outcome()
    assert (outcome.ended, outcome.message) == (Ended.CANCELLED, CANCEL.message)
    go_on.set()
    assert bench.runtime.worker.flush(Priority.WORDS, WAIT_S)
    assert bench.statistics.stages() == ()


def test_goal_when_stopped_twice_then_the_first_reason_holds(make):
    bench = make()
    caller = bench.begin('one mug')
    caller.stop()
    caller.stop(Stop(Ended.ABORTED, 'later'))
    assert caller.outcome().ended is Ended.CANCELLED


def test_requests_when_closed_then_all_end_aborted_with_what_was_said(make):
    bench = make(token_s=0.01)
    bench.show(frame())
    speaking = bench.begin('many mugs')
    speaking.wait_for_region()
    waiting = bench.begin('one mug')
    assert bench.answering.close('the node was deactivated', WAIT_S)
    ends = [caller.outcome() for caller in (speaking, waiting)]
    assert [(one.ended, one.message) for one in ends] == [
        (Ended.ABORTED, 'the node was deactivated')] * 2
    assert ends[0].result.regions


@pytest.mark.parametrize('limits', [
    {'max_new_tokens': 40}, {'max_masks': 2}, {'time_limit_s': 0.3}])
def test_goal_when_a_limit_is_reached_then_it_succeeds_truncated(make, limits):
    bench = make(token_s=0.002)
    bench.show(frame())
    outcome = bench.begin('many mugs', **limits).outcome()
    assert (outcome.ended, outcome.result.status) == (Ended.SUCCEEDED, Status.TRUNCATED)
    assert 0 < len(outcome.result.regions) < 40
    assert len(outcome.masks.regions) == len(outcome.result.regions)


def test_goal_when_memory_runs_out_then_it_is_aborted_and_the_next_works(make):
    bench = make(fail_every=2)
    bench.show(frame())
    outcomes = [bench.begin('two mugs').outcome() for _ in range(3)]
    assert [one.ended for one in outcomes] == [Ended.SUCCEEDED, Ended.ABORTED, Ended.SUCCEEDED]
    failed = outcomes[1]
    assert 'out of memory' in failed.message
    assert (failed.result.status, failed.result.message) == (Status.FAILED, failed.message)
    assert failed.result.answer
    assert bench.problems.counts() == {'answer_failed': 1}


def test_goal_when_something_unforeseen_happens_then_it_is_aborted_and_the_trace_is_logged(make):
    bench = make()
    bench.show(frame())
    answer = bench.model.answer
    bench.model.answer = lambda *arguments: iter([1 / 0])
    outcome = bench.begin('two mugs').outcome()
    assert outcome.ended is Ended.ABORTED
    assert 'ZeroDivisionError' in outcome.message
    assert 'Traceback' in bench.lines[0]
    bench.model.answer = answer
    assert bench.begin('two mugs').outcome().ended is Ended.SUCCEEDED


def test_goal_when_its_image_cannot_be_read_then_it_is_aborted_with_the_reason(make):
    bench = make()

    def broken():
        raise ImageError('image data are too short')

    bench.show(Frame(5, 'camera', broken, 10))
    outcome = bench.begin('two mugs').outcome()
    assert (outcome.ended, outcome.message) == (Ended.ABORTED, 'image data are too short.')


def test_goal_when_it_speaks_then_short_calls_get_in_and_questions_wait(make):
    bench = make(token_s=0.005)
    bench.show(frame())
    goal = bench.begin('many mugs')
    goal.wait_for_region()
    question = bench.begin('What is it?', Task.ASK, Priority.QUESTION)
    called = threading.Event()
    bench.runtime.worker.submit(Priority.SERVICE, called.set)
    assert called.wait(WAIT_S)
    assert [one.phase for one in question.progress][1:] == []
    goal.stop()
    assert goal.outcome().ended is Ended.CANCELLED
    assert question.outcome().ended is Ended.SUCCEEDED


def test_question_when_a_goal_cuts_in_then_it_ends_as_it_would_have(make):
    alone = make()
    alone.show(frame())
    expected = alone.ask('Which many things?').result
    bench = make(token_s=0.001)
    bench.show(frame())
    question = bench.begin('Which many things?', Task.ASK, Priority.QUESTION)
    question.wait_for_region()
    goal = bench.begin('one mug').outcome()
    assert goal.ended is Ended.SUCCEEDED
    assert not question.ticket.stop
    result = question.outcome().result
    assert (result.answer, result.status) == (expected.answer, expected.status)


def test_settings_when_changed_then_the_next_request_has_them(make):
    bench = make()
    bench.show(frame())
    settings = GroundingSettings()
    bench.answering.change_settings(replace(settings, limits=replace(settings.limits, max_masks=1)))
    assert len(bench.begin('three mugs').outcome().result.regions) == 1


def test_flood_when_an_answer_never_stops_then_the_limits_hold_and_feedback_stays_rare(make):
    bench = make(flood='masks')
    bench.show(frame())
    caller = bench.begin('mugs')
    assert len(caller.outcome().result.regions) == 64
    assert caller.ticket.token_count <= 512
    spoken = [one for one in caller.progress if one.phase is Phase.GENERATING]
    assert len(spoken) < caller.ticket.token_count / 4


def test_gate_when_progress_comes_fast_then_ten_a_second_get_out_and_news_at_once():
    clock, told = [0.0], []
    gate = ProgressGate(told.append, lambda: clock[0])

    def tell(tick, phase, regions=0):
        clock[0] = tick / 32
        gate.tell(phase, lambda: Progress(phase, token_count=tick), regions)

    tell(100, Phase.QUEUED)
    tell(101, Phase.ENCODING)
    for tick in range(102, 120):
        tell(tick, Phase.GENERATING, regions=(tick - 102) // 5)
    tell(120, Phase.DECODING)
    assert [(one.phase, one.token_count) for one in told] == [
        (Phase.QUEUED, 100), (Phase.ENCODING, 101), (Phase.GENERATING, 102),
        (Phase.GENERATING, 106),  # four ticks are more than a tenth of a second
        (Phase.GENERATING, 107),  # the first region
        (Phase.GENERATING, 111), (Phase.GENERATING, 115), (Phase.GENERATING, 119),
        (Phase.DECODING, 120)]


def test_worker_when_it_is_gone_then_a_request_ends_instead_of_waiting_for_ever(make):
    bench = make()
    bench.show(frame())
    go_on = bench.hold_worker()
    caller = bench.begin('one mug')
    while not bench.runtime.worker.waiting:
        time.sleep(0.001)
    assert not bench.runtime.worker.stop(0.0)
    go_on.set()
    assert 'the model is gone' in caller.outcome().message
