# SPDX-License-Identifier: Apache-2.0
"""A request that was accepted: how far it is, who wants it to end, and how it ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.requests import Request
from samtok_ros.runtime.worker import Priority
from samtok_ros.settings.grounding import LimitSettings

FEEDBACK_PERIOD_S = 0.1


class Phase(IntEnum):
    """What is being done for a request; the numbers are those of the action definitions."""

    QUEUED = 0
    ENCODING = 1
    GENERATING = 2
    DECODING = 3


class Ended(Enum):
    """How a request ended."""

    SUCCEEDED = auto()
    ABORTED = auto()
    CANCELLED = auto()


@dataclass(frozen=True)
class Stop:
    """The wish that a request ends before its answer does.

    Attributes:
        ended: how it is to end.
        message: why.
    """

    ended: Ended
    message: str


@dataclass(frozen=True)
class Progress:
    """How far a request is.

    Attributes:
        phase: what is being done.
        result: what was said so far, None before the model has spoken.
        token_count: tokens so far.
    """

    phase: Phase
    result: FrameResult | None = None
    token_count: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a request ended, and with what.

    Attributes:
        ended: how.
        message: why it did not succeed, else ''.
        result: what was said, None when no frame was found.
        masks: the same with masks in its regions, or what a remote mask tokenizer made of it; None
            when it was not decoded.
        masks_problem: why they were not, '' when there is no decoder.
    """

    ended: Ended
    message: str = ''
    result: FrameResult | None = None
    masks: object | None = None
    masks_problem: str = ''


class Ticket:
    """One accepted request. Only those who answer it change its fields.

    Attributes:
        request: what is asked.
        limits: that hold for it.
        priority: in the worker.
        until_s: when its time is over, in the clock of `Answering`.
        frame: it is about; None until the newest one is taken.
        references: of the request; those that had to be drawn elsewhere by their codes.
        token_count: tokens of the answer so far.
        stop: set when somebody wants it to end.
    """

    def __init__(
        self, request: Request, limits: LimitSettings, priority: Priority, frame: Frame | None,
        until_s: float,
    ) -> None:
        self.request = request
        self.limits = limits
        self.priority = priority
        self.frame = frame
        self.until_s = until_s
        self.references = request.references
        self.token_count = 0
        self.stop: Stop | None = None


class ProgressGate:
    """Lets progress out ten times a second; a new phase and the first region go at once."""

    def __init__(
        self, tell: Callable[[Progress], None], now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open it.

        Args:
            tell: takes what goes out.
            now: a clock in seconds; tests pass their own.
        """
        self._tell = tell
        self._now = now
        self._phase: Phase | None = None
        self._has_region = False
        self._told_s = 0.0

    def tell(self, phase: Phase, make: Callable[[], Progress], region_count: int = 0) -> None:
        """Let progress out if it is time.

        Args:
            phase: it is in.
            make: makes what goes out; not called otherwise.
            region_count: regions so far.
        """
        first_region = region_count > 0 and not self._has_region
        now_s = self._now()
        soon = now_s - self._told_s < FEEDBACK_PERIOD_S
        if soon and phase == self._phase and not first_region:
            return
        self._phase, self._told_s = phase, now_s
        self._has_region |= first_region
        self._tell(make())
