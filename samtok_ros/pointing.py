# SPDX-License-Identifier: Apache-2.0
"""Regions that somebody points at, in whatever way, and what they are in codes."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.language.instructions import RegionReference
from samtok_ros.masks.prompt_shapes import check_prompt, check_shown, draw_prompts
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt, Region

if TYPE_CHECKING:
    from samtok_ros.tokenizer.mask_tokenizer import ImageFeatures, MaskTokenizer

Pointer = Region | RegionReference | np.ndarray | BoxPrompt | PointPrompt
"""A region by itself, by its codes, by an (H, W) bool mask, a box around it or a point on it."""

_KINDS = 'a Region, a RegionReference, an (H, W) bool mask, a BoxPrompt or a PointPrompt'


def references_to(
    pointers: Iterable[Pointer], size: ImageSize, mask_tokenizer: 'MaskTokenizer',
    features: Callable[[], 'ImageFeatures'],
) -> tuple[RegionReference, ...]:
    """Return references by codes to regions, in their order.

    Args:
        pointers: to regions of one image.
        size: of that image.
        mask_tokenizer: draws boxes and points, and encodes masks.
        features: gives those of the image; asked only when something is to be drawn or encoded.
    Raises:
        ConfigError: something that points at nothing.
        ImageError: a mask, box or point that does not fit the image, or shows nothing.
    """
    if isinstance(pointers, Pointer):
        raise ConfigError('regions are one region', expected='a list of regions',
                          got=type(pointers).__name__, fix='put it into a list')
    pointers = tuple(pointers)  # it is gone through several times, which an iterator is not
    for number, pointer in enumerate(pointers, start=1):
        _check(number, pointer, size)
    drawn = masks_of_prompts(
        {number: pointer for number, pointer in enumerate(pointers, start=1)
         if isinstance(pointer, BoxPrompt | PointPrompt)}, mask_tokenizer, features)
    for number, pointer in enumerate(pointers, start=1):
        if isinstance(pointer, np.ndarray):
            drawn[number] = pointer
        elif isinstance(pointer, Region) and not pointer.codes:
            drawn[number] = pointer.mask
    codes = {number: tuple(pointer.codes) for number, pointer in enumerate(pointers, start=1)
             if number not in drawn}
    if drawn:
        rows = mask_tokenizer.encode(features(), np.stack(list(drawn.values()))).tolist()
        codes.update(zip(drawn, map(tuple, rows), strict=True))
    return tuple(RegionReference(codes[number]) for number in sorted(codes))


def masks_of_prompts(
    prompts: dict[int, BoxPrompt | PointPrompt], mask_tokenizer: 'MaskTokenizer',
    features: Callable[[], 'ImageFeatures'],
) -> dict[int, np.ndarray]:
    """Return the (H, W) bool masks of what boxes and points show, by their numbers.

    Raises:
        ImageError: one shows nothing.
    """
    if not prompts:
        return {}
    drawn = draw_prompts(mask_tokenizer, mask_tokenizer.config.reads_prompts, features(),
                         list(prompts.values())).masks
    for number, mask in zip(prompts, drawn, strict=True):
        check_shown(number, mask, prompts[number])
    return dict(zip(prompts, drawn, strict=True))


def _check(number: int, pointer: Pointer, size: ImageSize) -> None:
    if isinstance(pointer, BoxPrompt | PointPrompt):
        check_prompt(number, pointer, size)
    elif isinstance(pointer, np.ndarray):
        if pointer.dtype != np.bool_ or pointer.shape != (size.height, size.width):
            raise ImageError(f'mask of region {number} does not fit the image',
                             expected=f'({size.height}, {size.width}) bool',
                             got=f'{pointer.shape} {pointer.dtype}',
                             fix='give mask > 0, of the size of the image')
        check_shown(number, pointer)
    elif isinstance(pointer, Region) and pointer.mask is not None and (
            pointer.mask.shape != (size.height, size.width)):
        raise ImageError(f'region {number} is of another image',
                         expected=f'a mask of ({size.height}, {size.width})',
                         got=pointer.mask.shape,
                         fix='ask about the image that it was found in: its words mean nothing in '
                         'another one')
    elif not isinstance(pointer, Region | RegionReference):
        raise ConfigError(f'region {number} points at nothing', expected=_KINDS,
                          got=type(pointer).__name__)
