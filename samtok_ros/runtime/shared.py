# SPDX-License-Identifier: Apache-2.0
"""What the nodes of one process share: frames, their features, and the worker with the models."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import MaskAccess
from samtok_ros.runtime.worker import Worker
from samtok_ros.settings.shared import CacheSettings, InputSettings, ModelSettings


@dataclass(frozen=True)
class SharedSettings:
    """Settings that nodes of one process must agree on."""

    model: ModelSettings
    input: InputSettings
    cache: CacheSettings


class SharedRuntime:
    """Frame cache and worker, alive while at least one node of the process uses them."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.frames = FrameCache(1, 1)
        self.mask_access: MaskAccess | None = None
        """Set while a mask tokenizer is configured in this process; for the worker thread only."""
        self.goal_cleared: Callable[[], None] = lambda: None
        """Told when the standing goal is cleared otherwise than by a message, from any thread."""
        self._lock = threading.Lock()
        self._users: dict[str, SharedSettings] = {}
        self._listeners: list[Callable[[Frame], None]] = []

    def join(self, user: str, settings: SharedSettings) -> None:
        """Take part; the first user starts the worker and sizes the cache.

        Args:
            user: name of the node.
            settings: its own.
        Raises:
            ConfigError: the settings contradict those of another user.
        """
        with self._lock:
            for other, theirs in self._users.items():
                if other != user and theirs != settings:
                    raise ConfigError(
                        f'{user} and {other} run in one process and must agree on model, input '
                        f'and cache', expected=theirs, got=settings,
                        fix='set the same values for both, or run them as two processes')
            if not self._users:
                cache = settings.cache
                self.frames.resize(cache.frames, cache.megabytes * 1_000_000)
                self.worker.start()
            self._users[user] = settings

    def leave(self, user: str) -> None:
        """Take part no longer; the last one stops the worker and empties the cache."""
        with self._lock:
            if self._users.pop(user, None) is None or self._users:
                return
            self.worker.stop()
            self.frames.clear()

    def listen(self, on_frame: Callable[[Frame], None]) -> None:
        """Call `on_frame` with each frame from now on, after it is in the cache."""
        self._listeners.append(on_frame)

    def frame_arrived(self, frame: Frame) -> None:
        """Keep a frame and tell the listeners."""
        self.frames.put(frame)
        for on_frame in self._listeners:
            on_frame(frame)
