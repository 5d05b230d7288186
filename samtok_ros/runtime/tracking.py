# SPDX-License-Identifier: Apache-2.0
"""Masks between two answers: what the mask tokenizer node does with images nobody asked about."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from samtok_ros.errors import SamtokError
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mailbox import Mailbox
from samtok_ros.runtime.memory import explained
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult, Origin, Status
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.worker import Priority, Worker
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings
from samtok_ros.stamps import is_step_back
from samtok_ros.tracking.policies import Policy
from samtok_ros.tracking.tracker import Tracker
from samtok_ros.tracking.walk import steps_between

Publish = Callable[[FrameResult, Frame], None]

_ON_ITS_WAY_S = 0.5
"""A goal that one node has heard may still be on its way to the other for so long."""


@dataclass(frozen=True)
class _Heard:
    """The goal that this node heard, which is sooner than words tell of it.

    A sender may reach one of the two nodes only. So words overrule it: what counts is which goal
    the grounding node answers.

    Attributes:
        text: of the goal, empty when it was cleared.
        at_s: when it was heard, in the clock of MaskTracking.
        newest_ns: stamp of the newest image by then.
        last_id: number of the goal that words were of by then.
        goal_id: its own number, None until words tell it.
    """

    text: str
    at_s: float
    newest_ns: int
    last_id: int
    goal_id: int | None = None

    def is_overruled_by(self, words: FrameResult, now_s: float) -> bool:
        """Say whether words of another goal show that it is the standing one.

        It is when it came later, and when it is still answered after a while; the last answers to
        the goal before are about images from before that.
        """
        if not words.complete or words.status is Status.CANCELLED:
            return False
        if self.goal_id is not None and words.goal_id > self.goal_id:
            return True
        return (now_s - self.at_s > _ON_ITS_WAY_S
                and words.stamp_ns - self.newest_ns > _ON_ITS_WAY_S * 1e9)


class MaskTracking:
    """Follows the regions of the last answer to the standing goal, in the worker.

    Always the newest image; those that come while it is busy are left out and counted. Answers,
    words and services go first.
    """

    def __init__(
        self, worker: Worker, publish: Publish, problems: ProblemLog, statistics: Statistics,
        shares_worker: bool = False, now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire it up; `configure` gives it a policy.

        Args:
            worker: its thread runs the model.
            publish: called in the worker's thread, once for each image.
            problems: told of images that cannot be followed in.
            statistics: told of durations and counts.
            shares_worker: the model that speaks is in this process; track.load counts then.
            now: a clock in seconds; tests pass their own.
        """
        self._worker = worker
        self._publish = publish
        self._problems = problems
        self._statistics = statistics
        self._shares_worker = shares_worker
        self._now = now
        self._inbox: Mailbox[Frame] = Mailbox()
        self._settings = MaskTokenizerSettings()
        self._frames = FrameCache(1, 1)
        self._tracker: Tracker | None = None
        self._heard: _Heard | None = None
        self._last_id = 0
        self._taken_back: int | None = None
        self._answer: FrameResult | None = None
        self._last_frame: Frame | None = None
        self._rest_until = 0.0
        self._given = 0
        self._open = False

    def configure(
        self, settings: MaskTokenizerSettings, policy: Policy | None, frames: FrameCache,
    ) -> None:
        """Take settings, a policy (None to follow nothing) and the cache with the frames."""
        self._settings, self._frames = settings, frames
        self._tracker = None if policy is None else Tracker(policy, settings.track, self._given)

    def change_settings(self, settings: MaskTokenizerSettings) -> None:
        """Take changed live settings."""
        self._settings = settings
        tracker = self._tracker
        if tracker is not None:
            tracker.settings = settings.track

    def open(self) -> None:
        """Start to follow; which goal stands is not known yet."""
        self._heard = self._taken_back = None
        self._open = True

    def close(self, timeout_s: float = 10.0) -> bool:
        """Stop and forget everything; False when a step does not end in this time."""
        if not self._open:
            return True
        self._open = False
        ended = self._worker.settle(timeout_s)
        self._forget()
        return ended

    def release(self) -> None:
        """Let go of the model."""
        if self._tracker is not None:
            self._given = self._tracker.given
        self._tracker = None

    def forget(self) -> None:
        """Forget everything in silence: what was followed belongs to another time."""
        self._inbox.clear()
        if self._heard is not None:  # All images of the new time are newer than it.
            self._heard = replace(self._heard, newest_ns=0)
        # Before words of the new time are decoded, which may wait for its first image already.
        self._worker.submit(Priority.WORDS, self._forget)

    def goal_changed(self, text: str) -> None:
        """Follow the regions of no other goal from now on; of none at all when it is empty."""
        if self._heard is None or self._heard.text != text:
            newest = self._frames.newest()
            self._heard = _Heard(text, self._now(), newest.stamp_ns if newest else 0,
                                 self._last_id)
        self._end_soon_unless_wanted('there is a new goal' if text else 'the goal was cleared')

    def words_arrived(self, words: FrameResult) -> None:
        """Look at words before they are decoded: those of a cancelled answer take its goal back.

        Words come in the order in which they were said. So all that wait to be decoded are of that
        goal and of those before it, and are not followed; and words of such a goal that come later
        are of a grounding node that has begun anew, and count.
        """
        self._compare_goals(words)
        if words.complete and words.status is Status.CANCELLED:
            self._taken_back = words.goal_id
            self._end_soon_unless_wanted(words.message or 'the answer was cancelled')
        elif self._is_taken_back(words):
            self._taken_back = None

    def frame_arrived(self, frame: Frame) -> None:
        """Take a new image; returns at once."""
        if self._open and self._tracker is not None:
            if not self._inbox.put(frame) and self._answer is not None:
                self._statistics.count('frames_not_tracked')
            self._wake()

    def wake_if_rested(self) -> None:
        """Look at an image that had to wait for others; call it several times a second."""
        if len(self._inbox) and self._now() >= self._rest_until:
            self._wake()

    def take_answer(self, result: FrameResult, frame: Frame) -> FrameResult:
        """Take words of the standing goal that were decoded; for the worker thread.

        Returns:
            The same, with the numbers of the things that are followed from now on.
        """
        if self._tracker is None or not self._open:
            return result
        if self._answer is not None and result.goal_id != self._answer.goal_id:
            self._end('there is a new goal')
        if not result.complete or not self._is_wanted(result) or (
                result.status in (Status.FAILED, Status.CANCELLED)):
            return result
        if result.status is Status.NO_TARGET:
            self._forget()  # The answer itself says that there is nothing.
            return result
        return self._anchor(result, frame)

    def catch_up(self, result: FrameResult) -> None:
        """Go on from an answer to the newest image; for the worker thread."""
        newest = self._frames.newest()
        if (self._answer is not None and result is self._answer and newest is not None
                and newest.stamp_ns > result.stamp_ns):
            self._rest_until = 0.0
            self._inbox.put(newest)
            self._wake()

    def is_outdated(self, result: FrameResult) -> bool:
        """Say whether an answer should not be shown: a newer image was, and will be again.

        Nor should one that came too late: to a goal that no longer stands, or from another time.
        """
        if self._tracker is None:
            return False
        last = self._last_frame
        return not self._is_wanted(result) or (
            self._answer is not None and last.stamp_ns > result.stamp_ns)

    @property
    def policy(self) -> str | None:
        """How things are followed, None when they are not."""
        return None if self._tracker is None else self._settings.track.policy

    @property
    def alive(self) -> int:
        """Things that are followed and not lost."""
        return 0 if self._tracker is None else self._tracker.alive

    @property
    def lost(self) -> int:
        """Things that are followed and lost in the newest image."""
        return 0 if self._tracker is None else self._tracker.lost

    @property
    def answer_age_s(self) -> float | None:
        """Time from the image of the answer to the newest one, None without an answer."""
        answer, last = self._answer, self._last_frame
        return None if answer is None or last is None else (
            last.stamp_ns - answer.stamp_ns) / 1e9

    def _anchor(self, result: FrameResult, frame: Frame) -> FrameResult:
        answer = self._answer
        if answer is not None and result.stamp_ns < answer.stamp_ns:
            return result  # Words that came late, about an image before that of the last answer.
        if not result.regions:
            self._forget()
            return result
        if answer is not None and result.size != answer.size:
            self._end('the images have another size')
        try:
            regions = self._tracker.anchor(frame, result.regions)
        except Exception as error:
            self._forget()
            self._failed(frame, error)
            return result
        self._answer = replace(result, regions=regions)
        if self._inbox.peek() is frame:
            self._inbox.take()  # It is done.
        if self._last_frame is None or self._last_frame.stamp_ns < frame.stamp_ns:
            self._last_frame = frame
        return self._answer

    def _wake(self) -> None:
        self._worker.submit(Priority.TRACK, self._follow_newest)

    def _follow_newest(self) -> None:
        answer = self._answer
        if answer is None or not self._open:
            self._inbox.clear()
            return
        if self._now() < self._rest_until:
            return  # The image stays, unless a newer one overwrites it.
        frame = self._inbox.take()
        if frame is None or frame.stamp_ns <= self._tracker.newest_ns:
            return
        started = self._now()
        try:
            with self._statistics.measure('track'):
                self._follow(frame, answer)
        except Exception as error:
            self._failed(frame, error)
        finally:
            if self._shares_worker:
                cost = self._now() - started
                self._rest_until = self._now() + cost * (1 / self._settings.track.load - 1)

    def _follow(self, frame: Frame, answer: FrameResult) -> None:
        age_s = (frame.stamp_ns - answer.stamp_ns) / 1e9
        if age_s > self._settings.track.max_age_s:
            self._last_frame = frame
            self._end(f'the last answer is {age_s:.1f} s old, which is more than track.max_age_s')
            return
        if frame.size != answer.size:
            self._end('the images have another size')
            return
        tracker = self._tracker
        if tracker.walks and not self._walk(tracker, frame, answer):
            return
        regions = tracker.follow(frame)
        if tracker.words_fit:
            frame.last_regions = tuple(
                replace(region, mask=None, box_xyxy=None, mask_score=None)
                for region in regions if not region.lost)
        self._last_frame = frame
        self._statistics.tick('frames_tracked')
        self._statistics.count('regions_lost', sum(region.lost for region in regions))
        self._publish(replace(answer, stamp_ns=frame.stamp_ns, frame_id=frame.frame_id,
                              regions=regions, origin=Origin.TRACKED,
                              answer_stamp_ns=answer.stamp_ns, status=Status.OK, message=''),
                      frame)

    def _walk(self, tracker: Tracker, frame: Frame, answer: FrameResult) -> bool:
        """Look at some images on the way to this one; False when it is to be left then."""
        for between in steps_between(self._frames.newest_first(), tracker.newest_ns,
                                     frame.stamp_ns):
            try:
                if between.size == answer.size:
                    tracker.follow(between)
            except Exception as error:  # The way goes on without it.
                self._failed(between, error)
            self._worker.let_urgent_in(Priority.TRACK)
            if self._answer is not answer or not self._open:
                return False  # There is a newer answer, from which the newest image is reached.
        return True

    def _is_wanted(self, result: FrameResult) -> bool:
        heard, newest = self._heard, self._frames.newest()
        # An answer may be on its way while time jumps back. Nothing would be newer than its image.
        is_of_this_time = newest is None or not is_step_back(result.stamp_ns, newest.stamp_ns)
        return is_of_this_time and not self._is_taken_back(result) and (
            heard is None or result.goal == heard.text)

    def _compare_goals(self, words: FrameResult) -> None:
        """Believe words rather than what was heard of goals."""
        if not words.goal_id:
            return  # They answer no standing goal.
        heard, self._last_id = self._heard, words.goal_id
        if heard is None:
            return
        if words.goal == heard.text:
            if words.goal_id > heard.last_id:
                self._heard = replace(heard, goal_id=words.goal_id)
        elif heard.is_overruled_by(words, self._now()):
            self._heard = replace(heard, text=words.goal, goal_id=words.goal_id)
            self._problems.report(
                'goal_missed', 'a goal has reached only one of the two nodes. The one that is '
                'answered is followed. Whoever sends goals must wait for both subscriptions, '
                'which there are since the first answer: ros2 topic pub --once -w 2')
            self._end_soon_unless_wanted('there is a new goal')

    def _is_taken_back(self, result: FrameResult) -> bool:
        return self._taken_back is not None and result.goal_id <= self._taken_back

    def _end_soon_unless_wanted(self, reason: str) -> None:
        self._worker.submit(Priority.TRACK, lambda: self._end_unless_wanted(reason))

    def _end_unless_wanted(self, reason: str) -> None:
        if self._answer is not None and not self._is_wanted(self._answer):
            self._end(reason)

    def _end(self, reason: str) -> None:
        """Say of all things that they are followed no longer."""
        answer, frame = self._answer, self._last_frame
        if answer is None:
            return
        regions = self._tracker.end()
        self._forget()
        self._publish(replace(answer, stamp_ns=frame.stamp_ns, frame_id=frame.frame_id,
                              regions=regions, origin=Origin.TRACKED,
                              answer_stamp_ns=answer.stamp_ns, status=Status.CANCELLED,
                              message=f'nothing is followed any more: {reason}'), frame)

    def _forget(self) -> None:
        if self._tracker is not None:
            self._tracker.end()
        self._answer = self._last_frame = None
        self._inbox.clear()

    def _failed(self, frame: Frame, error: Exception) -> None:
        known = explained(error)
        # Whatever it is: an answer must go out, and the next image be looked at.
        detail = '' if isinstance(known, SamtokError) else ''.join(
            traceback.format_exception(error))
        self._problems.report('track_failed', f'nothing is followed in image {frame.stamp_ns}: '
                              f'{known if not detail else repr(known)}', detail)
