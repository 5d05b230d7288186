# SPDX-License-Identifier: Apache-2.0
"""How well the answers fit the rendered truth, goal by goal and in all.

An answer counts for a goal when its image is one for which the goal holds; its masks are compared
with the truth of exactly that image. A goal is judged by its first answer, the one that somebody
who asked waits for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.demo.goals import DemoGoal
from samtok_ros.demo.results import GoalAnswer, Results
from samtok_ros.demo.truth import FrameTruth
from samtok_ros.errors import ConfigError
from samtok_ros.masks.scores import iou
from samtok_ros.runtime.records import Status

_SPOKEN = (Status.OK, Status.NO_TARGET, Status.TRUNCATED)


@dataclass(frozen=True, eq=False)
class GoalScore:
    """One goal.

    Attributes:
        goal: what was asked.
        answer: its first answer, None when none came.
        iou: of that answer; 0 without one; None for a goal that names nothing.
        is_correct: for a goal that names nothing whether that was said, otherwise whether the IoU
            is above one half.
        frame_ious: of every image in which the goal was answered; empty for no target.
        answers: in how many images the goal was answered.
    """

    goal: DemoGoal
    answer: GoalAnswer | None
    iou: float | None
    is_correct: bool
    frame_ious: tuple[float, ...]
    answers: int


@dataclass(frozen=True, eq=False)
class DemoScore:
    """The whole demo.

    Attributes:
        goals: one score per goal.
        mean_iou: over the goals that name something; None when there are none.
        no_target_correct: share of the goals that name nothing for which that was said; None when
            there are none.
        latency_ms_p50, latency_ms_p95: from the stamp of an image to its masks, over all answers;
            None without answers.
        frames_in: images that the camera sent.
        frames_processed: images that were answered.
        frames_dropped: all others; a live camera is faster than the model.
    """

    goals: tuple[GoalScore, ...]
    mean_iou: float | None
    no_target_correct: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    frames_in: int
    frames_processed: int
    frames_dropped: int


def score_demo(goals: Sequence[DemoGoal], results: Results,
               truth: Mapping[int, FrameTruth]) -> DemoScore:
    """Compare answers with the truth.

    Args:
        goals: in the order in which they were asked.
        results: what was answered.
        truth: by stamp.
    Raises:
        ConfigError: there is no truth for an image that was answered.
        ImageError: masks are not of the size of their image.
    """
    scores = tuple(_score_goal(number, goal, results, truth)
                   for number, goal in enumerate(goals, start=1))
    latencies = [answer.latency_ms for answer in results.answers if answer.status in _SPOKEN]
    processed = {answer.stamp_ns for answer in results.answers if answer.status in _SPOKEN}
    processed &= set(results.shown)
    return DemoScore(
        scores,
        _mean([score.iou for score in scores if score.iou is not None]),
        _mean([score.is_correct for score in scores if score.iou is None]),
        _percentile(latencies, 50), _percentile(latencies, 95),
        len(results.shown), len(processed), len(results.shown) - len(processed))


def _score_goal(number: int, goal: DemoGoal, results: Results,
                truth: Mapping[int, FrameTruth]) -> GoalScore:
    answers = [answer for answer in results.answers
               if answer.goal_id == number and answer.status in (*_SPOKEN, Status.FAILED)
               and goal.start_ns <= answer.stamp_ns < goal.end_ns]
    answers.sort(key=lambda answer: answer.stamp_ns)
    first = answers[0] if answers else None
    if not goal.targets:
        return GoalScore(goal, first, None, first is not None and _denies(first), (),
                         len(answers))
    ious = tuple(_iou(goal, answer, truth) for answer in answers)
    best = ious[0] if ious else 0.0
    return GoalScore(goal, first, best, best > 0.5, ious, len(answers))


def _denies(answer: GoalAnswer) -> bool:
    return answer.status == Status.NO_TARGET and not answer.regions


def _iou(goal: DemoGoal, answer: GoalAnswer, truth: Mapping[int, FrameTruth]) -> float:
    frame = truth.get(answer.stamp_ns)
    if frame is None:
        raise ConfigError('there is no truth for an answer', got=f'stamp {answer.stamp_ns}',
                          fix='give the truth that was made with the bag')
    return iou(answer.mask(frame.size_hw), frame.mask_of(goal.targets))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
