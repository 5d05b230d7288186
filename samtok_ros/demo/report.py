# SPDX-License-Identifier: Apache-2.0
"""The demo's score as JSON and as pictures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from samtok_ros.demo.camera_views import CameraView
from samtok_ros.demo.lift_scoring import LiftSummary, Spread
from samtok_ros.demo.score_table import short_answer
from samtok_ros.demo.scoring import DemoScore, FrameLift, GoalScore
from samtok_ros.demo.target_picture import draw_target
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
        'mask_age_ms': _spread_row(score.mask_age_ms, 1),
        'answer_age_ms': _spread_row(score.answer_age_ms, 1),
        'lifting': _lifting_row(score.lifting),
        'run': dict(run),
        'goals': [_goal_row(number, goal) for number, goal in enumerate(score.goals, start=1)],
    }


def write_report(out: Path, score: DemoScore, run: Mapping[str, object]) -> None:
    """Write `report.json`."""
    text = json.dumps(report(score, run), indent=2, ensure_ascii=False)
    (out / REPORT_FILE).write_text(text + '\n', encoding='utf-8')


def write_pictures(out: Path, score: DemoScore, views: Mapping[int, CameraView]) -> None:
    """Write one overlay per goal and the contact sheet of all.

    Args:
        out: folder of the demo.
        score: of the demo.
        views: by stamp; of each goal's first answer, or of the first image for which an unanswered
            goal held.
    """
    from PIL import Image

    folder = out / OVERLAYS_DIR
    folder.mkdir(exist_ok=True)
    tiles, captions = [], []
    for number, goal in enumerate(score.goals, start=1):
        tile = _tile(goal, views[picture_stamp(goal)])
        caption = f'{number}. {_caption(goal)}'
        Image.fromarray(contact_sheet([tile], [caption], 1)).save(folder / overlay_name(number))
        tiles.append(tile)
        captions.append(caption)
    Image.fromarray(contact_sheet(tiles, captions, _COLUMNS)).save(out / SHEET_FILE)


def _tile(goal: GoalScore, view: CameraView) -> np.ndarray:
    """Draw the regions of an answer, and its target in 3D below their labels and contours."""
    image = view.image_rgb
    if goal.answer is None:
        return image
    regions = goal.answer.regions
    tile = draw_regions(image, regions)
    if goal.lift is None:
        return tile
    # Labels and contours are what looks the same on any ground.
    on_black, on_white = (draw_regions(np.full_like(image, ground), regions) for ground in (0, 255))
    solid = (on_black == on_white).all(axis=2)
    drawn = draw_target(tile, solid | goal.answer.mask(image.shape[:2]), goal.lift.result, view)
    return np.where(solid[..., None], tile, drawn)


def picture_stamp(goal: GoalScore) -> int:
    """Return the stamp of the image that a goal is pictured in."""
    return goal.answer.stamp_ns if goal.answer else goal.goal.start_ns


def overlay_name(number: int) -> str:
    """Return the file name of a goal's overlay."""
    return f'goal_{number:02d}.png'


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
        'target': _target_row(score.lift),
    }
    if answer:
        row |= {'answer': answer.text, 'status': answer.status.name,
                'words': [vocabulary.codes_to_words(region.codes) for region in answer.regions],
                'stamp_ns': answer.stamp_ns, 'latency_ms': _rounded(answer.latency_ms, 1)}
    return row


def _target_row(lift: FrameLift | None) -> dict | None:
    """Return a target in 3D and its errors; None when there is none to speak of."""
    if lift is None:
        return None
    result, found = lift.result, lift.score
    row = {'status': result.status.name, 'message': result.message,
           'points': len(result.points_m), 'depth_share': _rounded(result.depth_share),
           'truncated': result.truncated, 'age_ms': _rounded(result.age_ms, 1)}
    if result.box is not None:
        row |= {'box_centre_m': _list(result.box.centre_m),
                'box_size_m': _list(result.box.extents_m), 'box_completed': result.box.completed}
    if found is not None:
        row |= {'centroid_mm': _rounded(found.centroid_mm, 1),
                'points_within_5_mm': _rounded(found.near_share),
                'box_centre_mm': _rounded(found.box_centre_mm, 1),
                'box_size_errors': _list(found.size_errors or ())}
    return row


def _lifting_row(summary: LiftSummary) -> dict:
    return {'refused': summary.refused, 'centroid_mm': _spread_row(summary.centroid_mm, 1),
            'box_centre_mm': _spread_row(summary.box_centre_mm, 1),
            'box_size_error': _spread_row(summary.size_error),
            'points_within_5_mm': _spread_row(summary.near_share)}


def _caption(score: GoalScore) -> str:
    parts = [f'{score.goal.text}: {short_answer(score)}', _verdict(score)]
    if score.lift is not None:
        parts.append(_lift_caption(score.lift))
    return '; '.join(parts)


def _lift_caption(lift: FrameLift) -> str:
    if lift.result.box is None or lift.score is None:
        return lift.result.status.name.lower()
    size = 'x'.join(f'{100 * length:.0f}' for length in lift.result.box.extents_m)
    return f'{size} cm, {lift.score.box_centre_mm:.0f} mm off'


def _verdict(score: GoalScore) -> str:
    if score.iou is not None:
        return f'IoU {score.iou:.2f}'
    return 'right' if score.is_correct else 'wrong, nothing fits'


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None, digits: int = _DIGITS) -> float | None:
    return None if value is None else round(value, digits)


def _list(values: Iterable[float]) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]


def _spread_row(spread: Spread | None, digits: int = _DIGITS) -> dict | None:
    if spread is None:
        return None
    return {'p50': round(spread.p50, digits), 'p95': round(spread.p95, digits),
            'count': spread.count}
