# SPDX-License-Identifier: Apache-2.0
"""Mask <-> run lengths, in the order of COCO: down the columns, first run background."""

from collections.abc import Sequence

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import MAX_PIXELS
from samtok_ros.regions import ImageSize


def mask_to_rle(mask: np.ndarray) -> np.ndarray:
    """Return the run lengths of a mask.

    Args:
        mask: (H, W) bool.
    Returns:
        (R,) uint32 lengths of runs, alternately outside and inside the mask. The first run is
        outside and may be 0, all others are at least 1; the sum is H * W.
    Raises:
        ImageError: not a mask, or one without pixels.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ImageError('mask has the wrong form', expected='(H, W) bool',
                         got=f'{mask.shape} {mask.dtype}')
    ImageSize(*mask.shape)
    # Columns without a pixel of the region have no changes; the others are copied column by column.
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return np.array([mask.size], np.uint32)
    start = int(columns[0]) * len(mask)
    flat = mask[:, columns[0]:columns[-1] + 1].ravel(order='F')
    changes = start + 1 + np.flatnonzero(flat[1:] != flat[:-1])
    # Where the region begins or ends with these columns, there is a change at their border.
    begin = [start] if flat[0] else []
    stop = start + flat.size
    end = [stop] if flat[-1] and stop < mask.size else []
    return np.diff(np.concatenate([[0], begin, changes, end, [mask.size]])).astype(np.uint32)


def rle_to_mask(
    counts: Sequence[int] | np.ndarray, size_hw: tuple[int, int], *,
    max_pixels: float = MAX_PIXELS,
) -> np.ndarray:
    """Return the mask of run lengths; the inverse of mask_to_rle.

    Runs of length 0 are accepted anywhere, as other writers may produce them.

    Args:
        counts: (R,) integers, first run outside the mask.
        size_hw: height and width in pixels.
        max_pixels: larger masks are refused before memory is taken for them.
    Returns:
        (H, W) bool.
    Raises:
        ImageError: no pixels, too many, or the runs do not add up to them.
    """
    size = ImageSize(*size_hw)
    pixels = size.height * size.width
    if pixels > max_pixels:
        raise ImageError('mask is too large', expected=f'at most {max_pixels:.0f} pixels',
                         got=f'{size.height} x {size.width} = {pixels}')
    runs = np.asarray(counts)
    if runs.ndim != 1 or (runs.size and runs.dtype.kind not in 'iu') or (runs < 0).any():
        raise ImageError('run lengths have the wrong form', expected='a list of integers >= 0',
                         got=f'{runs.shape} {runs.dtype}')
    # Added up as Python would: a sum that overflows must not look right.
    total = sum(runs.tolist())
    if total != pixels:
        raise ImageError('run lengths do not fit the mask',
                         expected=f'a sum of {size.height} x {size.width} = {pixels}', got=total)
    values = np.arange(runs.size) % 2 == 1
    flat = np.repeat(values, runs.astype(np.int64))
    return np.ascontiguousarray(flat.reshape(size_hw, order='F'))
