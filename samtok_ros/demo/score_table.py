# SPDX-License-Identifier: Apache-2.0
"""The demo's score as a table for people."""

from samtok_ros.demo.lift_scoring import Spread
from samtok_ros.demo.scoring import DemoScore, GoalScore
from samtok_ros.lifting.target import LiftStatus

_RIGHT = (0, 3, 4, 5, 6)


def table(score: DemoScore) -> str:
    """Return the score as lines for people."""
    rows = [(str(number), goal.goal.text, short_answer(goal), _iou_text(goal), _latency(goal),
             *_lift_cells(goal)) for number, goal in enumerate(score.goals, start=1)]
    rows = [('', 'goal', 'answer', 'IoU', 'ms', 'off mm', 'size %'), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ['  '.join(cell.rjust(width) if column in _RIGHT else cell.ljust(width)
                       for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
             for row in rows]
    lines.append(
        f'mean IoU {_number(score.mean_iou, ".3f")}, "No target." where right '
        f'{_number(score.no_target_correct, ".0%")}, latency {_number(score.latency_ms_p50, ".0f")}'
        f' ms (p95 {_number(score.latency_ms_p95, ".0f")} ms), {score.frames_processed} of '
        f'{score.frames_in} images processed')
    lines += _lifting_lines(score)
    return '\n'.join(line.rstrip() for line in lines)


def short_answer(score: GoalScore) -> str:
    """Say an answer in codes; the text with its words is in the report."""
    if score.answer is None:
        return 'no answer'
    if not score.answer.regions:
        return score.answer.text.strip() or score.answer.status.name.lower()
    return ' '.join('-'.join(map(str, region.codes)) for region in score.answer.regions)


def _lifting_lines(score: DemoScore) -> list[str]:
    """Say in lines for people how good and how old masks and targets in 3D are."""
    found, lines = score.lifting, []
    if found.centroid_mm:
        lines.append(
            f'3D of {found.centroid_mm.count} targets (p95): centroid {_both(found.centroid_mm)} '
            f'mm off, box {_both(found.box_centre_mm)} mm off and {_both(found.size_error, 100)} % '
            f'wrong in size, {_number(found.near_share and found.near_share.p50, ".0%")} of the '
            'points within 5 mm of the true surface')
    if found.refused:
        lines.append('3D refused: ' + ', '.join(
            f'{count} x {name.lower()}' for name, count in sorted(found.refused.items())))
    lines.append(f'age of masks {_both(score.mask_age_ms)} ms (p95), of the answers behind them '
                 f'{_both(score.answer_age_ms)} ms')
    return lines


def _lift_cells(goal: GoalScore) -> tuple[str, str]:
    """Return how far the box is off, mm, and the worst error of its lengths, per cent."""
    lift = goal.lift
    if lift is None:  # with masks in the answer a newer image was lifted in its place
        return ('skipped', '') if goal.lifts else ('', '')
    if lift.result.status != LiftStatus.OK:
        return lift.result.status.name.lower(), ''
    if lift.score is None or lift.score.box_centre_mm is None:
        return '-', '-'
    return f'{lift.score.box_centre_mm:.0f}', f'{100 * lift.score.size_error:.0f}'


def _iou_text(score: GoalScore) -> str:
    if score.iou is not None:
        return f'{score.iou:.2f}'
    return 'right' if score.is_correct else 'wrong'


def _latency(score: GoalScore) -> str:
    return f'{score.answer.latency_ms:.0f}' if score.answer else '-'


def _both(spread: Spread | None, factor: float = 1.0) -> str:
    """Return median and, in brackets, 95th percentile."""
    return '-' if spread is None else f'{factor * spread.p50:.0f} ({factor * spread.p95:.0f})'


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)
