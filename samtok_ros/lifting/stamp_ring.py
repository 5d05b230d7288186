# SPDX-License-Identifier: Apache-2.0
"""Recent messages by stamp, so that a mask finds the depth image of its own moment."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from samtok_ros.stamps import is_step_back

Item = TypeVar('Item')


class StampRing(Generic[Item]):
    """The newest arrivals by exact stamp, bounded by span of time and by memory.

    When stamps step back, because a bag or a simulator begins anew, what is newer than the first
    of them is of a time that is gone, and is forgotten.

    Safe to use from several threads.
    """

    def __init__(self, max_span_s: float, max_bytes: int,
                 nbytes: Callable[[Item], int] = lambda item: 0) -> None:
        """Start empty.

        Args:
            max_span_s: how much older than the newest arrival an item may be, seconds.
            max_bytes: memory for all of them; the newest stays even when it alone is larger.
            nbytes: memory that an item holds.
        """
        self._max_span_ns = int(max_span_s * 1e9)
        self._max_bytes = max_bytes
        self._size_of = nbytes
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._nbytes = 0
        self._newest_ns: int | None = None
        self._lock = threading.Lock()

    def put(self, stamp_ns: int, item: Item) -> bool:
        """Keep an item; one with the same stamp is replaced.

        Returns:
            True when its stamp is a step back in time.
        """
        with self._lock:
            is_back = is_step_back(self._newest_ns, stamp_ns)
            if is_back:
                self._forget([stamp for stamp in self._items if stamp > stamp_ns])
            self._forget([stamp_ns])
            self._items[stamp_ns] = item
            self._nbytes += self._size_of(item)
            if is_back or self._newest_ns is None or stamp_ns > self._newest_ns:
                self._newest_ns = stamp_ns
            self._forget([stamp for stamp in self._items
                          if self._newest_ns - stamp > self._max_span_ns])
            while self._nbytes > self._max_bytes and len(self._items) > 1:
                self._forget([next(iter(self._items))])
            return is_back

    def get(self, stamp_ns: int) -> Item | None:
        """Return the item with exactly this stamp, or None."""
        with self._lock:
            return self._items.get(stamp_ns)

    def items(self) -> tuple[Item, ...]:
        """Return all items, oldest arrival first."""
        with self._lock:
            return tuple(self._items.values())

    @property
    def newest_ns(self) -> int | None:
        """Newest stamp so far, also when its item is gone; None before the first."""
        return self._newest_ns

    def nearest_ns(self, stamp_ns: int) -> int | None:
        """Return the stamp that lies closest, for an explanation why there is none that fits."""
        with self._lock:
            return min(self._items, key=lambda stamp: abs(stamp - stamp_ns), default=None)

    def forget_after(self, stamp_ns: int) -> None:
        """Forget what has a later stamp: after a jump back it is of a time that is gone."""
        with self._lock:
            self._forget([stamp for stamp in self._items if stamp > stamp_ns])
            self._newest_ns = max(self._items, default=None)

    def __len__(self) -> int:
        """Items kept."""
        return len(self._items)

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self._nbytes

    def _forget(self, stamps: list[int]) -> None:
        for stamp in stamps:
            item = self._items.pop(stamp, None)
            if item is not None:
                self._nbytes -= self._size_of(item)
