# SPDX-License-Identifier: Apache-2.0
"""Pictures for people, drawn in a thread of their own that yields to everything else.

Drawing takes longer than decoding; in the worker it would delay the next masks.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from samtok_ros.runtime.mailbox import Mailbox

logger = logging.getLogger(__name__)
Item = TypeVar('Item')

_NICER_BY, _LOWEST = 10, 19


class Painter(Generic[Item]):
    """Paints the newest item; one that is overwritten while another is painted is left out."""

    def __init__(self, paint: Callable[[Item], None], on_error: Callable[[Exception], None]
                 ) -> None:
        """Prepare; the thread starts with the first item.

        Args:
            paint: called in the painter's thread.
            on_error: told of what `paint` raises; the painter goes on.
        """
        self._paint = paint
        self._on_error = on_error
        self._items: Mailbox[Item] = Mailbox()
        self._wake = threading.Condition()
        self._open = False
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start to take items."""
        self._open = True

    def put(self, item: Item) -> None:
        """Hand an item over; returns at once."""
        with self._wake:
            if not self._open:
                return
            self._items.put(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='samtok_painter',
                                                daemon=True)
                self._thread.start()
            self._wake.notify_all()

    @property
    def is_running(self) -> bool:
        """True while its thread lives."""
        return self._thread is not None

    def close(self, timeout_s: float = 10.0) -> bool:
        """Forget what waits and end the thread; False when it is still busy after the time."""
        with self._wake:
            self._open = False
            self._items.clear()
            self._wake.notify_all()
            thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self) -> None:
        _yield_to_others()
        while (item := self._next()) is not None:
            try:
                self._paint(item)
            except Exception as error:  # A picture less; the next one may be painted.
                self._on_error(error)
            del item  # An image is not kept for as long as the next one does not come.

    def _next(self) -> Item | None:
        """Wait for an item; None when there will be no more for this thread."""
        with self._wake:
            while self._thread is threading.current_thread():
                item = self._items.take()
                if item is not None:
                    return item
                self._wake.wait()
        return None


def _yield_to_others() -> None:
    """Give the calling thread a low priority, where the system knows that of threads."""
    if sys.platform == 'linux':
        try:
            thread_id = threading.get_native_id()
            nice = os.getpriority(os.PRIO_PROCESS, thread_id)
            os.setpriority(os.PRIO_PROCESS, thread_id, min(_LOWEST, nice + _NICER_BY))
        except OSError as error:
            logger.debug('painter keeps its priority: %s', error)
