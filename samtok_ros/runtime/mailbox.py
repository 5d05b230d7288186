# SPDX-License-Identifier: Apache-2.0
"""Two ways to hand frames from the callback to the worker: only the newest, or every one.

Both have the same methods, so that the stream does not know which one it reads.
"""

import threading
from collections import deque
from typing import Generic, Protocol, TypeVar

Item = TypeVar('Item')


class Inbox(Protocol[Item]):
    """What the worker reads from."""

    def put(self, item: Item) -> bool:
        """Hand an item over; False when that lost one (this or an older one)."""

    def peek(self) -> Item | None:
        """Return the item that is next without taking it, or None."""

    def take(self) -> Item | None:
        """Take the item that is next, or None."""

    def clear(self) -> None:
        """Forget all items."""

    def __len__(self) -> int:
        """Items that wait."""

    @property
    def lost(self) -> int:
        """Items lost so far because they came faster than they were taken."""


class Mailbox(Generic[Item]):
    """One slot: a newer item overwrites the one that waits, and that is counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: Item | None = None
        self._lost = 0

    def put(self, item: Item) -> bool:
        """Leave the item; False when one that nobody took is overwritten."""
        with self._lock:
            overwrites = self._item is not None
            self._lost += overwrites
            self._item = item
            return not overwrites

    def peek(self) -> Item | None:
        """Return the item without taking it."""
        return self._item

    def take(self) -> Item | None:
        """Take the item, or None."""
        with self._lock:
            item, self._item = self._item, None
            return item

    def clear(self) -> None:
        """Forget the item."""
        self.take()

    def __len__(self) -> int:
        """Return 1 while an item waits."""
        return int(self._item is not None)

    @property
    def lost(self) -> int:
        """Items overwritten so far."""
        return self._lost


class _Items(Generic[Item]):
    """First in, first out; what happens when it is full is for `put` to say."""

    def __init__(self, capacity: int) -> None:
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._lost = 0

    def peek(self) -> Item | None:
        """Return the oldest item without taking it."""
        with self._lock:
            return self._items[0] if self._items else None

    def take(self) -> Item | None:
        """Take the oldest item, or None."""
        with self._lock:
            return self._items.popleft() if self._items else None

    def clear(self) -> None:
        """Forget all items."""
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        """Items that wait."""
        return len(self._items)

    @property
    def lost(self) -> int:
        """Items lost so far."""
        return self._lost


class EveryItemQueue(_Items[Item]):
    """First in, first out, bounded: when it is full the new item is lost, and that is counted."""

    def put(self, item: Item) -> bool:
        """Append the item; False when the queue is full and the item therefore lost."""
        with self._lock:
            if len(self._items) >= self._capacity:
                self._lost += 1
                return False
            self._items.append(item)
            return True


class NewestItems(_Items[Item]):
    """First in, first out, bounded: when it is full the oldest item is lost, which is counted."""

    def put(self, item: Item) -> bool:
        """Append the item; False when the oldest one is lost for it."""
        with self._lock:
            is_full = len(self._items) >= self._capacity
            if is_full:
                self._items.popleft()
                self._lost += 1
            self._items.append(item)
            return not is_full
