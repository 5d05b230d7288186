# SPDX-License-Identifier: Apache-2.0
"""Runs variants of the same work in turns, so that a busy moment of the machine hits all of them.

Knows nothing of models: a case is a few callables, what they must agree on, and what to compare.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOTAL = 'total'


@dataclass(frozen=True)
class Outcome:
    """What one run of one variant gave.

    Attributes:
        result: whatever the check of the case wants to see.
        marks_s: seconds from the start to moments on the way, by name.
    """

    result: Any
    marks_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """What need not always agree, but often enough; repetitions of a case are taken together.

    Attributes:
        text: what should be so; the same in all repetitions.
        agree: how many are so in this repetition.
        count: of how many.
        least: smallest share of all that must be so; 1 allows no exception.
        fewest: below that many, in all, nothing can be said.
    """

    text: str
    agree: int
    count: int
    least: float
    fewest: int = 1


@dataclass(frozen=True)
class Comparison:
    """Two or three variants at one moment.

    Attributes:
        phase: what the comparison is called.
        variants: variant by side: 'A', perhaps 'A2', and 'B'.
        mark: the moment; variants that do not note it have it at their end.
    """

    phase: str
    variants: Mapping[str, str]
    mark: str = TOTAL


@dataclass(frozen=True)
class Case:
    """Work that several variants do.

    Attributes:
        masks: N.
        size_hw: of the image.
        prepare: makes the inputs of one repetition from its number, outside the timing.
        variants: by name, from inputs to outcome.
        disagreement: given inputs and all outcomes of a repetition, says what is not the same,
            which voids the case, and how much is, where only the share of all repetitions counts.
        comparisons: what is reported.
    """

    masks: int
    size_hw: tuple[int, int]
    prepare: Callable[[int], Any]
    variants: Mapping[str, Callable[[Any], Outcome]]
    disagreement: Callable[[Any, Mapping[str, Outcome]], Sequence[str | Share]]
    comparisons: Sequence[Comparison]


@dataclass(frozen=True)
class Ratio:
    """How many times as long the baseline took, repetition by repetition.

    Attributes:
        median: of all repetitions.
        low, high: smallest and largest.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        phase, masks, size_hw: what was done.
        seconds: of every repetition, by side.
        void: why the figures do not count; empty when all sides agreed.
    """

    phase: str
    masks: int
    size_hw: tuple[int, int]
    seconds: Mapping[str, Sequence[float]]
    void: Sequence[str] = ()

    def median_s(self, side: str) -> float:
        """Median over the repetitions."""
        return float(np.median(self.seconds[side]))

    def p95_s(self, side: str) -> float:
        """95th percentile over the repetitions."""
        return float(np.percentile(self.seconds[side], 95))

    def ratio(self, baseline: str) -> Ratio | None:
        """Compare with our side, pairwise; None where the figures do not count."""
        if self.void or baseline not in self.seconds:
            return None
        ratios = np.divide(self.seconds[baseline], self.seconds['B'])
        return Ratio(float(np.median(ratios)), float(ratios.min()), float(ratios.max()))


def run_case(case: Case, warm_ups: int, repeats: int,
             clock: Callable[[], float] = time.perf_counter) -> list[Row]:
    """Run all variants of a case, each repetition in another order.

    Args:
        case: the work.
        warm_ups: repetitions that are not counted; what they give must agree too.
        repeats: repetitions that count.
        clock: seconds; on a GPU one that waits for the device first.
    """
    seconds: dict[str, dict[str, list[float]]] = {name: {} for name in case.variants}
    found: list[str | Share] = []
    for number in range(warm_ups + repeats):
        inputs = case.prepare(number)
        outcomes: dict[str, Outcome] = {}
        for name in _in_turn(list(case.variants), number):
            started = clock()
            outcome = outcomes[name] = case.variants[name](inputs)
            marks = {**outcome.marks_s, TOTAL: clock() - started}
            if number >= warm_ups:
                for mark, value in marks.items():
                    seconds[name].setdefault(mark, []).append(value)
        found += case.disagreement(inputs, outcomes)
    void = _reasons(found)
    return [Row(one.phase, case.masks, case.size_hw,
                {side: seconds[name].get(one.mark, seconds[name][TOTAL])
                 for side, name in one.variants.items()}, void)
            for one in case.comparisons]


def _reasons(found: Sequence[str | Share]) -> tuple[str, ...]:
    """Say why a case is void: each text once, and each share that is too small in all."""
    reasons = list(dict.fromkeys(one for one in found if isinstance(one, str)))
    shares: dict[str, list[Share]] = {}
    for one in found:
        if isinstance(one, Share):
            shares.setdefault(one.text, []).append(one)
    for text, same in shares.items():
        agree, count = sum(one.agree for one in same), sum(one.count for one in same)
        if count >= same[0].fewest and agree < same[0].least * count:
            reasons.append(f'{text}: {agree} of {count}, where {same[0].least:.0%} must')
    return tuple(reasons)


def _in_turn(names: list[str], number: int) -> list[str]:
    """Rotate the order, so that none always comes after the same other one."""
    start = number % len(names)
    return names[start:] + names[:start]
