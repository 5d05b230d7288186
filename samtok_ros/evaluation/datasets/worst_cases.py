# SPDX-License-Identifier: Apache-2.0
"""The results that are worth a look, and a picture of each."""

import heapq
from collections.abc import Callable, Iterable

import cv2
import numpy as np

from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.masks.overlay import PALETTE_RGB

RIGHT_RGB, WRONG_RGB, MISSED_RGB, ASKED_RGB = (
    PALETTE_RGB[2], PALETTE_RGB[5], PALETTE_RGB[4], PALETTE_RGB[3])
"""In both masks; said but not true; true but not said; what the question points at."""

_FILL, _LINE_SHARE = 0.55, 0.004


def worst_results(results: Iterable[Result], score: Callable[[Result], float | None],
                  most: int) -> list[tuple[float, Result]]:
    """Return the results with the smallest scores, the worst first.

    Args:
        results: any number; only `most` of them are kept in memory.
        score: of a result; None for one that has none.
        most: how many.
    """
    scored = ((value, result.number, result) for result in results
              if (value := score(result)) is not None)
    return [(value, result) for value, _, result in
            heapq.nsmallest(most, scored, key=lambda entry: entry[:2])]


def agreement_picture(image_rgb: np.ndarray, result: Result) -> np.ndarray:
    """Return a copy of an image that shows where what was said and what is true agree.

    Args:
        image_rgb: (H, W, 3) uint8, of the size of the result.
        result: with masks.
    Returns:
        (H, W, 3) uint8.
    """
    said, true = result.union(result.said), result.union(result.truth)
    # On grey, or a red thing would look like a wrong one.
    grey = cv2.cvtColor(np.ascontiguousarray(image_rgb), cv2.COLOR_RGB2GRAY)
    picture = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    for area, colour in ((said & true, RIGHT_RGB), (said & ~true, WRONG_RGB),
                         (true & ~said, MISSED_RGB)):
        picture[area] = (1 - _FILL) * picture[area] + _FILL * np.array(colour, np.float32)
    drawn = np.ascontiguousarray(picture.round().astype(np.uint8))
    width = max(1, round(_LINE_SHARE * max(said.shape)))
    for masks, colour in ((result.regions, ASKED_RGB), (result.truth, MISSED_RGB),
                          (result.said, WRONG_RGB)):
        for one in masks:
            outlines, _ = cv2.findContours(one.mask.view(np.uint8), cv2.RETR_EXTERNAL,
                                           cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, outlines, -1, colour, width)
    return drawn
