# SPDX-License-Identifier: Apache-2.0
"""Boxes and points -> masks, also with mask tokenizers that were not taught to read prompts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from samtok_ros.errors import ImageError
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


def draw_prompts(
    model: Any, reads_prompts: bool, features: Any, prompts: Sequence[BoxPrompt | PointPrompt],
) -> Any:
    """Draw what boxes and points show, in the way that suits a mask tokenizer.

    Args:
        model: a mask tokenizer, on whatever runtime.
        reads_prompts: whether it was trained to draw prompts; see MaskTokenizerConfig.
        features: of the image, as the model gave them.
        prompts: inside the image.
    Returns:
        The model's decoded masks, one per prompt.
    """
    if reads_prompts:
        return model.draw_prompts(features, prompts)
    # Through its own words, such a model makes of a rough shape the thing that is there.
    shapes = prompt_shapes(prompts, features.size)
    return model.decode(features, model.encode(features, shapes))


def check_prompt(number: int, prompt: BoxPrompt | PointPrompt, size: ImageSize) -> None:
    """Refuse a box or point that does not lie in the image.

    Args:
        number: what errors call the region.
        prompt: source pixels.
        size: of the image.
    Raises:
        ImageError: it is not inside, or no number.
    """
    bounds = f'{size.height} rows and {size.width} columns'
    if isinstance(prompt, BoxPrompt):
        if prompt.left >= prompt.right or prompt.top >= prompt.bottom:
            raise ImageError(f'box of region {number} has no inside',
                             expected='left below right and top below bottom', got=prompt,
                             fix='give two opposite corners, the upper left one first')
        if not (0 <= prompt.left < prompt.right <= size.width
                and 0 <= prompt.top < prompt.bottom <= size.height):
            raise ImageError(f'box of region {number} is not inside the image',
                             expected=f'a box within {bounds}', got=prompt,
                             fix='cut it to the image')
    elif not (0 <= prompt.x < size.width and 0 <= prompt.y < size.height):
        raise ImageError(f'point of region {number} is not inside the image',
                         expected=f'a point within {bounds}', got=prompt,
                         fix='point at a pixel of the image')


def check_shown(
    number: int, mask: np.ndarray, prompt: BoxPrompt | PointPrompt | None = None,
) -> None:
    """Refuse a region without a pixel.

    Args:
        number: what errors call the region.
        mask: (H, W) bool.
        prompt: what the mask was drawn from; None for a mask that was given.
    Raises:
        ImageError: the mask is empty.
    """
    if mask.any():
        return
    if prompt is None:
        raise ImageError(f'region {number} is empty', expected='at least one pixel',
                         fix='point at something else, or give its mask')
    kind = 'box' if isinstance(prompt, BoxPrompt) else 'point'
    raise ImageError(f'the mask tokenizer sees no thing at the {kind} of region {number}',
                     got=prompt, fix='point at something else, or give its mask')
