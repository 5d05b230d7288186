# SPDX-License-Identifier: Apache-2.0
"""One thread that owns the models: nothing else runs them.

Jobs go by priority; the stream of camera frames runs when nothing else waits. A long job lets more
urgent ones in between two of its steps by calling `let_urgent_in`.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from enum import IntEnum
from typing import TypeVar

from samtok_ros.errors import DeviceError
from samtok_ros.runtime.memory import explained

Result = TypeVar('Result')
Job = Callable[[], None]
Step = Callable[[], bool]

_BEFORE_ALL = -1
"""More urgent than any priority; for jobs that take no time."""

logger = logging.getLogger(__name__)


class Priority(IntEnum):
    """The lower the more urgent; cancelling needs no job, it is a flag that jobs look at."""

    ACTION = 0
    SERVICE = 1
    QUESTION = 2
    WORDS = 3
    TRACK = 4
    STREAM = 5


class Worker:
    """Runs jobs and stream steps in one thread of its own."""

    def __init__(
        self, name: str = 'samtok_worker', on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        """Prepare; `start` starts the thread.

        Args:
            name: of the thread.
            on_error: told of an exception that a job let out; the worker goes on.
        """
        self._name = name
        self._on_error = on_error or (lambda error: logger.error('a job failed', exc_info=error))
        self._wake = threading.Condition()
        self._jobs: list[tuple[int, int, Job]] = []
        self._calls: set[Future] = set()
        self._order = itertools.count()
        self._steps: list[Step] = []
        self._running_step: Step | None = None
        self._news = False
        self._sleeping = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def report_to(self, on_error: Callable[[Exception], None]) -> None:
        """Tell somebody else of exceptions from now on."""
        self._on_error = on_error

    def start(self, timeout_s: float = 10.0) -> None:
        """Start the thread; without effect when it runs.

        Args:
            timeout_s: how long to wait for a thread that was stopped and is still busy.
        Raises:
            DeviceError: it is busy for longer.
        """
        if self.is_running:
            if not self._stopping:
                return
            self._thread.join(timeout_s)
            if self.is_running:
                raise DeviceError('the model is still busy with a step from before it was stopped',
                                  fix='try again later, or start the process again')
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Forget waiting jobs and join the thread; False when it is still busy after the time.

        Calls that wait for their turn fail.
        """
        with self._wake:
            self._stopping = True
            self._jobs.clear()
            self._end_calls()
            self._tell()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    @property
    def is_running(self) -> bool:
        """True while the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_idle(self) -> bool:
        """True while it has nothing left to do."""
        with self._wake:
            return not self.is_running or (
                self._sleeping and not (self._news or self._jobs))

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    def submit(self, priority: int, job: Job) -> None:
        """Queue a job."""
        with self._wake:
            heapq.heappush(self._jobs, (priority, next(self._order), job))
            self._tell()

    def call(self, priority: Priority, job: Callable[[], Result]) -> Result:
        """Run a job in the worker's thread, wait for it and return or raise what it does.

        Raises:
            DeviceError: the worker is stopped before the job begins.
        """
        if not self.is_running or threading.current_thread() is self._thread:
            return job()
        done: Future[Result] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(job())
            except BaseException as error:
                done.set_exception(error)

        with self._wake:
            if self._stopping:
                raise _stopped()
            self._calls.add(done)
            self.submit(priority, run)
        try:
            return done.result()
        except CancelledError:
            raise _stopped() from None
        finally:
            with self._wake:
                self._calls.discard(done)

    def wake(self) -> None:
        """Let the stream steps look whether there is work."""
        with self._wake:
            self._tell()

    def add_stream(self, step: Step) -> None:
        """Call `step` whenever no job waits; it returns True when it did something."""
        with self._wake:
            self._steps.append(step)
            self._tell()

    def remove_stream(self, step: Step, timeout_s: float = 10.0) -> bool:
        """Stop calling `step`; waits until it is not running, False after the time."""
        deadline = time.monotonic() + timeout_s
        with self._wake:
            if step in self._steps:
                self._steps.remove(step)
            while self._running_step == step and self.is_running:
                if threading.current_thread() is self._thread:
                    return True
                if not self._wake.wait(deadline - time.monotonic()):
                    return False
        return True

    def flush(self, priority: Priority, timeout_s: float = 10.0) -> bool:
        """Wait until the jobs of this priority that wait now are done; False after the time."""
        return self._wait_for_turn(priority, timeout_s)

    def settle(self, timeout_s: float = 10.0) -> bool:
        """Wait until what runs now is done or lets others in; False after the time.

        Jobs that wait go on waiting: whoever does not want theirs any more must tell them so.
        """
        return self._wait_for_turn(_BEFORE_ALL, timeout_s)

    def let_urgent_in(self, priority: Priority) -> None:
        """Run all waiting jobs that are more urgent than `priority`; for the worker thread only."""
        while True:
            with self._wake:
                if not self._jobs or self._jobs[0][0] >= priority or self._stopping:
                    return
                job = heapq.heappop(self._jobs)[2]
            self._guarded(job)

    def _wait_for_turn(self, priority: int, timeout_s: float) -> bool:
        if not self.is_running or threading.current_thread() is self._thread:
            return True
        done = threading.Event()
        self.submit(priority, done.set)
        return done.wait(timeout_s)

    def _end_calls(self) -> None:
        for done in self._calls:
            done.cancel()  # Without effect on one that has begun.

    def _tell(self) -> None:
        self._news = True
        self._wake.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._news = False
                self.let_urgent_in(Priority.STREAM)
                if not self._run_steps():
                    self._sleep()
        finally:
            with self._wake:
                self._stopping = True
                self._end_calls()

    def _run_steps(self) -> bool:
        busy = False
        for step in tuple(self._steps):
            with self._wake:
                if self._stopping or step not in self._steps:
                    continue
                self._running_step = step
            busy |= bool(self._guarded(step))
            with self._wake:
                self._running_step = None
                self._wake.notify_all()
        return busy

    def _sleep(self) -> None:
        with self._wake:
            self._sleeping = True
            while not (self._news or self._stopping):
                self._wake.wait()
            self._sleeping = False

    def _guarded(self, work: Job | Step) -> bool | None:
        try:
            return work()
        except Exception as error:  # One bad frame must not leave the node without a worker.
            self._on_error(explained(error))
            return True


def _stopped() -> DeviceError:
    return DeviceError('the model is being stopped', fix='try again when it is there again')
