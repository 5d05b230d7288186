# SPDX-License-Identifier: Apache-2.0
"""Rounds of conversations, by their name and the frame they are about."""

import threading
from collections import OrderedDict

from samtok_ros.language.instructions import Round

Key = tuple[str, int]
"""Name of a conversation, and stamp of the frame in nanoseconds."""


class Conversations:
    """Bounded in their number and in the rounds of each; what is unused for longest goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rounds: OrderedDict[Key, tuple[Round, ...]] = OrderedDict()
        self._max_conversations = self._max_rounds = 1
        self._epoch = 0

    def resize(self, max_conversations: int, max_rounds: int) -> None:
        """Change the bounds; meant for before the first round."""
        self._max_conversations, self._max_rounds = max_conversations, max_rounds

    def history(self, key: Key) -> tuple[tuple[Round, ...], int]:
        """Return the rounds so far, oldest first, and what `add` wants back with the next one."""
        with self._lock:
            return self._rounds.get(key, ()), self._epoch

    def add(self, key: Key, newest: Round, epoch: int) -> None:
        """Add a round; one whose history was forgotten meanwhile is not added.

        Args:
            key: of the conversation; without effect when its name is empty.
            newest: the round.
            epoch: came with the history that the round was answered with.
        """
        with self._lock:
            if not key[0] or epoch != self._epoch:
                return
            rounds = (*self._rounds.pop(key, ()), newest)
            self._rounds[key] = rounds[-self._max_rounds:]
            while len(self._rounds) > self._max_conversations:
                self._rounds.popitem(last=False)

    def forget(self) -> int:
        """Forget all; return how many there were."""
        with self._lock:
            count = len(self._rounds)
            self._rounds.clear()
            self._epoch += 1
            return count

    def __len__(self) -> int:
        """Conversations that are remembered."""
        return len(self._rounds)
