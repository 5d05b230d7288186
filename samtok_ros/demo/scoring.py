# SPDX-License-Identifier: Apache-2.0
"""How well the answers fit the rendered truth, goal by goal and in all.

An answer counts for a goal when its image is one for which the goal holds; its masks are compared
with the truth of exactly that image. A goal is judged by its first answer, the one that somebody
who asked waits for. Targets in 3D are compared in every image in which there was one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.demo.camera_views import CameraView
from samtok_ros.demo.goals import DemoGoal
from samtok_ros.demo.lift_scoring import (
    LiftScore,
    LiftSummary,
    Spread,
    score_lifted,
    spread,
    summarise,
)
from samtok_ros.demo.lifted_results import LiftedResult
from samtok_ros.demo.results import GoalAnswer, Results
from samtok_ros.demo.truth import FrameTruth
from samtok_ros.errors import ConfigError
from samtok_ros.lifting.target import LiftStatus
from samtok_ros.masks.scores import iou
from samtok_ros.runtime.records import Status

_SPOKEN = (Status.OK, Status.NO_TARGET, Status.TRUNCATED)


@dataclass(frozen=True, eq=False)
class FrameLift:
    """A target in 3D of one image.

    Attributes:
        result: as the nodes published it.
        score: None when it was refused.
    """

    result: LiftedResult
    score: LiftScore | None


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
        lift: the target in 3D of that first answer; None when none came.
        lifts: of all images that show the goal's target, those between two answers included; none
            for a goal that names nothing.
    """

    goal: DemoGoal
    answer: GoalAnswer | None
    iou: float | None
    is_correct: bool
    frame_ious: tuple[float, ...]
    answers: int
    lift: FrameLift | None = None
    lifts: tuple[FrameLift, ...] = ()


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
        mask_age_ms: from the stamp of an image to its masks, over all masks that came, those of
            images between two answers included; None without any.
        answer_age_ms: the same from the image that the language model was asked about.
        lifting: targets in 3D.
    """

    goals: tuple[GoalScore, ...]
    mean_iou: float | None
    no_target_correct: float | None
    latency_ms_p50: float | None
    latency_ms_p95: float | None
    frames_in: int
    frames_processed: int
    frames_dropped: int
    mask_age_ms: Spread | None
    answer_age_ms: Spread | None
    lifting: LiftSummary


def score_demo(goals: Sequence[DemoGoal], results: Results, truth: Mapping[int, FrameTruth],
               views: Mapping[int, CameraView]) -> DemoScore:
    """Compare answers with the truth.

    Args:
        goals: in the order in which they were asked.
        results: what was answered.
        truth: by stamp.
        views: what the camera saw, by stamp; of all images with a target in 3D.
    Raises:
        ConfigError: there is no truth for an image that was answered.
        ImageError: masks are not of the size of their image.
    """
    scores = tuple(_score_goal(number, goal, results, truth, views)
                   for number, goal in enumerate(goals, start=1))
    latencies = [answer.latency_ms for answer in results.answers if answer.status in _SPOKEN]
    processed = {answer.stamp_ns for answer in results.answers if answer.status in _SPOKEN}
    processed &= set(results.shown)
    return DemoScore(
        scores,
        _mean([score.iou for score in scores if score.iou is not None]),
        _mean([score.is_correct for score in scores if score.iou is None]),
        _percentile(latencies, 50), _percentile(latencies, 95),
        len(results.shown), len(processed), len(results.shown) - len(processed),
        spread([masks.latency_ms for masks in _all_masks(results)]),
        spread([masks.answer_age_ms for masks in _all_masks(results)]),
        _lifting([lift for score in scores for lift in score.lifts]))


def _all_masks(results: Results) -> list[GoalAnswer]:
    return [masks for masks in (*results.followed, *results.answers) if masks.status in _SPOKEN]


def _lifting(lifts: Sequence[FrameLift]) -> LiftSummary:
    return summarise([lift.result for lift in lifts],
                     [lift.score for lift in lifts if lift.score is not None])


def _score_goal(number: int, goal: DemoGoal, results: Results, truth: Mapping[int, FrameTruth],
                views: Mapping[int, CameraView]) -> GoalScore:
    def of_goal(masks: Sequence[GoalAnswer], statuses: Sequence[Status]) -> list[GoalAnswer]:
        found = [each for each in masks if each.goal_id == number and each.status in statuses
                 and goal.start_ns <= each.stamp_ns < goal.end_ns]
        return sorted(found, key=lambda each: each.stamp_ns)

    answers = of_goal(results.answers, (*_SPOKEN, Status.FAILED))
    first = answers[0] if answers else None
    if not goal.targets:
        return GoalScore(goal, first, None, first is not None and _denies(first), (),
                         len(answers))
    ious = tuple(_iou(goal, answer, truth) for answer in answers)
    best = ious[0] if ious else 0.0
    lifts = _lifts(goal, of_goal(_all_masks(results), _SPOKEN),
                   [result for result in results.lifted if result.goal_id == number], truth, views)
    return GoalScore(goal, first, best, best > 0.5, ious, len(answers),
                     lifts.get(first.stamp_ns) if first else None, tuple(lifts.values()))


def _lifts(goal: DemoGoal, masks: Sequence[GoalAnswer], lifted: Sequence[LiftedResult],
           truth: Mapping[int, FrameTruth],
           views: Mapping[int, CameraView]) -> dict[int, FrameLift]:
    """Pair masks with their targets in 3D, by stamp.

    Of several for one image the last one counts that ended well: when things are followed no
    longer, masks and target of the newest image are withdrawn.
    """
    results = {result.stamp_ns: result
               for result in sorted(lifted, key=lambda result: result.status == LiftStatus.OK)}
    lifts: dict[int, FrameLift] = {}
    for stamp_ns, answer in {each.stamp_ns: each for each in masks}.items():
        if (result := results.get(stamp_ns)) is None:
            continue
        score = None
        region = next((r for r in answer.regions if r.region_id == result.region_id), None)
        if result.status == LiftStatus.OK and region is not None:
            score = score_lifted(result, region.mask, _frame(truth, stamp_ns), goal.targets,
                                 views[stamp_ns].surface)
        lifts[stamp_ns] = FrameLift(result, score)
    return lifts


def _denies(answer: GoalAnswer) -> bool:
    return answer.status == Status.NO_TARGET and not answer.regions


def _iou(goal: DemoGoal, answer: GoalAnswer, truth: Mapping[int, FrameTruth]) -> float:
    frame = _frame(truth, answer.stamp_ns)
    return iou(answer.mask(frame.size_hw), frame.mask_of(goal.targets))


def _frame(truth: Mapping[int, FrameTruth], stamp_ns: int) -> FrameTruth:
    if stamp_ns not in truth:
        raise ConfigError('there is no truth for an answer', got=f'stamp {stamp_ns}',
                          fix='give the truth that was made with the bag')
    return truth[stamp_ns]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None
