# SPDX-License-Identifier: Apache-2.0
"""A named figure, with what has to be said about it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One row of a table.

    Attributes:
        name: as published where it is a published figure.
        value: in 0..1 where the unit is percent; None where it could not be computed.
        count: number of samples behind it.
        note: what it is where the name does not say, or why there is no value.
        unit: '%' or what is counted.
    """

    name: str
    value: float | None
    count: int
    note: str = ''
    unit: str = '%'

    @property
    def shown(self) -> float | None:
        """The value as papers print it: percent times 100."""
        if self.value is None:
            return None
        return self.value * 100 if self.unit == '%' else self.value


def mean_of(name: str, values: Iterable[float], note: str = '', unit: str = '%') -> Measure:
    """Return the mean of some values as a measure; no value without any."""
    found = list(values)
    if not found:
        return Measure(name, None, 0, note or 'no such samples', unit)
    return Measure(name, sum(found) / len(found), len(found), note, unit)


def recorded(measures: Iterable[Measure]) -> dict[str, dict[str, object]]:
    """Return measures as JSON values by name, rounded to four places."""
    return {measure.name: {
        'value': None if measure.shown is None else round(measure.shown, 4),
        'unit': measure.unit, 'count': measure.count,
        **({'note': measure.note} if measure.note else {})} for measure in measures}


def measure_table(measures: Iterable[Measure]) -> str:
    """Return measures as text, one a line, values with two places as papers print them."""
    rows = [('figure', 'value', 'unit', 'count', 'note')]
    for measure in measures:
        value = '-' if measure.shown is None else f'{measure.shown:.2f}'
        rows.append((measure.name, value, measure.unit, str(measure.count), measure.note))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return '\n'.join('  '.join(
        cell.rjust(width) if column in (1, 3) else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows)
