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
from samtok_ros.stamps import is_step_back


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
        self._lock = threading.Lock()
        self._users: dict[str, SharedSettings] = {}
        self._listeners: list[Callable[[Frame], None]] = []
        self._on_steps_back: list[Callable[[int], None]] = []
        self._newest_ns: int | None = None

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
            self._newest_ns = None

    def listen(self, on_frame: Callable[[Frame], None]) -> None:
        """Call `on_frame` with each frame from now on, after it is in the cache."""
        self._listeners.append(on_frame)

    def listen_to_steps_back(self, on_step_back: Callable[[int], None]) -> None:
        """Call `on_step_back` with the stamp of each frame that is of an earlier time.

        It is called before the frame is in the cache and any listener knows of it.
        """
        self._on_steps_back.append(on_step_back)

    def frame_arrived(self, frame: Frame) -> None:
        """Keep a frame and tell the listeners."""
        stamp_ns = frame.stamp_ns
        is_back = is_step_back(self._newest_ns, stamp_ns)
        if is_back or self._newest_ns is None or stamp_ns > self._newest_ns:
            self._newest_ns = stamp_ns
        if is_back:
            for on_step_back in self._on_steps_back:
                on_step_back(stamp_ns)
        self.frames.put(frame)
        for on_frame in self._listeners:
            on_frame(frame)
