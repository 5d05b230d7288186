# SPDX-License-Identifier: Apache-2.0
"""Pictures for people, drawn in a thread of their own that yields to everything else.

Drawing takes longer than decoding; in the worker it would delay the next masks.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable

from samtok_ros.runtime.item_thread import Item, ItemThread
from samtok_ros.runtime.mailbox import Mailbox

logger = logging.getLogger(__name__)

_NICER_BY, _LOWEST = 10, 19


class Painter(ItemThread[Item]):
    """Paints the newest item; one that is overwritten while another is painted is left out."""

    def __init__(self, paint: Callable[[Item], None], on_error: Callable[[Exception], None]
                 ) -> None:
        """Prepare; the thread starts with the first item.

        Args:
            paint: called in the painter's thread.
            on_error: told of what `paint` raises; the painter goes on.
        """
        super().__init__('samtok_painter', Mailbox(), paint, on_error, _yield_to_others)


def _yield_to_others() -> None:
    """Give the calling thread a low priority, where the system knows that of threads."""
    if sys.platform == 'linux':
        try:
            thread_id = threading.get_native_id()
            nice = os.getpriority(os.PRIO_PROCESS, thread_id)
            os.setpriority(os.PRIO_PROCESS, thread_id, min(_LOWEST, nice + _NICER_BY))
        except OSError as error:
            logger.debug('painter keeps its priority: %s', error)
