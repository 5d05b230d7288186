# SPDX-License-Identifier: Apache-2.0
"""Short calls that run in the worker while the caller waits, for a bounded time."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from samtok_ros.errors import ConfigError, DeviceError, SamtokError
from samtok_ros.runtime.memory import explained
from samtok_ros.runtime.worker import Priority, Worker

Result = TypeVar('Result')


class WorkerCalls:
    """Runs calls in the worker, between two steps of longer jobs."""

    def __init__(self, worker: Worker) -> None:
        """Wire it up; `open` lets calls in.

        Args:
            worker: its thread runs the calls.
        """
        self._worker = worker
        self._lock = threading.Lock()
        self._pending: set[_Call] = set()
        self._open = False

    def open(self) -> None:
        """Start to take calls."""
        self._open = True

    def close(self) -> None:
        """Take no more calls; those that wait fail at once."""
        with self._lock:
            self._open = False
            pending = tuple(self._pending)
        for call in pending:
            call.fail(_closed())

    def run(self, work: Callable[[], Result], time_limit_s: float) -> Result:
        """Run `work` in the worker and return what it returns; not for the worker's own thread.

        Args:
            work: a short piece of work.
            time_limit_s: how long to wait. Work that has not begun by then never runs.
        Raises:
            SamtokError: raised by `work`.
            DeviceError: not done in time, or `work` failed with an error of another kind.
            ConfigError: the node takes no calls.
        """
        call = _Call(work)
        with self._lock:
            if not self._open:
                raise _closed()
            self._pending.add(call)
        try:
            self._worker.submit(Priority.SERVICE, call.execute)
            if not call.done.wait(time_limit_s):
                call.fail(DeviceError(
                    'the model is busy', expected=f'a free moment within {time_limit_s:g} s',
                    fix='call again later, or raise services.time_limit_s'))
            return call.value()
        finally:
            with self._lock:
                self._pending.discard(call)


class _Call(Generic[Result]):
    """One call: it ends once, with a result or an error."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self.done = threading.Event()
        self._work = work
        self._lock = threading.Lock()
        self._error: SamtokError | None = None
        self._result: Result | None = None

    def execute(self) -> None:
        """Do the work, in the worker; errors that are bugs go on to the worker's report."""
        if self.done.is_set():
            return
        try:
            result = self._work()
        except Exception as error:
            known = explained(error)
            if isinstance(known, SamtokError):
                self.fail(known)
                return
            self.fail(DeviceError('the model failed', got=repr(error),
                                  fix='see the log of the node'))
            raise
        else:
            self._end(result, None)

    def fail(self, error: SamtokError) -> None:
        """End with an error, unless it has ended already."""
        self._end(None, error)

    def value(self) -> Result:
        """Return the result.

        Raises:
            SamtokError: it ended with an error.
        """
        if self._error is not None:
            raise self._error
        return self._result

    def _end(self, result: Result | None, error: SamtokError | None) -> None:
        with self._lock:
            if not self.done.is_set():
                self._result, self._error = result, error
                self.done.set()


def _closed() -> ConfigError:
    return ConfigError('the node is no longer active', fix='activate it and call again')
