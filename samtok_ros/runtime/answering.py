# SPDX-License-Identifier: Apache-2.0
"""Goals and questions about one frame, answered for a caller that waits."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from samtok_ros.errors import ConfigError, DeviceError, ImageError, SamtokError
from samtok_ros.image.zoom import ZoomRule
from samtok_ros.runtime.answer_results import failed_result
from samtok_ros.runtime.backend import GroundingModel
from samtok_ros.runtime.conversations import Conversations
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import Goal, Status
from samtok_ros.runtime.remote_masks import RemoteMasks, with_codes
from samtok_ros.runtime.requests import Request, check_request, limits_of
from samtok_ros.runtime.shared import SharedRuntime
from samtok_ros.runtime.speaking import Keep, Speaker
from samtok_ros.runtime.staleness import stale_text
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.tickets import (
    Ended,
    Outcome,
    Phase,
    Progress,
    ProgressGate,
    Stop,
    Ticket,
)
from samtok_ros.runtime.worker import Priority
from samtok_ros.settings.grounding import GroundingSettings

_LOOK_UP_S = 0.5
"""How often a waiting caller looks whether the worker still lives; all else wakes it."""

_DRAW_S = 2.0
"""Time for masks from elsewhere where an answer took all of its own: in one process it has them."""


class Answering:
    """Answers requests one by one; each of its callers waits in a thread of its own.

    Between the first and the last of these steps a request can be stopped at any time: wait for an
    image, wait for the model, read, speak, draw. Whoever stops it need not wait.
    """

    def __init__(
        self, runtime: SharedRuntime, problems: ProblemLog, statistics: Statistics,
        ros_now_ns: Callable[[], int], remote: RemoteMasks,
    ) -> None:
        """Wire it up; `open` lets requests in.

        Args:
            runtime: worker, frames and, where this process has one, the mask tokenizer.
            problems: told of answers that fail.
            statistics: told of durations.
            ros_now_ns: ROS time, against which the age of an image is measured.
            remote: used while this process has no mask tokenizer.
        """
        self.conversations = Conversations()
        self._runtime = runtime
        self._remote = remote
        self._ros_now_ns = ros_now_ns
        self._speaker = Speaker(runtime, problems, statistics, self.conversations)
        self._settings = GroundingSettings()
        self._model: GroundingModel | None = None
        self._news = threading.Condition()
        self._tickets: set[Ticket] = set()
        self._open = False

    def configure(self, settings: GroundingSettings, model: GroundingModel) -> None:
        """Take settings and a loaded model."""
        self._settings, self._model = settings, model
        self._speaker.model = model
        self._speaker.zoom = ZoomRule(settings.zoom_below)
        self.conversations.resize(settings.actions.conversations, settings.actions.rounds)

    def change_settings(self, settings: GroundingSettings) -> None:
        """Take changed live settings; they hold from the next request on."""
        self._settings = settings
        self._speaker.zoom = ZoomRule(settings.zoom_below)

    def open(self) -> None:
        """Let requests in; an image that came before is not the newest to any of them.

        Nobody knows how long ago it came, nor where the camera is now. Its stamp still names it.
        """
        self._runtime.frames.begin_anew()
        self._open = True

    def close(self, reason: str, timeout_s: float = 10.0) -> bool:
        """Let no more in, end those that are here, and wait for that; False when one runs on."""
        with self._news:
            self._open = False
            for ticket in self._tickets:
                ticket.stop = ticket.stop or Stop(Ended.ABORTED, reason)
            self._news.notify_all()
            return self._news.wait_for(lambda: not self._tickets, timeout_s)

    def release(self) -> None:
        """Let go of the model and of all conversations."""
        self._model = self._speaker.model = None
        self.conversations.forget()

    def forget(self) -> int:
        """Forget all conversations and what was read for them; return how many there were."""
        model = self._model
        if model is not None:
            self._runtime.worker.submit(Priority.SERVICE, model.forget)
        return self.conversations.forget()

    def frame_arrived(self, frame: Frame) -> None:
        """Let requests that wait for an image look at it."""
        with self._news:
            self._news.notify_all()

    def check(self, request: Request, waits_for_image: bool = True) -> None:
        """Refuse a request that could not be answered, as far as that shows now.

        Args:
            request: to be checked.
            waits_for_image: whether it may wait for the first image.
        Raises:
            SamtokError: says why.
        """
        if not self._open:
            raise ConfigError('the node is not active', fix='configure and activate it')
        check_request(request, self._model.tokenizer_id, self._model.vocabulary)
        limits_of(request, self._settings.limits)
        if request.stamp_ns or not waits_for_image:
            self._runtime.frames.find(request.stamp_ns)

    def accept(
        self, request: Request, priority: Priority, waits_for_image: bool = True,
    ) -> Ticket:
        """Take a request; its time runs from now on. Whoever accepts must call `answer`.

        Raises:
            SamtokError: see check.
        """
        with self._news:
            self.check(request, waits_for_image)
            limits = limits_of(request, self._settings.limits)
            frame = self._runtime.frames.find(request.stamp_ns) if request.stamp_ns else None
            ticket = Ticket(request, limits, priority, frame,
                            time.monotonic() + limits.deadline_s)
            self._tickets.add(ticket)
            return ticket

    def stop(self, ticket: Ticket, stop: Stop) -> None:
        """Let a request end soon; without effect on one that was stopped before."""
        with self._news:
            ticket.stop = ticket.stop or stop
            self._news.notify_all()

    def stop_if_late(self, ticket: Ticket) -> bool:
        """Stop a request that waits for longer than it may take; say whether it is stopped."""
        if time.monotonic() >= ticket.until_s:
            waited_for = 'the model could begin' if ticket.frame else 'a new image came'
            self.stop(ticket, Stop(Ended.ABORTED, 'the time limit of '
                                   f'{ticket.limits.deadline_s:g} s was over before {waited_for}. '
                                   'Give it more time'))
        return ticket.stop is not None

    def answer(self, ticket: Ticket, tell: Callable[[Progress], None]) -> Outcome:
        """Answer a request, or end it; returns when that is done.

        Args:
            ticket: of the request.
            tell: takes progress, in this thread or in that of the worker.
        """
        try:
            return self._answer(ticket, ProgressGate(tell))
        except _StoppedError:
            return self._without_answer(ticket, ticket.stop)
        except SamtokError as error:
            return self._without_answer(ticket, ticket.stop or Stop(Ended.ABORTED, str(error)))
        finally:
            with self._news:
                self._tickets.discard(ticket)
                self._news.notify_all()

    def _answer(self, ticket: Ticket, gate: ProgressGate) -> Outcome:
        gate.tell(Phase.QUEUED, lambda: Progress(Phase.QUEUED))
        with self._news:
            self._wait_for(lambda: self._find_frame(ticket), ticket)
        elsewhere = self._runtime.mask_access is None
        if elsewhere:
            ticket.references = with_codes(ticket.frame, ticket.references, self._remote,
                                           lambda: _is_over(ticket, ticket.until_s))
        outcome, keep = self._in_worker(ticket, gate)
        if elsewhere and outcome.ended is Ended.SUCCEEDED and outcome.result.regions:
            outcome = self._draw_elsewhere(ticket, outcome, gate)
        if outcome.ended is Ended.SUCCEEDED:
            keep()
        return outcome

    def _find_frame(self, ticket: Ticket) -> bool:
        if ticket.frame is None:
            frame = self._runtime.frames.newest()
            max_age_s = self._settings.input.max_age_s
            if frame and not stale_text(frame.stamp_ns, self._ros_now_ns(), max_age_s):
                ticket.frame = frame
        return ticket.frame is not None

    def _wait_for(self, done: Callable[[], bool], ticket: Ticket) -> None:
        """Wait until `done`; with the lock held, which it lets go meanwhile.

        Raises:
            _StoppedError: the request was stopped first, or its time is over.
            DeviceError: there is nobody to do it.
        """
        while not done():
            if self.stop_if_late(ticket):
                raise _StoppedError
            if not self._runtime.worker.is_running:
                raise DeviceError('the model is gone', fix='configure the node again')
            left_s = ticket.until_s - time.monotonic()
            self._news.wait(max(0.0, min(left_s, _LOOK_UP_S)))

    def _in_worker(self, ticket: Ticket, gate: ProgressGate) -> tuple[Outcome, Keep]:
        """Let the model speak in the worker, when it is its turn there; see Speaker.speak.

        Raises:
            _StoppedError: stopped before that; the model never speaks.
            SamtokError: the question cannot be put to the model.
        """
        job = _Job()

        def run() -> None:
            with self._news:
                job.begun = ticket.stop is None
                self._news.notify_all()
            try:
                if job.begun:
                    job.said = self._speaker.speak(ticket, gate)
            except SamtokError as error:
                job.error = error
            finally:
                with self._news:
                    job.ended = True
                    self._news.notify_all()

        self._runtime.worker.submit(ticket.priority, run)
        with self._news:
            self._wait_for(lambda: job.begun, ticket)
            self._news.wait_for(lambda: job.ended)
        if job.error is not None:
            raise job.error
        return job.said or (self._without_answer(
            ticket, Stop(Ended.ABORTED, 'the model failed; see the log of the node')), lambda: None)

    def _draw_elsewhere(self, ticket: Ticket, outcome: Outcome, gate: ProgressGate) -> Outcome:
        if not self._remote.is_there():
            return outcome
        result = outcome.result
        gate.tell(Phase.DECODING, lambda: Progress(Phase.DECODING, result, ticket.token_count))
        until_s = max(ticket.until_s, time.monotonic() + _DRAW_S)
        try:
            masks = self._remote.decode(result, lambda: _is_over(ticket, until_s))
        except SamtokError as error:
            stop = ticket.stop
            return Outcome(stop.ended, stop.message, result) if stop else replace(
                outcome, masks_problem=str(error))
        return replace(outcome, masks=masks)

    def _without_answer(self, ticket: Ticket, stop: Stop) -> Outcome:
        """Return the outcome of a request that the model has said nothing about."""
        status = Status.CANCELLED if stop.ended is Ended.CANCELLED else Status.FAILED
        try:
            result = ticket.frame and replace(failed_result(
                ticket.frame, Goal(0, ticket.request.text), self._model.tokenizer_id, None,
                stop.message), status=status)
        except ImageError:  # of which not even the size is known
            result = None
        return Outcome(stop.ended, stop.message, result)


def _is_over(ticket: Ticket, until_s: float) -> bool:
    return ticket.stop is not None or time.monotonic() >= until_s


class _StoppedError(Exception):
    """The request was stopped before the model spoke; the ticket says why."""


class _Job:
    """One answer in the worker, as the waiting thread sees it."""

    def __init__(self) -> None:
        self.begun = False
        self.ended = False
        self.said: tuple[Outcome, Keep] | None = None
        self.error: SamtokError | None = None
