# SPDX-License-Identifier: Apache-2.0
"""Calls that run in the worker while the caller waits."""

import threading

import pytest

from samtok_ros.errors import ConfigError, DeviceError, SpanError
from samtok_ros.runtime.calls import WorkerCalls
from samtok_ros.runtime.worker import Priority, Worker

WAIT_S = 30


@pytest.fixture
def errors():
    return []


@pytest.fixture
def worker(errors):
    worker = Worker(on_error=errors.append)
    worker.start()
    yield worker
    assert worker.stop(WAIT_S)


@pytest.fixture
def calls(worker):
    calls = WorkerCalls(worker)
    calls.open()
    return calls


def fail(error):
    raise error


class Busy:
    """Keeps the worker busy until it is told to end."""

    def __init__(self, worker):
        self._end, begun = threading.Event(), threading.Event()
        worker.submit(Priority.ACTION, lambda: (begun.set(), self._end.wait(WAIT_S)))
        assert begun.wait(WAIT_S)

    def end(self):
        self._end.set()


def in_thread(function):
    """Run a function in a thread; return the thread and where its result or error will be."""
    found = []

    def run():
        try:
            found.append(function())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_call_when_made_then_it_runs_in_the_worker_and_its_result_comes_back(calls):
    names = [calls.run(lambda: threading.current_thread().name, WAIT_S) for _ in range(2)]
    assert names == ['samtok_worker'] * 2


def test_call_when_its_work_is_refused_then_the_caller_gets_the_error_and_nobody_else(
        calls, errors):
    with pytest.raises(SpanError, match='no such code'):
        calls.run(lambda: fail(SpanError('no such code')), WAIT_S)
    assert errors == []


def test_call_when_its_work_has_a_bug_then_the_caller_hears_it_and_the_worker_reports_it(
        calls, errors):
    with pytest.raises(DeviceError, match="the model failed: got KeyError\\('x'\\)"):
        calls.run(lambda: fail(KeyError('x')), WAIT_S)
    assert calls.run(lambda: 5, WAIT_S) == 5
    assert [type(error) for error in errors] == [KeyError]


def test_call_when_the_device_is_out_of_memory_then_the_caller_hears_the_way_out(calls, errors):
    with pytest.raises(DeviceError, match='out of memory'):
        calls.run(lambda: fail(RuntimeError('CUDA out of memory. Tried to allocate')), WAIT_S)
    assert errors == []


def test_call_when_the_worker_is_busy_then_it_is_given_up_and_never_runs(calls, worker):
    busy, ran = Busy(worker), []
    with pytest.raises(DeviceError, match='the model is busy: expected a free moment within 0.01'):
        calls.run(lambda: ran.append(1), 0.01)
    busy.end()
    assert worker.flush(Priority.WORDS, WAIT_S)
    assert ran == []


def test_call_when_closed_while_it_waits_then_it_fails_at_once_and_never_runs(calls, worker):
    busy, ran = Busy(worker), []
    thread, found = in_thread(lambda: calls.run(lambda: ran.append(1), WAIT_S))
    while not worker.waiting:
        thread.join(0.001)
    calls.close()
    thread.join(WAIT_S)
    assert isinstance(found[0], ConfigError)
    busy.end()
    assert worker.flush(Priority.WORDS, WAIT_S)
    assert ran == []


def test_call_when_closed_or_opened_again_then_it_is_refused_or_taken(calls):
    calls.close()
    with pytest.raises(ConfigError, match='no longer active. Activate it'):
        calls.run(lambda: 1, WAIT_S)
    calls.open()
    assert calls.run(lambda: 1, WAIT_S) == 1


def test_calls_when_many_come_at_once_then_each_gets_its_own_result(calls):
    threads = [in_thread(lambda number=number: calls.run(lambda: number * number, WAIT_S))
               for number in range(20)]
    for thread, _ in threads:
        thread.join(WAIT_S)
    assert [found for _, found in threads] == [[number * number] for number in range(20)]
