# SPDX-License-Identifier: Apache-2.0
"""Training curves as one picture, from the `curves.jsonl` of the three runs of a model.

    python -m samtok_ros.training.plots TOKENIZER_RUN VISION_RUN VLM_RUN OUT.png

What a run has not logged yet is left out of the picture.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.training.runs import RunDirectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9')
"""Okabe and Ito: told apart by people who see few colours."""

_SMOOTHED = 9
_VALIDATION = 'val_'


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        key: name of the value in `curves.jsonl`.
        label: for the legend.
    """

    key: str
    label: str


@dataclass(frozen=True)
class Panel:
    """One training run.

    Attributes:
        title: above the panel.
        curves: values between 0 and 1; those of a validation are drawn as points.
        least: lower end of the axis.
    """

    title: str
    curves: tuple[Curve, ...]
    least: float = 0.0


PANELS = (
    Panel('1  mask tokenizer', (
        Curve('iou', 'IoU, training masks'),
        Curve('val_miou', 'IoU through two words, held-out masks'))),
    Panel('2  vision tower, cell by cell', (
        Curve('shape_accuracy', 'shape, training'),
        Curve('colour_accuracy', 'colour, training'),
        Curve('val_shape_accuracy', 'shape, held back'),
        Curve('val_colour_accuracy', 'colour, held back'))),
    Panel('3  fine-tuning', (
        Curve('val_grounding_giou', 'grounding, gIoU, held-out scenes'),
        Curve('val_grounding_iou50', 'grounding, IoU above 0.5'),
        Curve('val_no_target_recall', '"No target." where right'),
        Curve('val_region_qa', 'region questions'),
        Curve('word_accuracy', 'first mask word, training'))),
)
"""The embedded model: one panel per run, in the order in which they are made."""


def draw_curves(runs: Sequence[Path], out: Path, panels: Sequence[Panel] = PANELS) -> None:
    """Draw one panel per run, side by side.

    Args:
        runs: run directories, in the order of the panels.
        out: picture file; its suffix says the format.
        panels: what to draw of each run.
    Raises:
        ConfigError: a run has no curves, or there are not as many runs as panels.
    """
    if len(runs) != len(panels):
        raise ConfigError('runs and panels do not match', expected=f'{len(panels)} runs',
                          got=len(runs))
    logs = [_read(run) for run in runs]
    # A figure of its own, not pyplot: no window system, no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 3.4), dpi=110, layout='constrained')
    one_scale = len({panel.least for panel in panels}) == 1
    axes = figure.subplots(1, len(panels), sharey=one_scale, squeeze=False)[0]
    for axis, panel, records in zip(axes, panels, logs, strict=True):
        _draw_panel(axis, panel, records)
    axes[0].set_ylabel('share')
    figure.savefig(out)


def _read(run: Path) -> list[dict[str, Any]]:
    path = Path(run) / 'curves.jsonl'
    if not path.is_file():
        raise ConfigError('run has no curves', expected=path, got='nothing there',
                          fix='name the folder that was given to samtok train as --run')
    return RunDirectory(run).curves()


def _draw_panel(axis: 'Axes', panel: Panel, records: list[dict[str, Any]]) -> None:
    for colour, curve in zip(_COLOURS, panel.curves, strict=False):
        steps, values = _series(records, curve.key)
        if not len(steps):
            continue
        if curve.key.startswith(_VALIDATION):
            axis.plot(steps, values, color=colour, marker='o', markersize=4, label=curve.label)
        else:
            axis.plot(steps, values, color=colour, alpha=0.2, linewidth=0.8)
            axis.plot(steps, _smooth(values), color=colour, label=curve.label)
    axis.set_title(panel.title, loc='left', fontsize=10)
    axis.set_xlabel('step')
    axis.set_ylim(panel.least, 1.0)
    axis.set_xlim(left=0.0)
    axis.grid(alpha=0.25)
    if axis.lines:
        axis.legend(fontsize=7.5, loc='lower right')


def _series(records: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps at which a value was logged, and the values."""
    # A resumed run logs some steps a second time: the later value is the one that led on.
    values = {record['step']: record[key] for record in records if record.get(key) is not None}
    table = np.array(sorted(values.items()), np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _smooth(values: np.ndarray, width: int = _SMOOTHED) -> np.ndarray:
    """Return the running mean over `width` values, fewer at both ends; n > 0."""
    kernel = np.ones(min(width, len(values)))
    sums = np.convolve(values, kernel, mode='same')
    return sums / np.convolve(np.ones_like(values), kernel, mode='same')


if __name__ == '__main__':
    draw_curves([Path(name) for name in sys.argv[1:-1]], Path(sys.argv[-1]))
