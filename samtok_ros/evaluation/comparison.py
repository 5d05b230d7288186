# SPDX-License-Identifier: Apache-2.0
"""Two models on the same scenes and questions: is one better, beyond chance?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.evaluation.heldout_scenes import BASE_SEED, EvaluationScene
from samtok_ros.evaluation.samples import Samples
from samtok_ros.evaluation.scene_questions import QuestionPlan
from samtok_ros.evaluation.tabletop import measure
from samtok_ros.pipeline import Pipeline

RESAMPLES = 10_000

Values = dict[str, list[float]]
"""The value of every answer by figure."""


@dataclass(frozen=True)
class Difference:
    """One figure of both models.

    Attributes:
        figure: its name.
        count: answers behind it, the same number for both.
        before, after: values.
        low, high: ends of the 95 % confidence interval of after - before.
    """

    figure: str
    count: int
    before: float
    after: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether 0 lies outside of the interval."""
        return self.low > 0 or self.high < 0


def measure_both(before: Pipeline, after: Pipeline, scenes: Iterable[EvaluationScene],
                 plan: QuestionPlan | None = None, seed: int = BASE_SEED,
                 ) -> list[tuple[Samples, Samples]]:
    """Ask both models the same about each scene.

    Args:
        before: one model.
        after: another one with the same mask tokenizer.
        scenes: with their truth.
        plan: what is asked, see `measure`.
        seed: of the questions.
    Returns:
        for each scene what was measured with either.
    """
    return [(measure(before, [scene], plan, seed), measure(after, [scene], plan, seed))
            for scene in scenes]


def compare(measured: Sequence[tuple[Samples, Samples]], seed: int = 0) -> list[Difference]:
    """Compare what `measure_both` has measured; see `compare_values`."""
    return compare_values([(answer_values(before), answer_values(after))
                           for before, after in measured], seed)


def compare_values(pairs: Sequence[tuple[Values, Values]], seed: int = 0) -> list[Difference]:
    """Work out every figure of both models with the interval of its difference.

    The interval is a paired bootstrap over scenes: questions about one picture are not independent.

    Args:
        pairs: for each scene the values of both models, for the same questions.
        seed: of the resampling.
    """
    names = dict.fromkeys(name for before, _ in pairs for name in before)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(pairs), (RESAMPLES, len(pairs)))
    return [_difference(name, [(before.get(name, []), after.get(name, []))
                               for before, after in pairs], draws) for name in names]


_WITHOUT_TARGET = {'none': 'no_target_recall', 'unknown': 'unknown_recall'}


def answer_values(samples: Samples) -> Values:
    """Return the value of every answer by figure; their means are the figures of a report."""
    values: Values = {}

    def add(name: str, value: float) -> None:
        values.setdefault(name, []).append(float(value))

    for goal in samples.goals:
        if goal.group in _WITHOUT_TARGET:
            add(_WITHOUT_TARGET[goal.group], goal.said_no_target)
            continue
        add('false_refusal', goal.regions == 0)
        add(f'{"grounding" if goal.group == "single" else "several"}_giou', goal.overlap.iou)
        if goal.group == 'single':
            add('grounding_iou50', goal.overlap.iou > 0.5)
    for question in samples.regions:
        add('region_qa', question.right)
    for task in samples.tasks:
        add(f'{task.task}: {task.figure}', task.value)
    return values


def table(differences: Sequence[Difference]) -> str:
    """Return one line for each figure; a star marks those that are certain."""
    rows = [('figure', 'answers', 'before', 'after', 'difference', '95 % interval')]
    rows += [(one.figure, str(one.count), f'{one.before:.4f}', f'{one.after:.4f}',
              f'{one.after - one.before:+.4f}',
              f'{one.low:+.4f} .. {one.high:+.4f}{" *" if one.is_certain else ""}')
             for one in differences]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return '\n'.join('  '.join(cell.rjust(width) if 0 < column < 5 else cell.ljust(width)
                               for column, (cell, width) in enumerate(zip(row, widths, strict=True))
                               ).rstrip() for row in rows)


def _difference(name: str, pairs: Sequence[tuple[list[float], list[float]]],
                draws: np.ndarray) -> Difference:
    """Compare one figure.

    Args:
        name: of the figure.
        pairs: for each scene the values of both models.
        draws: (R, S) scene numbers of each resample.
    """
    assert all(len(before) == len(after) for before, after in pairs), name
    counts = np.array([len(before) for before, _ in pairs], np.float64)
    sums = np.array([[sum(before), sum(after)] for before, after in pairs])
    gains = (sums[:, 1] - sums[:, 0])[draws].sum(1) / np.maximum(counts[draws].sum(1), 1)
    low, high = np.quantile(gains, (0.025, 0.975))
    before, after = sums.sum(0) / counts.sum()
    return Difference(name, int(counts.sum()), float(before), float(after), float(low),
                      float(high))
