# SPDX-License-Identifier: Apache-2.0
"""Recent messages by stamp, so that a mask finds the depth image of its own moment."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Item = TypeVar('Item')


class StampRing(Generic[Item]):
    """The newest arrivals by exact stamp, bounded by count and by span of time.

    Safe to use from several threads.
    """

    def __init__(self, max_items: int, max_span_s: float) -> None:
        """Start empty.

        Args:
            max_items: kept at most.
            max_span_s: how much older than the newest stamp an item may be, seconds.
        """
        self._max_items = max_items
        self._max_span_ns = int(max_span_s * 1e9)
        self._items: OrderedDict[int, Item] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, stamp_ns: int, item: Item) -> None:
        """Keep an item; one with the same stamp is replaced."""
        with self._lock:
            self._items.pop(stamp_ns, None)
            self._items[stamp_ns] = item
            newest = max(self._items)
            while len(self._items) > self._max_items:
                self._items.popitem(last=False)
            for stamp in [s for s in self._items if newest - s > self._max_span_ns]:
                del self._items[stamp]

    def get(self, stamp_ns: int) -> Item | None:
        """Return the item with exactly this stamp, or None."""
        with self._lock:
            return self._items.get(stamp_ns)

    def nearest_ns(self, stamp_ns: int) -> int | None:
        """Return the stamp that lies closest, for an explanation why there is none that fits."""
        with self._lock:
            return min(self._items, key=lambda stamp: abs(stamp - stamp_ns), default=None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        """Items kept."""
        return len(self._items)
