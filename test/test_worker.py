# SPDX-License-Identifier: Apache-2.0
"""The one thread that owns the models."""

import threading

import pytest

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
