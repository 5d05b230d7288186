# SPDX-License-Identifier: Apache-2.0
"""The time of a bag that is being played: runs at a rate, stands still when held."""

import time
from collections.abc import Callable


class ReplayClock:
    """Maps stamps of a bag to the machine's own steady time, in seconds.

    Args:
        start_ns: time in the bag at which it starts.
        rate: bag seconds per second.
        now_s: steady time.
    """

    def __init__(self, start_ns: int, rate: float = 1.0,
                 now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._rate = rate
        self._bag_ns = start_ns
        self._since_s: float | None = None
        self._due_s: dict[int, float] = {}

    def run(self) -> None:
        """Start, or go on after a hold."""
        if self._since_s is None:
            self._since_s = self._now_s()

    def hold(self) -> None:
        """Stand still."""
        self._bag_ns = self.now_ns()
        self._since_s = None

    def now_ns(self) -> int:
        """Return the time in the bag."""
        if self._since_s is None:
            return self._bag_ns
        return self._bag_ns + round((self._now_s() - self._since_s) * self._rate * 1e9)

    def wait_s(self, bag_ns: int) -> float:
        """Return how long it takes until the clock shows a time, 0 when it is past."""
        return max(0.0, (bag_ns - self.now_ns()) / 1e9 / self._rate)

    def mark(self, stamp_ns: int) -> None:
        """Note that an image with this stamp is shown now; its age counts from when it was due."""
        late_s = (self.now_ns() - stamp_ns) / 1e9 / self._rate
        self._due_s[stamp_ns] = self._now_s() - max(0.0, late_s)

    def age_s(self, stamp_ns: int) -> float | None:
        """Return how long ago an image was due, holds included; None for one never shown."""
        due_s = self._due_s.get(stamp_ns)
        return None if due_s is None else self._now_s() - due_s
