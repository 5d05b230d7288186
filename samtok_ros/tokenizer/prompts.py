# SPDX-License-Identifier: Apache-2.0
"""Boxes and points of an image as the points that SAM2's prompt encoder takes.

Source: the image predictor of the sam2 package: what a click or a box becomes, how many masks the
decoder is asked for, and the threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt

Prompt = BoxPrompt | PointPrompt

PROMPT_LOGIT_THRESHOLD = 0.0
"""SAM2's own, for masks drawn from prompts; masks drawn from codes have `logit_threshold`."""


@dataclass(frozen=True, eq=False)
class PromptGroup:
    """Prompts of one kind, which the decoder can take as one batch.

    Attributes:
        rows: (n,) int64, which of all prompts these are.
        points: (n, P, 2) float32 xy in pixels of the model input; the prompt encoder adds the half
            pixel.
        labels: P labels: 1 is on the thing, 2 and 3 are the first and the last corner of a box.
        one_mask: ask for one mask, as for a box; a point gets the best of three, since it may mean
            a part or the whole.
    """

    rows: np.ndarray
    points: np.ndarray
    labels: tuple[int, ...]
    one_mask: bool


def group_prompts(prompts: Sequence[Prompt], size: ImageSize, side: int) -> list[PromptGroup]:
    """Sort prompts by kind.

    Args:
        prompts: in source pixels.
        size: of the source image.
        side: of the square model input, pixels.
    Raises:
        ImageError: a prompt lies outside the image, even in part.
    """
    _check_inside(prompts, size)
    groups = []
    for kind, to_points, labels in ((BoxPrompt, _corners, (2, 3)), (PointPrompt, _point, (1,))):
        rows = [row for row, prompt in enumerate(prompts) if isinstance(prompt, kind)]
        if rows:
            points = np.array([to_points(prompts[row]) for row in rows])
            points = points / (size.width, size.height) * side
            groups.append(PromptGroup(np.array(rows), points.astype(np.float32), labels,
                                      one_mask=kind is BoxPrompt))
    return groups


def _corners(box: BoxPrompt) -> tuple[tuple[float, float], ...]:
    """Return the corner pixels; the last one is inside, as in the boxes SAM2 was trained with."""
    return (box.left, box.top), (max(box.left, box.right - 1), max(box.top, box.bottom - 1))


def _point(point: PointPrompt) -> tuple[tuple[float, float], ...]:
    """Return the point as SAM2 counts, from the centre of the first pixel."""
    return ((point.x - 0.5, point.y - 0.5),)


def _check_inside(prompts: Sequence[Prompt], size: ImageSize) -> None:
    for number, prompt in enumerate(prompts, 1):
        if isinstance(prompt, BoxPrompt):
            inside = (0 <= prompt.left < prompt.right <= size.width
                      and 0 <= prompt.top < prompt.bottom <= size.height)
            expected = f'0 <= left < right <= {size.width}, 0 <= top < bottom <= {size.height}'
        else:
            inside = 0 <= prompt.x < size.width and 0 <= prompt.y < size.height
            expected = f'0 <= x < {size.width}, 0 <= y < {size.height}'
        if not inside:
            raise ImageError(f'prompt {number} is not inside the image', expected=expected,
                             got=prompt, fix='cut it to the image')
