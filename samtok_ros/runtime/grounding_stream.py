# SPDX-License-Identifier: Apache-2.0
"""Frames and a standing goal in, words out: what the grounding node does between messages."""

from collections.abc import Callable

from samtok_ros.config import GroundingSettings
from samtok_ros.errors import ImageError, SamtokError
from samtok_ros.runtime.backend import UNFINISHED, AnswerUpdate, GroundingModel
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.goal_board import GoalBoard
from samtok_ros.runtime.mailbox import EveryItemQueue, Inbox, Mailbox
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult, Goal, Status
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.worker import Priority, Worker

_STATUS = {'stop': Status.OK, 'length': Status.TRUNCATED, 'cancelled': Status.CANCELLED,
           UNFINISHED: Status.OK}


class GroundingStream:
    """Grounds the standing goal in the frames that come in, one at a time, in the worker."""

    def __init__(
        self, worker: Worker, publish: Callable[[FrameResult], None], problems: ProblemLog,
        statistics: Statistics,
    ) -> None:
        """Wire it up; `open` starts it.

        Args:
            worker: its thread runs the model.
            publish: called in the worker's thread, several times per frame.
            problems: told of what goes wrong with a frame.
            statistics: told of frames and durations.
        """
        self._worker = worker
        self._publish = publish
        self._problems = problems
        self._statistics = statistics
        self._settings = GroundingSettings()
        self._model: GroundingModel | None = None
        self._inbox: Inbox[Frame] = Mailbox()
        self.goals = GoalBoard(by_stamp=False)
        self._open = False
        self._last_frame: Frame | None = None
        self._last_done: tuple[int, int] = (0, 0)

    def configure(self, settings: GroundingSettings, model: GroundingModel) -> None:
        """Take settings and a loaded model; forgets frames and goals."""
        every_frame = settings.input.every_frame
        self._settings = settings
        self._model = model
        self._inbox = EveryItemQueue(settings.input.queue) if every_frame else Mailbox()
        self.goals = GoalBoard(by_stamp=every_frame)

    def change_settings(self, settings: GroundingSettings) -> None:
        """Take changed live settings; they hold from the next frame on."""
        self._settings = settings

    def open(self) -> None:
        """Start to take frames."""
        self._open = True
        self._worker.add_stream(self._step)

    def close(self) -> bool:
        """Stop: an answer that is being spoken ends as cancelled. False when it will not end."""
        self._open = False
        stopped = self._worker.remove_stream(self._step)
        self._inbox.clear()
        self._last_frame = None
        return stopped

    def release(self) -> None:
        """Let go of the model."""
        self._model = None
        self.goals.clear()

    @property
    def frames_waiting(self) -> int:
        """Frames that wait for the worker."""
        return len(self._inbox)

    def put_frame(self, frame: Frame) -> None:
        """Hand a frame over; returns at once."""
        self._last_frame = frame
        if not self._inbox.put(frame):
            without_goal = self.goals.newest() is None
            self._statistics.count('frames_without_goal' if without_goal else 'frames_dropped')
            if self._settings.input.every_frame:
                self._problems.report('queue_full', f'image {frame.stamp_ns} is lost: '
                                      f'{len(self._inbox)} wait already. Play the bag more slowly '
                                      'or raise input.queue')
        self._worker.wake()

    def set_goal(self, text: str, stamp_ns: int) -> Goal:
        """Replace the standing goal, or clear it with an empty text."""
        goal = self.goals.set(text, stamp_ns)
        last = self._last_frame
        if text and last and not len(self._inbox) and not self._settings.input.every_frame:
            # A new goal is answered on the frame at hand; the next one may be long in coming.
            self._inbox.put(last)
        self._worker.wake()
        return goal

    def _step(self) -> bool:
        frame = self._inbox.peek()
        if frame is None or not self._open:
            return False
        goal = self.goals.goal_for(frame.stamp_ns)
        if goal is None and not self._settings.input.every_frame:
            return False  # The frame waits for a goal, or for a newer frame to overwrite it.
        frame = self._inbox.take() or frame
        if goal is None:
            self._statistics.count('frames_without_goal')
        elif self._is_too_soon(frame, goal):
            self._statistics.count('frames_dropped')
        else:
            self._ground(frame, goal)
        return True

    def _is_too_soon(self, frame: Frame, goal: Goal) -> bool:
        last_goal, last_stamp = self._last_done
        rate = self._settings.max_rate_hz
        if not rate or last_goal != goal.goal_id or frame.stamp_ns < last_stamp:
            return False
        # Cameras jitter: nine tenths of a period count as one.
        return frame.stamp_ns - last_stamp < 0.9e9 / rate

    def _ground(self, frame: Frame, goal: Goal) -> None:
        self._last_done = (goal.goal_id, frame.stamp_ns)
        try:
            with self._statistics.measure('read_image'):
                frame.image_rgb()
        except ImageError as error:
            self._statistics.count('frames_dropped')
            self._problems.report('bad_image', f'image {frame.stamp_ns} is dropped: {error}')
            return
        with self._statistics.measure('ground'):
            self._speak(frame, goal)
        self._statistics.tick('frames_processed')

    def _speak(self, frame: Frame, goal: Goal) -> None:
        """Publish an update when a region is complete, and the last one, whatever happens."""
        update: AnswerUpdate | None = None
        regions = 0
        try:
            for update in self._model.ground(
                    frame.image_rgb(), goal.text, self._settings.limits,
                    lambda: not (self._open and self.goals.is_current(goal))):
                if not update.complete and len(update.answer.regions) > regions:
                    regions = len(update.answer.regions)
                    self._publish(self._result(frame, goal, update))
                self._worker.let_urgent_in(Priority.STREAM)
        except Exception as error:  # The frame's answer must be closed, and the stream go on.
            self._publish(self._failure(frame, goal, update, error))
            self._problems.report('answer_failed', _failure_text(frame, error))
            if not isinstance(error, SamtokError):
                raise
            return
        self._count_words(update)
        self._publish(self._result(frame, goal, update))

    def _count_words(self, update: AnswerUpdate) -> None:
        answer = update.answer
        self._statistics.count('words', len(answer.regions))
        self._statistics.count('malformed_spans', len(answer.malformed))
        for span in answer.malformed[:1]:
            self._problems.report('malformed_span', 'the model wrote a malformed span, which is '
                                  f'left out: {span.reason} at character {span.position}')

    def _result(self, frame: Frame, goal: Goal, update: AnswerUpdate) -> FrameResult:
        answer = update.answer
        return FrameResult(
            frame.stamp_ns, frame.frame_id, frame.size, self._model.tokenizer_id, goal.text,
            goal.goal_id, answer.text, update.complete, answer.regions, len(answer.malformed),
            Status.NO_TARGET if update.no_target else _STATUS[answer.finish_reason])

    def _failure(
        self, frame: Frame, goal: Goal, update: AnswerUpdate | None, error: Exception,
    ) -> FrameResult:
        answer = update.answer if update else None
        return FrameResult(
            frame.stamp_ns, frame.frame_id, frame.size, self._model.tokenizer_id, goal.text,
            goal.goal_id, answer.text if answer else '', True, answer.regions if answer else (),
            len(answer.malformed) if answer else 0, Status.FAILED, str(error))


def _failure_text(frame: Frame, error: Exception) -> str:
    return f'no answer for image {frame.stamp_ns}: {error}'
