# SPDX-License-Identifier: Apache-2.0
"""What following things was measured to be worth: JSON, a table and a plot."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.evaluation.tracking import (
    LAGS,
    SEEN,
    LagSample,
    LifeSample,
    TrackingSamples,
)
from samtok_ros.evaluation.tracking_scenes import GONE, KINDS, PLAIN, RATE_HZ
from samtok_ros.evaluation.tracking_signals import signal_figures, signal_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ALL = 'all'
_RIGHT = 0.5
_COLOURS = {'hold': '#999999', 'redecode': '#e69f00', 'reencode': '#0072b2', 'memory': '#009e73'}
_STYLES = {'truth': '-', 'model': '--'}


def figures(samples: TrackingSamples) -> dict[str, object]:
    """Return all figures as one JSON object; a rate without samples is None."""
    return {
        'iou_by_lag': {
            answers: {kind: {policy: {str(lag): _mean(
                one.iou for one in samples.lags if one.answers == answers and one.lag == lag
                and one.policy == policy and kind in (_ALL, one.kind)) for lag in LAGS}
                for policy in _names(one.policy for one in samples.lags)}
                for kind in (_ALL, *_kinds(samples))}
            for answers in _names(one.answers for one in samples.lags)},
        'life': _lives(samples.lives, samples),
        'trust': _lives(samples.rules, samples),
        'signals': signal_figures(samples.signals),
    }


def life_figures(samples: Iterable[LifeSample]) -> dict[str, float | int | None]:
    """Return how far what was said about a thing is true.

    false_alive: of the images without the thing, those in which it is said to be there.
    wrong: of the images with it, those in which something else is said to be it.
    false_lost: of the images in which it is plain to see, those in which it is said to be lost.
    iou: with the truth where it can be seen, 0 where it is said to be lost.
    switches: how often its number changed.
    """
    samples = list(samples)
    seen = [one for one in samples if one.visible >= SEEN]
    return {
        'false_alive': _mean(one.alive for one in samples if one.visible <= GONE),
        'wrong': _mean(one.alive and one.iou < _RIGHT for one in seen),
        'false_lost': _mean(one.lost for one in samples if one.visible >= PLAIN),
        'iou': _mean(one.iou for one in seen),
        'switches': sum(one.switched for one in samples), 'images': len(samples)}


def table(samples: TrackingSamples) -> str:
    """Return the figures for people."""
    found = figures(samples)
    lines = [f'{"IoU after so many images":<36}' + ''.join(f'{lag:>8}' for lag in LAGS)]
    for answers, kinds in found['iou_by_lag'].items():
        for kind, policies in kinds.items():
            for policy, curve in policies.items():
                lines.append(f'{f"{answers}, {kind}, {policy}":<36}' + ''.join(
                    f'{_shown(curve[str(lag)]):>8}' for lag in LAGS))
    names = ('false_alive', 'wrong', 'false_lost', 'iou', 'switches', 'images')
    for title, part in (('an answer a second', 'life'), ('what must fit', 'trust')):
        lines += ['', f'{title:<36}' + ''.join(f'{name:>13}' for name in names)]
        for answers, kinds in found[part].items():
            for kind, rules in kinds.items():
                for rule, row in rules.items():
                    lines.append(f'{f"{answers}, {kind}, {rule}":<36}' + ''.join(
                        f'{_shown(row[name]):>13}' for name in names))
    return '\n'.join([*lines, '', *signal_lines(found['signals'])])


def draw_plot(samples: TrackingSamples, title: str, path: Path) -> None:
    """Draw IoU against lag, a panel for each kind of sequence.

    Args:
        samples: at least one.
        title: above the picture.
        path: PNG file.
    """
    from matplotlib.figure import Figure

    kinds = (_ALL, *_kinds(samples))
    figure = Figure(figsize=(3.1 * len(kinds), 3.6), layout='constrained')
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for panel, kind in zip(panels, kinds, strict=True):
        _draw_panel(panel, kind, [one for one in samples.lags if kind in (_ALL, one.kind)])
    panels[0].set_ylabel('IoU with the truth')
    panels[-1].legend(fontsize=7, loc='lower left')
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)


def _draw_panel(panel: 'Axes', kind: str, samples: list[LagSample]) -> None:
    curves: dict[tuple[str, str], dict[int, list[float]]] = {}
    for one in samples:
        curves.setdefault((one.policy, one.answers), {}).setdefault(one.lag, []).append(one.iou)
    for (policy, answers), curve in curves.items():
        lags = sorted(curve)
        panel.plot([lag / RATE_HZ for lag in lags], [np.mean(curve[lag]) for lag in lags],
                   _STYLES[answers], color=_COLOURS[policy],
                   label=f'{policy}, {answers} answers', linewidth=1.6)
    panel.set_title(kind, fontsize=9)
    panel.set_ylim(0, 1)
    panel.set_xlabel('seconds since the answer', fontsize=8)
    panel.grid(alpha=0.3)


def _lives(samples: list[LifeSample], whole: TrackingSamples) -> Mapping[str, object]:
    return {answers: {kind: {rule: life_figures(
        one for one in samples if one.answers == answers and one.rule == rule
        and kind in (_ALL, one.kind)) for rule in _names(one.rule for one in samples)}
        for kind in (_ALL, *_kinds(whole))} for answers in _names(one.answers for one in samples)}


def _kinds(samples: TrackingSamples) -> list[str]:
    there = {one.kind for one in samples.lags}
    return [kind for kind in KINDS if kind in there]


def _names(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _mean(values: Iterable[float]) -> float | None:
    values = [float(value) for value in values]
    return round(float(np.mean(values)), 4) if values else None


def _shown(value: float | int | None) -> str:
    if value is None:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.3f}'
