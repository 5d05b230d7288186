# SPDX-License-Identifier: Apache-2.0
"""Boxes and points as plain shapes, for mask tokenizers that were not taught to read prompts."""

from collections.abc import Sequence

import numpy as np

from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt

POINT_RADIUS = 0.06
"""Radius of the disc that stands for a point, as a share of the image's shorter side."""


def prompt_shapes(prompts: Sequence[BoxPrompt | PointPrompt], size: ImageSize) -> np.ndarray:
    """Fill boxes, and draw a disc around points.

    Args:
        prompts: inside the image.
        size: of the image.
    Returns:
        (N, H, W) bool, none of them empty.
    """
    masks = np.zeros((len(prompts), size.height, size.width), np.bool_)
    # Distances to pixel centres, in the pixel frame of the prompts.
    y, x = np.arange(size.height)[:, None] + 0.5, np.arange(size.width)[None] + 0.5
    for mask, prompt in zip(masks, prompts, strict=True):
        if isinstance(prompt, BoxPrompt):
            rows = slice(int(prompt.top), max(int(np.ceil(prompt.bottom)), int(prompt.top) + 1))
            columns = slice(int(prompt.left),
                            max(int(np.ceil(prompt.right)), int(prompt.left) + 1))
            mask[rows, columns] = True
        else:
            radius = max(POINT_RADIUS * min(size.height, size.width), 1.0)
            mask[:] = np.hypot(y - prompt.y, x - prompt.x) <= radius
    return masks
