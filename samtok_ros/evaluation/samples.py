# SPDX-License-Identifier: Apache-2.0
"""One record per thing that was measured, and the figures that follow from many of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from samtok_ros.masks.scores import Overlap, giou, iou_share

SMALL_AREA, LARGE_AREA = 0.01, 0.03
"""Borders of the size classes, as shares of the image: 1 % is about 55 x 55 pixels of 640 x 480."""


@dataclass(frozen=True)
class MaskSample:
    """A mask that went through its words and back.

    Attributes:
        shape: of the thing.
        area: share of the image that the thing covers.
        iou: with the mask that came back.
    """

    shape: str
    area: float
    iou: float


@dataclass(frozen=True)
class GoalSample:
    """A goal and what the model found.

    Attributes:
        group: 'single', 'several', 'none' or 'unknown', what the goal names.
        kind: finer, such as 'colour shape' or 'left of'.
        area: share of the image that the targets cover; 0 for none.
        overlap: union of the predicted masks against the union of the true ones.
        regions: number of predicted masks.
        said_no_target: whether the answer was exactly "No target.".
        malformed: damaged spans in the answer.
        cut_short: whether a limit ended the answer.
    """

    group: str
    kind: str
    area: float
    overlap: Overlap
    regions: int
    said_no_target: bool
    malformed: int = 0
    cut_short: bool = False


@dataclass(frozen=True)
class RegionSample:
    """A question about a region.

    Attributes:
        kind: such as 'colour of region'.
        area: share of the image that the region covers.
        right: whether the answer was exactly the right one.
    """

    kind: str
    area: float
    right: bool


@dataclass(frozen=True)
class TaskSample:
    """One figure of one answer to a task.

    Attributes:
        task: such as 'grounded caption'.
        kind: finer, such as 'detailed'.
        figure: what is measured, such as 'recall'.
        value: 0..1.
    """

    task: str
    kind: str
    figure: str
    value: float


@dataclass
class Samples:
    """Everything measured so far."""

    masks: list[MaskSample] = field(default_factory=list)
    goals: list[GoalSample] = field(default_factory=list)
    regions: list[RegionSample] = field(default_factory=list)
    tasks: list[TaskSample] = field(default_factory=list)

    def of_group(self, group: str) -> list[GoalSample]:
        """Return the goals of a group."""
        return [goal for goal in self.goals if goal.group == group]


@dataclass(frozen=True)
class Figure:
    """A mean and the number of samples behind it; None without samples."""

    value: float | None
    count: int

    @classmethod
    def mean(cls, values: Sequence[float]) -> 'Figure':
        """Return the mean of some values."""
        return cls(float(sum(values) / len(values)) if values else None, len(values))


def headline_figures(samples: Samples) -> dict[str, Figure]:
    """Return the figures that the model is judged by.

    A goal with targets counts as refused if no mask was given, whatever was said instead. A goal
    without targets counts only if the answer is exactly "No target.".

    Source: samtok-spec 4.1 and 4.8.
    """
    single, none, unknown = map(samples.of_group, ('single', 'none', 'unknown'))
    with_targets = single + samples.of_group('several')
    overlaps = [goal.overlap for goal in single]
    return {
        'mask_miou': Figure.mean([mask.iou for mask in samples.masks]),
        'grounding_giou': Figure(giou(overlaps), len(overlaps)),
        'grounding_iou50': Figure(iou_share(overlaps), len(overlaps)),
        'no_target_recall': Figure.mean([goal.said_no_target for goal in none]),
        'unknown_recall': Figure.mean([goal.said_no_target for goal in unknown]),
        'false_refusal': Figure.mean([goal.regions == 0 for goal in with_targets]),
        'region_qa': Figure.mean([question.right for question in samples.regions]),
    }


def figures_by_task(samples: Samples) -> dict[str, dict[str, Figure]]:
    """Return per task the mean of each figure that is measured on it."""
    tasks = dict.fromkeys(sample.task for sample in samples.tasks)
    return {task: _split([sample for sample in samples.tasks if sample.task == task],
                         lambda sample: sample.figure, _mean_value) for task in tasks}


def figures_by_kind(samples: Samples) -> dict[str, dict[str, Figure]]:
    """Return per group and kind the figure that fits it.

    Goals with targets have their gIoU, goals without the share of "No target.", region questions
    the share of right answers, masks their mean IoU by shape.
    """
    return {
        'single': _split(samples.of_group('single'), lambda goal: goal.kind, _goal_giou),
        'several': _split(samples.of_group('several'), lambda goal: goal.kind, _goal_giou),
        'none': _split(samples.of_group('none'), lambda goal: goal.kind, _share_refused),
        'unknown': _split(samples.of_group('unknown'), lambda goal: goal.kind, _share_refused),
        'region': _split(samples.regions, lambda question: question.kind, _share_right),
        'mask': _split(samples.masks, lambda mask: mask.shape, _mask_miou),
    }


def figures_by_area(samples: Samples) -> dict[str, dict[str, Figure]]:
    """Return the figures by the size of the thing in the picture."""
    return {
        'mask_miou': _split(samples.masks, _size_class, _mask_miou),
        'grounding_giou': _split(samples.of_group('single'), _size_class, _goal_giou),
        'region_qa': _split(samples.regions, _size_class, _share_right),
    }


def _goal_giou(goals: Sequence[GoalSample]) -> Figure:
    return Figure(giou([goal.overlap for goal in goals]), len(goals))


def _share_refused(goals: Sequence[GoalSample]) -> Figure:
    return Figure.mean([goal.said_no_target for goal in goals])


def _mask_miou(masks: Sequence[MaskSample]) -> Figure:
    return Figure.mean([mask.iou for mask in masks])


def _share_right(questions: Sequence[RegionSample]) -> Figure:
    return Figure.mean([question.right for question in questions])


def _mean_value(tasks: Sequence[TaskSample]) -> Figure:
    return Figure.mean([sample.value for sample in tasks])


def _size_class(sample: MaskSample | GoalSample | RegionSample) -> str:
    borders = (0.0, SMALL_AREA, LARGE_AREA, 1.0)
    place = 1 + (sample.area >= SMALL_AREA) + (sample.area >= LARGE_AREA)
    return f'{borders[place - 1]:.0%} to {borders[place]:.0%}'


def _split(samples: Sequence, key: Callable[[object], str],
           measure: Callable[[Sequence], Figure]) -> dict[str, Figure]:
    """Measure each class of samples alone, classes in the order of their names."""
    classes: dict[str, list] = {}
    for sample in samples:
        classes.setdefault(key(sample), []).append(sample)
    return {name: measure(classes[name]) for name in sorted(classes)}
