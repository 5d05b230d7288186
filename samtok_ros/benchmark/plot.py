# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as one picture: bars on a scale of powers of ten."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.benchmark.interleave import Row
from samtok_ros.benchmark.report import SIDES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {'A': '#d55e00', 'A2': '#e69f00', 'B': '#0072b2'}
"""Okabe and Ito: told apart by people who see few colours."""

_LABELS = {'A': 'published (A)', 'A2': 'published, encode once (A2)', 'B': 'samtok_ros (B)'}
_BAR_WIDTH = 0.27
_INCHES_PER_ROW, _HEIGHT_INCHES = 0.9, 4.2


def draw_plot(rows: Sequence[Row], title: str, path: Path) -> None:
    """Draw one panel per size of image.

    Args:
        rows: those that count; void ones are left out.
        title: above the picture.
        path: PNG file.
    """
    from matplotlib.figure import Figure

    counted = [row for row in rows if not row.void]
    sizes = list(dict.fromkeys(row.size_hw for row in counted))
    panels = [[row for row in counted if row.size_hw == size] for size in sizes]
    widest = max((len(panel) for panel in panels), default=1)
    count = max(len(panels), 1)
    figure = Figure(figsize=(max(6.0, _INCHES_PER_ROW * widest), _HEIGHT_INCHES * count),
                    layout='constrained')
    axes = figure.subplots(count, 1, squeeze=False)[:, 0]
    for axis, panel in zip(axes, panels, strict=False):
        _draw_panel(axis, panel)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def _draw_panel(axis: 'Axes', rows: Sequence[Row]) -> None:
    places = np.arange(len(rows))
    for number, side in enumerate(SIDES):
        found = [(place, row) for place, row in zip(places, rows, strict=True)
                 if side in row.seconds]
        bars = axis.bar([place + (number - 1) * _BAR_WIDTH for place, _ in found],
                        [row.median_s(side) * 1e3 for _, row in found], _BAR_WIDTH,
                        color=_COLOURS[side], label=_LABELS[side])
        if side == 'A':
            axis.bar_label(bars, [f'{row.ratio("A").median:.1f}x' for _, row in found],
                           fontsize=8)
    height, width = rows[0].size_hw
    axis.set_yscale('log')
    axis.set_ylabel('ms, median')
    axis.set_title(f'{width} x {height}; numbers: A / B', fontsize=9)
    axis.set_xticks(places, [f'{row.phase}\nN = {row.masks}' for row in rows], fontsize=8)
    axis.margins(x=0.01, y=0.12)
    axis.legend(fontsize=8, loc='upper left', ncols=3)
