# SPDX-License-Identifier: Apache-2.0
"""What was said of a goal is taken back when a call clears it: others go by it until then."""

from collections.abc import Callable
from dataclasses import replace

from samtok_ros.runtime.frame_cache import FrameCache
from samtok_ros.runtime.records import FrameResult, Status


class Withdrawal:
    """Says once, in words without regions, that an answer does not hold any more.

    An answer that is being spoken says so itself when it is cancelled; the one before it, which is
    complete, cannot. It is told in the worker between two answers: so nobody hears of the goal
    after that.
    """

    def __init__(self, publish: Callable[[FrameResult], None], frames: FrameCache) -> None:
        """Wire it up.

        Args:
            publish: called in the worker's thread.
            frames: the newest one is the one that the words are about.
        """
        self._publish = publish
        self._frames = frames
        self.forget()

    def forget(self) -> None:
        """Forget what was said and cleared: goals are numbered from 1 again."""
        self._standing: FrameResult | None = None
        self._cleared = 0

    def note(self, words: FrameResult) -> None:
        """Look at words that go out; for the worker thread."""
        if words.complete and words.status is not Status.FAILED:
            self._standing = words if words.regions and (
                words.status is not Status.CANCELLED) else None

    def clear(self, last_id: int) -> None:
        """Let `step` take back what was said of goals up to this number; from any thread."""
        self._cleared = last_id

    def step(self) -> bool:
        """Take back what is to be; a step of the worker's stream."""
        standing = self._standing
        if standing is None or standing.goal_id > self._cleared:
            return False
        self._standing = None
        about = self._frames.newest() or standing
        self._publish(replace(
            standing, stamp_ns=about.stamp_ns, frame_id=about.frame_id, size=about.size, answer='',
            regions=(), malformed_count=0, status=Status.CANCELLED,
            message='the goal was cleared'))
        return True
