# SPDX-License-Identifier: Apache-2.0
"""Time that one piece of work may take, not counting when others were let in."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class TimeBudget:
    """Starts to run when it is made."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        """Start.

        Args:
            seconds: after which it is over.
            now: a clock in seconds; tests pass their own.
        """
        self._now = now
        self._seconds = seconds
        self._start_s = now()
        self._paused_s = 0.0

    @property
    def used_s(self) -> float:
        """Time used so far; not to be asked during a pause."""
        return self._now() - self._start_s - self._paused_s

    def is_over(self) -> bool:
        """Say whether all of it is used."""
        return self.used_s >= self._seconds

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Do not count the time until the end of the block."""
        start_s = self._now()
        try:
            yield
        finally:
            self._paused_s += self._now() - start_s
