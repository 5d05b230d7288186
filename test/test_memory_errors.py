# SPDX-License-Identifier: Apache-2.0
"""Memory that runs out is told as such whoever says it, and what the step held is free again."""

import weakref

import pytest

from samtok_ros.errors import CheckpointError, DeviceError
from samtok_ros.runtime.memory import explained, gpu_memory, resident_bytes
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.worker import Priority, Worker


class Large:
    """Stands for the arrays of a step."""


def fail(error, seen):
    held = Large()
    seen.append(weakref.ref(held))
    raise error


@pytest.mark.parametrize('error', [
    MemoryError(), RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB\nmore'),
    RuntimeError('[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory'),
    RuntimeError('Failed to allocate memory for requested buffer of size 7')])
def test_error_when_memory_ran_out_then_it_says_so_and_nothing_is_held(error):
    seen = []
    try:
        fail(error, seen)
    except Exception as raised:
        told = explained(raised)
        assert seen[0]() is None
    assert isinstance(told, DeviceError)
    assert str(told).startswith('the device ran out of memory')
    assert '\n' not in str(told)


@pytest.mark.parametrize('error', [ValueError('no such thing'), CheckpointError('damaged')])
def test_error_when_it_is_another_one_then_it_stays_what_it_is(error):
    assert explained(error) is error


def test_memory_when_asked_for_then_it_is_a_plausible_number():
    assert 1e6 < resident_bytes() < 1e12
    assert gpu_memory() is None or gpu_memory()['total'] > 0


def test_worker_when_called_then_the_result_or_the_error_comes_back_from_its_thread():
    worker = Worker()
    assert worker.call(Priority.SERVICE, lambda: 1) == 1
    worker.start()
    try:
        assert worker.call(Priority.SERVICE, lambda: 2) == 2
        with pytest.raises(ZeroDivisionError):
            worker.call(Priority.SERVICE, lambda: 1 / 0)
        assert worker.call(Priority.SERVICE, lambda: worker.is_idle) is False
    finally:
        worker.stop()
    assert worker.is_idle


def test_problem_when_it_is_a_failure_then_it_is_logged_as_one_and_long_texts_are_cut():
    warnings, failures = [], []
    problems = ProblemLog(warnings.append, log_failure=failures.append)
    problems.report('answer_failed', 'no answer')
    problems.report('bad_image', 'x' * 100_000)
    assert failures == ['no answer']
    assert len(warnings[0]) < 1100
    assert len(problems.last()) < 1100
