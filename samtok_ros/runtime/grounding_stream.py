# SPDX-License-Identifier: Apache-2.0
"""Frames and a standing goal in, words out: what the grounding node does between messages."""

import weakref
from collections.abc import Callable, Iterator

from samtok_ros.errors import ConfigError, DeviceError, ImageError, SamtokError
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import goal_instruction
from samtok_ros.runtime.answer_results import (
    answer_result,
    close_answer,
    count_words,
    failed_result,
)
from samtok_ros.runtime.backend import AnswerUpdate, GroundingModel, Question
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.goal_board import GoalBoard
from samtok_ros.runtime.mailbox import EveryItemQueue, Inbox, Mailbox
from samtok_ros.runtime.memory import explained
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult, Goal, Status
from samtok_ros.runtime.staleness import stale_text
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.time_budget import TimeBudget
from samtok_ros.runtime.worker import Priority, Worker
from samtok_ros.settings.grounding import GroundingSettings


class GroundingStream:
    """Grounds the standing goal in the frames that come in, one at a time, in the worker."""

    def __init__(
        self, worker: Worker, frames: FrameCache, publish: Callable[[FrameResult], None],
        problems: ProblemLog, statistics: Statistics, ros_now_ns: Callable[[], int],
    ) -> None:
        """Wire it up; `open` starts it.

        Args:
            worker: its thread runs the model.
            frames: told which frame is spoken of, so that it is there when its words are decoded.
            publish: called in the worker's thread, several times per frame.
            problems: told of what goes wrong with a frame.
            statistics: told of frames and durations.
            ros_now_ns: ROS time, against which the age of an image is measured.
        """
        self._worker = worker
        self._frames = frames
        self._publish = publish
        self._problems = problems
        self._statistics = statistics
        self._ros_now_ns = ros_now_ns
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

    def clear_goal(self) -> None:
        """Forget the standing goal; an answer that is being spoken ends as cancelled."""
        self.goals.clear()
        self._worker.wake()

    def time_jumped_back(self) -> None:
        """Forget the frames from before the jump, and when a frame was grounded last."""
        self._inbox.clear()
        self._last_frame = None
        self._last_done = (0, 0)

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
        """Replace the standing goal, or clear it with an empty text.

        Raises:
            ConfigError: the model cannot be told it; the goal before holds on.
        """
        if text:
            _check_goal(text)
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
        elif not self._is_stale(frame):
            self._ground(frame, goal)
        return True

    def _is_stale(self, frame: Frame) -> bool:
        text = stale_text(frame.stamp_ns, self._ros_now_ns(), self._settings.input.max_age_s)
        if text:
            self._statistics.count('frames_stale')
            self._problems.report('stale_image', f'image {frame.stamp_ns} is dropped: {text}')
        return bool(text)

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
        self._speak(frame, goal)
        self._statistics.tick('frames_processed')

    def _speak(self, frame: Frame, goal: Goal) -> None:
        """Publish an update when a region is complete, and the last one, whatever happens."""
        budget = TimeBudget(self._settings.limits.deadline_s)
        update: AnswerUpdate | None = None
        regions = 0
        self._frames.protect(frame)
        try:
            for update in self._updates(frame, goal, budget):
                if update.complete:
                    continue
                if len(update.answer.regions) > regions:
                    regions = len(update.answer.regions)
                    self._tell(frame, answer_result(frame, goal, self._model.tokenizer_id, update))
                with budget.pause():
                    self._worker.let_urgent_in(Priority.STREAM)
        except Exception as error:  # The frame's answer must be closed, and the stream go on.
            reason = explained(error)
            self._fail(frame, goal, update, reason)
            if not isinstance(reason, SamtokError):
                raise
            return
        self._statistics.add_duration('ground', budget.used_s)
        self._close(frame, goal, update)

    def _updates(self, frame: Frame, goal: Goal, budget: TimeBudget) -> Iterator[AnswerUpdate]:
        # Time is limited here and not by the model, whose clock runs on while others are let in.
        limits = self._settings.limits
        question = Question(goal_instruction(goal.text), goal.text, image_key=weakref.ref(frame))
        return self._model.answer(
            frame.image_rgb(), question, GenerationLimits(limits.max_new_tokens, limits.max_masks),
            lambda: not self._is_wanted(goal) or budget.is_over())

    def _is_wanted(self, goal: Goal) -> bool:
        return self._open and self.goals.is_current(goal)

    def _close(self, frame: Frame, goal: Goal, update: AnswerUpdate) -> None:
        count_words(update, self._statistics, self._problems)
        close_answer(frame, update)
        in_time = update.answer.finish_reason != 'cancelled' or not self._is_wanted(goal)
        self._tell(frame, answer_result(frame, goal, self._model.tokenizer_id, update,
                                        None if in_time else Status.TRUNCATED))

    def _fail(
        self, frame: Frame, goal: Goal, update: AnswerUpdate | None, error: Exception,
    ) -> None:
        if isinstance(error, DeviceError):
            self._model.forget()
        close_answer(frame, update)
        self._tell(frame, failed_result(frame, goal, self._model.tokenizer_id, update, str(error)))
        self._problems.report('answer_failed', f'no answer for image {frame.stamp_ns}: {error}')

    def _tell(self, frame: Frame, result: FrameResult) -> None:
        # Anew each time: requests that were let in meanwhile spoke of other frames.
        self._frames.protect(frame)
        self._publish(result)


def _check_goal(text: str) -> None:
    """Refuse once what would fail anew with every image."""
    try:
        goal_instruction(text)
    except ConfigError as error:
        raise ConfigError(
            error.message, expected=error.expected, got=error.got,
            fix='say it in words alone; a goal of the action ground may refer to regions') from None
