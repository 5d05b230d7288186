# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: goals are answered one at a time, in order or the newest first."""

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar


class Turn(Protocol):
    """A goal that waits for its turn."""

    def begin(self) -> None:
        """Let it be answered; called once, from any thread, and returns at once."""


SomeTurn = TypeVar('SomeTurn', bound=Turn)


class GoalQueue(Generic[SomeTurn]):
    """First in, first out, and bounded; or the newest goal displaces all others.

    A goal that leaves before its turn begins too, so that it is ended in the same place as all
    others; whoever takes it out has told it to end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[SomeTurn] = deque()
        self._running: SomeTurn | None = None
        self._preempts = False
        self._limit = 0

    def configure(self, policy: str, limit: int) -> None:
        """Set the rules.

        Args:
            policy: 'queue' or 'preempt'.
            limit: goals that may wait while another one is answered.
        """
        self._preempts, self._limit = policy == 'preempt', limit

    @property
    def is_full(self) -> bool:
        """True when one more goal could not even wait."""
        with self._lock:
            busy = self._running is not None
            return not self._preempts and busy and len(self._waiting) >= self._limit

    @property
    def waiting(self) -> tuple[SomeTurn, ...]:
        """Goals that wait, the next one first."""
        with self._lock:
            return tuple(self._waiting)

    @property
    def running(self) -> SomeTurn | None:
        """The goal that is being answered."""
        return self._running

    def displaced_by_new(self) -> tuple[SomeTurn, ...]:
        """Return the goals that must be told to end before a new one is added."""
        with self._lock:
            running = (self._running,) if self._running is not None else ()
            return (*running, *self._waiting) if self._preempts else ()

    def add(self, turn: SomeTurn) -> None:
        """Add a goal; it begins when it is its turn, perhaps at once."""
        with self._lock:
            self._waiting.append(turn)
        self._begin_next()

    def leave(self, turn: SomeTurn) -> None:
        """Take a goal out that waits, to be ended at once; no effect on one that has begun."""
        with self._lock:
            if turn not in self._waiting:
                return
            self._waiting.remove(turn)
        turn.begin()

    def finished(self, turn: SomeTurn) -> None:
        """Let the next goal begin; `turn` has ended."""
        with self._lock:
            if self._running is turn:
                self._running = None
        self._begin_next()

    def _begin_next(self) -> None:
        with self._lock:
            if self._running is not None or not self._waiting:
                return
            turn = self._running = self._waiting.popleft()
        turn.begin()
