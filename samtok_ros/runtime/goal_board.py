# SPDX-License-Identifier: Apache-2.0
"""The standing goal, and which goal holds for which frame."""

import bisect
import threading

from samtok_ros.runtime.records import Goal

_KEPT = 256


class GoalBoard:
    """Goals in the order of their stamps.

    Live, the newest goal holds for every frame. In replay a goal holds for the frames stamped at
    or after its own stamp, so that the words do not depend on when a message was delivered; there
    a goal without a stamp holds from the start.
    """

    def __init__(self, by_stamp: bool) -> None:
        self._by_stamp = by_stamp
        self._lock = threading.Lock()
        self._goals: list[Goal] = []
        self._count = 0
        self._newest: Goal | None = None

    def set(self, text: str, stamp_ns: int) -> Goal:
        """Add a goal; the same text as the newest one still counts as a new goal, see `holds`.

        Args:
            text: empty clears the goal.
            stamp_ns: stamp of the goal message, 0 for none.
        """
        with self._lock:
            self._count += 1
            self._newest = Goal(self._count, text, stamp_ns)
            bisect.insort_right(self._goals, self._newest, key=lambda goal: goal.stamp_ns)
            del self._goals[:-_KEPT]
            return self._newest

    def holds(self, text: str) -> bool:
        """Tell whether a goal with this text changes nothing, as it is the standing one already.

        In replay none is: there each goal says from when on it holds.
        """
        newest = self._newest
        return not self._by_stamp and newest is not None and newest.text == text

    @property
    def last_id(self) -> int:
        """Number of the goal that came last, cleared or not; 0 before the first."""
        return self._count

    def newest(self) -> Goal | None:
        """Return the goal that came last unless it clears, then None."""
        return self._newest if self._newest and self._newest.text else None

    def goal_for(self, stamp_ns: int) -> Goal | None:
        """Return the goal that holds for a frame, None when there is none."""
        if not self._by_stamp:
            return self.newest()
        with self._lock:
            place = bisect.bisect_right(self._goals, stamp_ns, key=lambda goal: goal.stamp_ns)
            goal = self._goals[place - 1] if place else None
        return goal if goal and goal.text else None

    def is_current(self, goal: Goal) -> bool:
        """Tell whether work on a goal is still wanted."""
        return self._by_stamp or goal == self._newest

    def clear(self) -> None:
        """Forget all goals; numbering goes on."""
        with self._lock:
            self._goals.clear()
            self._newest = None


