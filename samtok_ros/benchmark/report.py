# SPDX-License-Identifier: Apache-2.0
"""The figures of a benchmark as JSON and as a table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from samtok_ros.benchmark.interleave import Ratio, Row
from samtok_ros.benchmark.run import Plan, Results
from samtok_ros.benchmark.subjects import Subject

BASELINES = ('A', 'A2')
SIDES = {
    'A': 'published pipeline, re-created: image repeated per mask, all candidates enlarged, eager '
         'generate, masks finished on the host',
    'A2': 'the same with the image encoded once per call',
    'B': 'this package',
}


def report(results: Results, subject: Subject, plan: Plan,
           facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything as one JSON object."""
    language = subject.language
    return {
        'machine': dict(facts), 'dtype': subject.dtype, 'mask_tokenizer': subject.masks_name,
        'masks_backend': type(subject.masks).__name__,
        'language_model': language.name if language else None,
        'language_dtype': language.dtype if language else None, 'plan': dataclasses.asdict(plan),
        'sides': SIDES, 'rows': [_row(row, results.rows) for row in results.rows],
        'sustained': dataclasses.asdict(results.sustained) if results.sustained else None,
        'skipped': list(results.skipped),
    }


def table(results: Results) -> str:
    """Return the figures for people; times are medians."""
    lines = [f'{"phase":<11}{"masks":>6}{"image":>10}{"A":>11}{"A2":>11}{"B":>11}  '
             f'{"A/B (smallest-largest)":<25}{"A2/B":<8}']
    for row in results.rows:
        height, width = row.size_hw
        times = ''.join(f'{_seconds(row, side):>11}' for side in SIDES)
        lines.append(f'{row.phase:<11}{row.masks:>6}{f"{width}x{height}":>10}{times}  '
                     + (f'void: {"; ".join(row.void)}' if row.void else _ratios(row)))
    if results.sustained:
        kept = results.sustained
        lines.append(f'sustained: {kept.done / kept.seconds:.1f} of {kept.rate_hz:.0f} images/s '
                     f'with 5 masks over {kept.seconds:.0f} s, age p50 {kept.age_p50_ms:.1f} ms, '
                     f'p95 {kept.age_p95_ms:.1f} ms')
    return '\n'.join([*lines, *(f'left out: {text}' for text in results.skipped)])


def encode_once_bound(row: Row, rows: Sequence[Row]) -> float | None:
    """Return how much encoding once, instead of once per mask, can gain at most.

    With E the cost of encoding an image and D that of one mask, it is N (E + D) / (E + N D). More
    than that must come from elsewhere. Both are taken from our own cold and hot times.

    Returns:
        None for phases in which more than masks is measured.
    """
    if row.phase != 'cold':
        return None
    hot = next((other for other in rows if other.phase == 'hot' and other.masks == row.masks
                and other.size_hw == row.size_hw), None)
    if hot is None:
        return None
    all_masks = hot.median_s('B')
    encode = max(row.median_s('B') - all_masks, 0.0)
    return (row.masks * encode + all_masks) / (encode + all_masks)


def _row(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        'phase': row.phase, 'masks': row.masks, 'size_hw': list(row.size_hw),
        'seconds': {side: {'median': row.median_s(side), 'p95': row.p95_s(side),
                           'all': [round(value, 6) for value in row.seconds[side]]}
                    for side in row.seconds},
        'ratios': {f'{side}/B': dataclasses.asdict(ratio) for side in BASELINES
                   if (ratio := row.ratio(side)) is not None},
        'encode_once_bound': encode_once_bound(row, rows), 'void': list(row.void),
    }


def _seconds(row: Row, side: str) -> str:
    if side not in row.seconds:
        return '-'
    value = row.median_s(side)
    return f'{value:.2f} s' if value >= 1 else f'{value * 1e3:.1f} ms'


def _ratios(row: Row) -> str:
    found: dict[str, Ratio | None] = {side: row.ratio(side) for side in BASELINES}
    first, second = found['A'], found['A2']
    text = f'{first.median:.1f} ({first.low:.1f}-{first.high:.1f})' if first else '-'
    return f'{text:<25}{f"{second.median:.1f}" if second else "-":<8}'
