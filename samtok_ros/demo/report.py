# SPDX-License-Identifier: Apache-2.0
"""The demo's score as JSON, as a table and as pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from samtok_ros.demo.scoring import DemoScore, GoalScore
from samtok_ros.masks.overlay import contact_sheet, draw_regions
from samtok_ros.words.vocabulary import MaskVocabulary

SHEET_FILE, REPORT_FILE, OVERLAYS_DIR = 'contact_sheet.png', 'report.json', 'overlays'
_COLUMNS = 4
_DIGITS = 4


def report(score: DemoScore, run: Mapping[str, object]) -> dict:
    """Return everything as one JSON object.

    Args:
        score: of the demo.
        run: facts about the run, put in as they are.
    """
    return {
        'mean_iou': _rounded(score.mean_iou),
        'no_target_correct': _rounded(score.no_target_correct),
        'latency_ms_p50': _rounded(score.latency_ms_p50, 1),
        'latency_ms_p95': _rounded(score.latency_ms_p95, 1),
        'frames_in': score.frames_in,
        'frames_processed': score.frames_processed,
        'frames_dropped': score.frames_dropped,
        'run': dict(run),
        'goals': [_goal_row(number, goal) for number, goal in enumerate(score.goals, start=1)],
    }


def write_report(out: Path, score: DemoScore, run: Mapping[str, object]) -> None:
    """Write `report.json`."""
    text = json.dumps(report(score, run), indent=2, ensure_ascii=False)
    (out / REPORT_FILE).write_text(text + '\n', encoding='utf-8')


def write_pictures(out: Path, score: DemoScore, images: Mapping[int, np.ndarray]) -> None:
    """Write one overlay per goal and the contact sheet of all.

    Args:
        out: folder of the demo.
        score: of the demo.
        images: (H, W, 3) uint8 by stamp; of each goal's first answer, or of the first image for
            which an unanswered goal held.
    """
    from PIL import Image

    folder = out / OVERLAYS_DIR
    folder.mkdir(exist_ok=True)
    tiles, captions = [], []
    for number, goal in enumerate(score.goals, start=1):
        tile = draw_regions(images[picture_stamp(goal)], goal.answer.regions if goal.answer else ())
        caption = f'{number}. {_caption(goal)}'
        Image.fromarray(contact_sheet([tile], [caption], 1)).save(folder / overlay_name(number))
        tiles.append(tile)
        captions.append(caption)
    Image.fromarray(contact_sheet(tiles, captions, _COLUMNS)).save(out / SHEET_FILE)


def picture_stamp(goal: GoalScore) -> int:
    """Return the stamp of the image that a goal is pictured in."""
    return goal.answer.stamp_ns if goal.answer else goal.goal.start_ns


def overlay_name(number: int) -> str:
    """Return the file name of a goal's overlay."""
    return f'goal_{number:02d}.png'


def table(score: DemoScore) -> str:
    """Return the score as lines for people."""
    rows = [(str(number), goal.goal.text, _short_answer(goal), _iou_text(goal), _latency(goal))
            for number, goal in enumerate(score.goals, start=1)]
    rows = [('', 'goal', 'answer', 'IoU', 'ms'), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ['  '.join(cell.rjust(width) if column in (0, 3, 4) else cell.ljust(width)
                       for column, (cell, width) in enumerate(zip(row, widths, strict=True)))
             for row in rows]
    lines.append(
        f'mean IoU {_number(score.mean_iou, ".3f")}, "No target." where right '
        f'{_number(score.no_target_correct, ".0%")}, latency {_number(score.latency_ms_p50, ".0f")}'
        f' ms (p95 {_number(score.latency_ms_p95, ".0f")} ms), {score.frames_processed} of '
        f'{score.frames_in} images processed')
    return '\n'.join(line.rstrip() for line in lines)


def _goal_row(number: int, score: GoalScore) -> dict:
    goal, answer = score.goal, score.answer
    vocabulary = MaskVocabulary()
    row = {
        'text': goal.text, 'kind': goal.kind, 'scene': goal.scene, 'targets': len(goal.targets),
        'iou': _rounded(score.iou), 'correct': score.is_correct,
        'answer': None, 'status': None, 'words': [], 'stamp_ns': None, 'latency_ms': None,
        'answered_frames': score.answers,
        'mean_iou_of_frames': _rounded(_mean(score.frame_ious)),
        'overlay': f'{OVERLAYS_DIR}/{overlay_name(number)}',
    }
    if answer:
        row |= {'answer': answer.text, 'status': answer.status.name,
                'words': [vocabulary.codes_to_words(region.codes) for region in answer.regions],
                'stamp_ns': answer.stamp_ns, 'latency_ms': _rounded(answer.latency_ms, 1)}
    return row


def _caption(score: GoalScore) -> str:
    return f'{score.goal.text}: {_short_answer(score)}; {_verdict(score)}'


def _short_answer(score: GoalScore) -> str:
    """Say an answer in codes; the text with its words is in the report."""
    if score.answer is None:
        return 'no answer'
    if not score.answer.regions:
        return score.answer.text.strip() or score.answer.status.name.lower()
    return ' '.join('-'.join(map(str, region.codes)) for region in score.answer.regions)


def _verdict(score: GoalScore) -> str:
    if score.iou is not None:
        return f'IoU {score.iou:.2f}'
    return 'right' if score.is_correct else 'wrong, nothing fits'


def _iou_text(score: GoalScore) -> str:
    if score.iou is not None:
        return f'{score.iou:.2f}'
    return 'right' if score.is_correct else 'wrong'


def _latency(score: GoalScore) -> str:
    return f'{score.answer.latency_ms:.0f}' if score.answer else '-'


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None, digits: int = _DIGITS) -> float | None:
    return None if value is None else round(value, digits)


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)
