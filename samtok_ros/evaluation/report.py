# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation as a file and as a table."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from samtok_ros.evaluation.samples import (
    Figure,
    Samples,
    figures_by_area,
    figures_by_kind,
    figures_by_task,
    headline_figures,
)
from samtok_ros.model_directory import model_name
from samtok_ros.tokenizer.checkpoint import content_hash

_PACKAGES = ('samtok_ros', 'torch', 'transformers', 'sam2', 'numpy', 'mujoco')


@dataclass(frozen=True)
class Bar:
    """What a figure has to reach.

    Attributes:
        limit: the border.
        at_least: True: at least the limit; False: below it.
    """

    limit: float
    at_least: bool = True

    def holds(self, value: float | None) -> bool:
        """Say whether a figure reaches it; one without samples does not."""
        if value is None:
            return False
        return value >= self.limit if self.at_least else value < self.limit

    def __str__(self) -> str:
        return f'{">=" if self.at_least else "<"} {self.limit:.2f}'


BARS: Mapping[str, Bar] = {
    'mask_miou': Bar(0.90),
    'grounding_giou': Bar(0.70),
    'grounding_iou50': Bar(0.80),
    'no_target_recall': Bar(0.90),
    'unknown_recall': Bar(0.90),
    'false_refusal': Bar(0.05, at_least=False),
    'region_qa': Bar(0.90),
}


@dataclass(frozen=True)
class RunFacts:
    """Where the figures come from.

    Attributes:
        model_dir: the model directory.
        tokenizer_id: name and content hash of its mask tokenizer.
        device: torch device.
        dtype: number format of the heavy parts.
        scenes: number of scenes.
        seed: base seed of the scenes and the questions.
        seconds: wall clock, rendering included.
    """

    model_dir: Path
    tokenizer_id: str
    device: str
    dtype: str
    scenes: int
    seed: int
    seconds: float


def report(samples: Samples, facts: RunFacts) -> dict[str, object]:
    """Return everything that is written to the file.

    Args:
        samples: what was measured.
        facts: where.
    Returns:
        A JSON object: the headline figures with count and bar, breakdowns, and the facts.
    """
    headline = {
        name: {**_plain(figure), 'bar': str(BARS[name]), 'holds': BARS[name].holds(figure.value)}
        for name, figure in headline_figures(samples).items()}
    return {
        **headline,
        'tasks': _plain_groups(figures_by_task(samples)),
        'by_kind': _plain_groups(figures_by_kind(samples)),
        'by_area': _plain_groups(figures_by_area(samples)),
        'malformed_spans': sum(goal.malformed for goal in samples.goals),
        'cut_short': sum(goal.cut_short for goal in samples.goals),
        'scenes': facts.scenes,
        'seed': facts.seed,
        'seconds': round(facts.seconds, 1),
        'model': {'name': model_name(facts.model_dir), 'mask_tokenizer': facts.tokenizer_id,
                  'weights': weight_hashes(facts.model_dir), 'device': facts.device,
                  'dtype': facts.dtype},
        'versions': versions(),
    }


def table(samples: Samples) -> str:
    """Return the headline figures with their bars, and the breakdown by kind, as text."""
    rows = [('figure', 'value', 'count', 'bar', 'holds')]
    for name, figure in headline_figures(samples).items():
        rows.append((name, _shown(figure), str(figure.count), str(BARS[name]),
                     'yes' if BARS[name].holds(figure.value) else 'NO'))
    rows.append(('',) * 5)
    for breakdown in (figures_by_task(samples), figures_by_kind(samples),
                      figures_by_area(samples)):
        for group, figures in breakdown.items():
            rows += [(f'{group}: {name}', _shown(figure), str(figure.count), '', '')
                     for name, figure in figures.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return '\n'.join(_line(row, widths) for row in rows)


def weight_hashes(model_dir: Path) -> dict[str, str]:
    """Return the content hash of every weights file in a model directory, by file name."""
    return {path.name: content_hash(path) for path in sorted(model_dir.iterdir())
            if path.suffix in ('.safetensors', '.pth')}


def versions(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the versions of Python, of the packages that figures depend on, and of some more."""
    found = {'python': platform.python_version()}
    for package in (*_PACKAGES, *more):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = 'not installed'
    return found


def _plain(figure: Figure) -> dict[str, float | int | None]:
    value = None if figure.value is None else round(figure.value, 4)
    return {'value': value, 'count': figure.count}


def _plain_groups(groups: dict[str, dict[str, Figure]]) -> dict[str, dict[str, dict]]:
    return {group: {name: _plain(figure) for name, figure in figures.items()}
            for group, figures in groups.items()}


def _shown(figure: Figure) -> str:
    return '-' if figure.value is None else f'{figure.value:.3f}'


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    name, value, count, bar, holds = (
        cell.rjust(width) if column in (1, 2) else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
    return f'{name}  {value}  {count}  {bar}  {holds}'.rstrip()
