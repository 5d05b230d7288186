# SPDX-License-Identifier: Apache-2.0
"""One HTML file with the table of a run and its worst cases; opens anywhere, loads nothing."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.datasets.running import LoadImage
from samtok_ros.evaluation.datasets.worst_cases import (
    ASKED_RGB,
    MISSED_RGB,
    RIGHT_RGB,
    WRONG_RGB,
    agreement_picture,
)

_LONG_EDGE_PX, _JPEG_QUALITY, _MOST_TEXT = 480, 85, 1500

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em;
  color: #1a1a1a; background: #fff; }
pre { overflow-x: auto; background: #f4f4f4; padding: .8em; }
article { border-top: 1px solid #ccc; padding: 1em 0; display: grid; gap: 1em;
  grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) minmax(0, 1.1fr); }
article img { width: 100%; height: auto; }
dl { margin: 0; } dt { color: #666; font-size: 13px; }
dd { margin: 0 0 .5em; overflow-wrap: anywhere; white-space: pre-wrap; }
.key { display: inline-block; width: 1em; height: 1em; vertical-align: -2px; margin: 0 .3em 0 1em; }
@media (max-width: 60em) { article { grid-template-columns: 1fr; } }
"""


@dataclass(frozen=True)
class PageFacts:
    """What stands above the cases.

    Attributes:
        task: name of the task.
        model: name of the model.
        score_name: what the cases are sorted by.
        table: figures as text.
    """

    task: str
    model: str
    score_name: str
    table: str


def worst_page(facts: PageFacts, worst: Sequence[tuple[float, Result]],
               load_image: LoadImage) -> str:
    """Return the page.

    Args:
        facts: for its head.
        worst: score and result of each case, the worst first.
        load_image: path -> (H, W, 3) uint8; an image that is gone leaves its case without.
    """
    title = escape(f'{facts.task}: worst cases of {facts.model}')
    cases = '\n'.join(_case(facts, place, score, result, load_image)
                      for place, (score, result) in enumerate(worst, start=1))
    legend = ''.join(
        f'<span class="key" style="background: rgb{colour}"></span>{name}'
        for colour, name in ((RIGHT_RGB, 'right'), (WRONG_RGB, 'said, not true'),
                             (MISSED_RGB, 'true, not said'), (ASKED_RGB, 'asked about')))
    return (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
            f'<h1>{title}</h1>\n<pre>{escape(facts.table)}</pre>\n'
            f'<p>The {len(worst)} samples with the smallest {escape(facts.score_name)}, the worst '
            f'first. Left the image, right what was said against what is true:{legend}</p>\n'
            f'{cases}\n</body>\n</html>\n')


def _case(facts: PageFacts, place: int, score: float, result: Result,
          load_image: LoadImage) -> str:
    rows = (('question', result.question), ('answer', result.text or '(empty)'),
            ('sample', f'{result.sample_id} (number {result.number})'),
            ('image', Path(result.image).name),
            ('facts', ', '.join(f'{name}: {value}' for name, value in result.facts.items())))
    texts = ''.join(f'<dt>{name}</dt><dd>{escape(_cut(text))}</dd>' for name, text in rows if text)
    return (f'<article id="case-{place}">\n{_pictures(result, load_image)}\n'
            f'<dl><dt>{escape(facts.score_name)}</dt><dd><b>{score:.3f}</b></dd>{texts}</dl>\n'
            '</article>')


def _pictures(result: Result, load_image: LoadImage) -> str:
    try:
        image_rgb = load_image(Path(result.image))
    except ImageError as error:
        return f'<p>{escape(str(error))}</p><p></p>'
    agreement = agreement_picture(image_rgb, result)
    return '\n'.join(f'<img alt="{name}" src="data:image/jpeg;base64,{_jpeg(picture)}">'
                     for name, picture in (('image', image_rgb), ('masks', agreement)))


def _jpeg(image_rgb: np.ndarray) -> str:
    """Return a picture as base64 text, made small enough for a page."""
    scale = min(1.0, _LONG_EDGE_PX / max(image_rgb.shape[:2]))
    if scale < 1.0:
        image_rgb = cv2.resize(image_rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode('.jpg', np.ascontiguousarray(image_rgb[..., ::-1]),
                           (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    return base64.b64encode(data.tobytes()).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f'{text[:_MOST_TEXT]} ...'
