# SPDX-License-Identifier: Apache-2.0
"""Counts, durations and rates that diagnostics report; all of it may be called from any thread."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WINDOW = 256


class Statistics:
    """What one node has done since it was configured."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        """Start at zero.

        Args:
            now: a clock in seconds; tests pass their own.
        """
        self._now = now
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._durations: dict[str, deque[float]] = {}
        self._events: dict[str, deque[float]] = {}

    def reset(self) -> None:
        """Start at zero again."""
        with self._lock:
            self._counts.clear()
            self._durations.clear()
            self._events.clear()

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._counts[name] += by

    def total(self, name: str) -> int:
        """Return a counter, 0 when nothing was counted."""
        return self._counts[name]

    def add_duration(self, stage: str, seconds: float) -> None:
        """Keep one duration of a stage, among the newest 256."""
        with self._lock:
            self._durations.setdefault(stage, deque(maxlen=_WINDOW)).append(seconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure the duration of a stage that ends without an error."""
        start = self._now()
        yield
        self.add_duration(stage, self._now() - start)

    def percentile_ms(self, stage: str, percent: float) -> float | None:
        """Return a percentile (nearest rank) of a stage in milliseconds, None without durations."""
        with self._lock:
            durations = sorted(self._durations.get(stage, ()))
        if not durations:
            return None
        rank = max(1, -(-len(durations) * percent // 100))
        return 1000 * durations[int(rank) - 1]

    def stages(self) -> tuple[str, ...]:
        """Return the stages measured so far."""
        with self._lock:
            return tuple(self._durations)

    def tick(self, name: str) -> None:
        """Count an event and remember when it was."""
        with self._lock:
            self._counts[name] += 1
            self._events.setdefault(name, deque(maxlen=_WINDOW)).append(self._now())

    def rate_hz(self, name: str, window_s: float = 5.0) -> float:
        """Return how often an event was ticked per second, over the newest `window_s` seconds."""
        with self._lock:
            newest = [t for t in self._events.get(name, ()) if t > self._now() - window_s]
        if len(newest) < 2:
            return 0.0
        return (len(newest) - 1) / max(newest[-1] - newest[0], 1e-9)

    def age_s(self, name: str) -> float | None:
        """Return the seconds since an event was last ticked, None when it never was."""
        with self._lock:
            events = self._events.get(name)
            return self._now() - events[-1] if events else None
