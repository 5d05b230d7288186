# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns the models."""

import sys
import threading
from concurrent.futures import Future

import pytest
from tracking_bench import let_speak

from samtok_ros.errors import DeviceError
from samtok_ros.runtime.worker import Priority, Worker

WAIT_S = 20


@pytest.fixture
def worker():
    worker = Worker()
    worker.start()
    yield worker
    assert worker.stop(WAIT_S)
    assert not worker.is_running


def held(worker):
    """Keep the worker busy until the event that is returned is set."""
    started, go_on = threading.Event(), threading.Event()
    worker.submit(Priority.ACTION, lambda: (started.set(), go_on.wait(WAIT_S)))
    assert started.wait(WAIT_S)
    return go_on


def in_a_thread(function, *arguments):
    """Call a function in a thread that nobody has to wait for; return the future result."""
    future = Future()

    def run():
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def test_jobs_when_they_wait_then_the_most_urgent_goes_first_and_equals_in_order(worker):
    done = []
    go_on = held(worker)
    for priority, name in [(Priority.WORDS, 'words 1'), (Priority.SERVICE, 'service'),
                           (Priority.WORDS, 'words 2'), (Priority.ACTION, 'action')]:
        worker.submit(priority, lambda name=name: done.append(name))
    assert worker.waiting == 4
    go_on.set()
    assert worker.flush(Priority.WORDS, WAIT_S)
    assert done == ['action', 'service', 'words 1', 'words 2']


def test_job_when_it_lets_urgent_ones_in_then_only_more_urgent_ones_run(worker):
    done = []
    go_on = held(worker)

    def long_job():
        done.append('start')
        worker.submit(Priority.SERVICE, lambda: done.append('service'))
        worker.submit(Priority.WORDS, lambda: done.append('words'))
        worker.let_urgent_in(Priority.WORDS)
        done.append('end')

    worker.submit(Priority.WORDS, long_job)
    go_on.set()
    worker.flush(Priority.WORDS, WAIT_S)
    assert worker.flush(Priority.WORDS, WAIT_S)
    assert done == ['start', 'service', 'end', 'words']


def test_settle_when_a_job_lets_others_in_then_it_does_not_wait_for_its_end(worker):
    over = let_speak(worker)
    worker.submit(Priority.WORDS, lambda: None)
    assert worker.settle(WAIT_S)
    assert not worker.flush(Priority.WORDS, 0.01)
    over.set()
    assert worker.flush(Priority.WORDS, WAIT_S)


def test_settle_when_a_job_lets_nobody_in_then_it_ends_with_its_time(worker):
    go_on = held(worker)
    assert not worker.settle(0.01)
    go_on.set()
    assert worker.settle(WAIT_S)


def test_stream_when_woken_then_its_step_runs_until_nothing_is_left(worker):
    items, done, empty = list(range(5)), [], threading.Event()

    def step():
        if not items:
            empty.set()
            return False
        done.append(items.pop(0))
        return True

    worker.add_stream(step)
    assert empty.wait(WAIT_S)
    empty.clear()
    items.append(9)
    worker.wake()
    assert empty.wait(WAIT_S)
    assert done == [0, 1, 2, 3, 4, 9]


def test_stream_when_removed_then_the_call_returns_after_the_running_step(worker):
    running, go_on, ended = threading.Event(), threading.Event(), []

    def step():
        running.set()
        go_on.wait(WAIT_S)
        ended.append(True)
        return True

    worker.add_stream(step)
    assert running.wait(WAIT_S)
    assert not worker.remove_stream(step, timeout_s=0.01)
    go_on.set()
    assert worker.remove_stream(step, WAIT_S)
    count = len(ended)
    assert worker.flush(Priority.WORDS, WAIT_S)
    assert len(ended) == count


def test_job_when_it_fails_then_it_is_told_and_the_next_runs(worker):
    errors, done = [], threading.Event()
    worker.report_to(errors.append)
    worker.submit(Priority.ACTION, lambda: 1 / 0)
    worker.submit(Priority.ACTION, done.set)
    assert done.wait(WAIT_S)
    assert isinstance(errors[0], ZeroDivisionError)


def test_worker_when_stopped_then_it_can_start_again_and_old_jobs_are_gone(worker):
    done = []
    go_on = held(worker)
    worker.submit(Priority.WORDS, lambda: done.append('old'))
    stopper = threading.Thread(target=worker.stop)
    stopper.start()
    while worker.waiting:
        pass
    go_on.set()
    stopper.join()
    worker.start()
    worker.submit(Priority.WORDS, lambda: done.append('new'))
    assert worker.flush(Priority.WORDS, WAIT_S)
    assert done == ['new']


def test_worker_when_stopped_from_its_own_thread_then_it_does_not_wait_for_itself(worker):
    result = []
    worker.submit(Priority.ACTION, lambda: result.append(worker.stop()))
    while worker.is_running:
        pass
    assert result == [True]


def test_worker_when_an_old_step_is_still_busy_then_it_starts_after_it_or_says_so(worker):
    go_on = held(worker)
    assert not worker.stop(0.0)
    with pytest.raises(DeviceError, match='still busy with a step from before'):
        worker.start(0.0)
    started = in_a_thread(worker.start, WAIT_S)
    go_on.set()
    started.result(WAIT_S)
    assert in_a_thread(worker.call, Priority.SERVICE, lambda: 5).result(WAIT_S) == 5


def test_call_when_the_worker_is_stopped_before_its_turn_then_it_fails(worker):
    go_on = held(worker)
    waits = in_a_thread(worker.call, Priority.SERVICE, lambda: 5)
    while not worker.waiting:
        pass
    assert not worker.stop(0.0)
    comes_late = in_a_thread(worker.call, Priority.SERVICE, lambda: 5)
    for call in (waits, comes_late):
        with pytest.raises(DeviceError, match='the model is being stopped'):
            call.result(WAIT_S)
    go_on.set()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_call_when_the_thread_ends_before_its_turn_then_it_fails(worker):
    go_on = held(worker)
    worker.submit(Priority.ACTION, sys.exit)
    waits = in_a_thread(worker.call, Priority.SERVICE, lambda: 5)
    while worker.waiting < 2:
        pass
    go_on.set()
    with pytest.raises(DeviceError, match='the model is being stopped'):
        waits.result(WAIT_S)


def test_call_when_its_job_is_running_at_the_stop_then_it_gets_its_result(worker):
    running, go_on = threading.Event(), threading.Event()
    call = in_a_thread(worker.call, Priority.SERVICE,
                       lambda: (running.set(), go_on.wait(WAIT_S))[1])
    assert running.wait(WAIT_S)
    assert not worker.stop(0.0)
    go_on.set()
    assert call.result(WAIT_S)
