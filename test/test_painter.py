# SPDX-License-Identifier: Apache-2.0
"""The thread that paints pictures for people."""

import os
import sys
import threading

import pytest

from samtok_ros.runtime.painter import Painter

WAIT_S = 30


class Bench:
    """A painter that waits with each item until it is let go on."""

    def __init__(self):
        self.begun, self.go, self.ended = (threading.Semaphore(0) for _ in range(3))
        self.painted, self.errors, self.nice = [], [], []
        self.painter = Painter(self._paint, self.errors.append)
        self.painter.open()

    def _paint(self, item):
        self.nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        self.begun.release()
        assert self.go.acquire(timeout=WAIT_S)
        if isinstance(item, Exception):
            raise item
        self.painted.append(item)
        self.ended.release()

    def wait_begun(self):
        assert self.begun.acquire(timeout=WAIT_S)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    for _ in range(10):
        bench.go.release()
    assert bench.painter.close(WAIT_S)


def test_items_when_they_come_faster_than_they_are_painted_then_only_the_newest_waits(bench):
    bench.painter.put(1)
    bench.wait_begun()
    for item in (2, 3, 4):
        bench.painter.put(item)
    for _ in range(2):
        bench.go.release()
    bench.wait_begun()
    assert bench.painter.close(WAIT_S)
    assert bench.painted == [1, 4]


def test_item_when_it_fails_then_that_is_reported_and_the_next_is_painted(bench):
    for item in (ValueError('ink'), 2):
        bench.painter.put(item)
        bench.wait_begun()
        bench.go.release()
    assert bench.painter.close(WAIT_S)
    assert bench.painted == [2]
    assert [str(error) for error in bench.errors] == ['ink']


def test_thread_when_nothing_is_to_be_painted_then_there_is_none(bench):
    assert not bench.painter.is_running
    assert bench.painter.close(WAIT_S)
    bench.painter.put(1)
    assert not bench.painter.is_running, 'closed: nothing is taken'


def test_painter_when_closed_then_what_waits_is_forgotten_and_it_can_be_opened_again(bench):
    bench.painter.put(1)
    bench.wait_begun()
    bench.painter.put(2)
    assert not bench.painter.close(timeout_s=0.01), 'still busy with the first'
    bench.go.release()
    assert bench.ended.acquire(timeout=WAIT_S)
    bench.painter.open()
    bench.painter.put(3)
    bench.go.release()
    bench.wait_begun()
    assert bench.painter.close(WAIT_S)
    assert bench.painted == [1, 3]


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux has priorities of threads')
def test_painter_when_it_paints_then_its_thread_alone_has_a_low_priority(bench):
    bench.painter.put(1)
    bench.wait_begun()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert bench.nice == [min(19, own + 10)]
