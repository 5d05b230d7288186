# SPDX-License-Identifier: Apache-2.0
"""Work on items in a thread of its own, one after the other, beside everything else."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from samtok_ros.runtime.mailbox import Inbox

Item = TypeVar('Item')


class ItemThread(Generic[Item]):
    """Takes items from an inbox and works on each; what the inbox overwrites is left out."""

    def __init__(
        self, name: str, inbox: Inbox[Item], work: Callable[[Item], None],
        on_error: Callable[[Exception], None], prepare: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; the thread starts with the first item.

        Args:
            name: of the thread.
            inbox: what waits.
            work: called in the thread.
            on_error: told of what `work` raises; the thread goes on.
            prepare: called once in the thread, before the first item.
        """
        self._name = name
        self.items = inbox
        """What waits."""
        self._work = work
        self._on_error = on_error
        self._prepare = prepare
        self._wake = threading.Condition()
        self._open = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start to take items."""
        self._open = True

    def put(self, item: Item) -> bool:
        """Hand an item over; returns at once, False when one was lost for it."""
        with self._wake:
            if not self._open:
                return True
            kept = self.items.put(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._wake.notify_all()
            return kept

    @property
    def is_running(self) -> bool:
        """True while its thread lives."""
        return self._thread is not None

    def close(self, timeout_s: float = 10.0) -> bool:
        """Forget what waits and end the thread; False when it is still busy after the time."""
        with self._wake:
            self._open = False
            self.items.clear()
            self._wake.notify_all()
            thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self) -> None:
        self._prepare()
        while (item := self._next()) is not None:
            try:
                self._work(item)
            except Exception as error:  # One item less; the next one may be fine.
                self._on_error(error)
            del item  # An image is not kept for as long as the next one does not come.

    def _next(self) -> Item | None:
        """Wait for an item; None when there will be no more for this thread."""
        with self._wake:
            while self._thread is threading.current_thread():
                item = self.items.take()
                if item is not None:
                    return item
                self._wake.wait()
        return None
