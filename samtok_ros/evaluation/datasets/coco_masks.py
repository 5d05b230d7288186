# SPDX-License-Identifier: Apache-2.0
"""Masks as COCO writes them: run lengths as text, run lengths as a list, and polygons.

Run lengths are read here rather than by pycocotools, as damaged ones must give a reason instead of
memory that is not theirs. Polygons are drawn by pycocotools: which pixels an edge takes is its
convention, and published figures depend on it.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.masks.rle import mask_to_rle, rle_to_mask

_OFFSET, _DIGIT_BITS, _DIGIT, _SIGN, _MORE = 48, 5, 0x1F, 0x10, 0x20
_LAST_CHARACTER = _OFFSET + 0x3F
_MAX_DIGITS = 8
"""No image has so many pixels that a run needs more."""


def text_to_counts(text: str | bytes) -> list[int]:
    """Return the run lengths that a compressed text stands for.

    Each number is written in digits of five bits, lowest first, each as one character; a sixth bit
    says that more follow. From the fourth number on it is the difference to the last but one.

    Raises:
        ImageError: a character that cannot be, or a number that never ends.
    """
    counts: list[int] = []
    number = digits = 0
    for character in (text.encode('latin-1', 'replace') if isinstance(text, str) else text):
        if not _OFFSET <= character <= _LAST_CHARACTER or digits == _MAX_DIGITS:
            raise ImageError('run lengths of a mask are damaged', got=f'character {character}')
        value = character - _OFFSET
        number |= (value & _DIGIT) << (_DIGIT_BITS * digits)
        digits += 1
        if value & _MORE:
            continue
        if value & _SIGN:
            number -= 1 << (_DIGIT_BITS * digits)
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = digits = 0
    if digits:
        raise ImageError('run lengths of a mask are cut off', got=f'{len(text)} characters')
    return counts


def counts_to_text(counts: Sequence[int]) -> str:
    """Return run lengths as compressed text; the inverse of text_to_counts."""
    written: list[str] = []
    for index, count in enumerate(counts):
        number = int(count) - (int(counts[index - 2]) if index > 2 else 0)
        while True:
            digit, number = number & _DIGIT, number >> _DIGIT_BITS
            ended = number == (-1 if digit & _SIGN else 0)
            written.append(chr(_OFFSET + digit + (0 if ended else _MORE)))
            if ended:
                break
    return ''.join(written)


def mask_to_coco(mask: np.ndarray) -> dict[str, object]:
    """Return a (H, W) bool mask as a COCO record: size and compressed run lengths."""
    return {'size': list(mask.shape), 'counts': counts_to_text(mask_to_rle(mask).tolist())}


def coco_to_mask(segmentation: object, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Return the mask of any form of segmentation that COCO knows.

    Args:
        segmentation: run lengths ({'size', 'counts'}, counts as text or, as for crowds, as a list),
            a list of polygons [[x, y, x, y, ...], ...], or an empty list for nothing.
        size_hw: of the image. Polygons need it; run lengths must agree with it.
    Returns:
        (H, W) bool.
    Raises:
        ImageError: damaged, of another size than the image, or of no known form.
        ConfigError: polygons, and pycocotools is not installed.
    """
    if isinstance(segmentation, Mapping):
        return _of_runs(segmentation, size_hw)
    if isinstance(segmentation, list):
        if size_hw is None:
            raise ImageError('polygons need the size of their image')
        return _of_polygons(segmentation, size_hw)
    raise ImageError('segmentation has no known form', expected='run lengths or polygons',
                     got=type(segmentation).__name__)


def size_of(segmentation: object) -> tuple[int, int] | None:
    """Return height and width that run lengths are for; None for polygons.

    Raises:
        ImageError: the record names no size.
    """
    if not isinstance(segmentation, Mapping):
        return None
    size = segmentation.get('size')
    if (not isinstance(size, Sequence) or len(size) != 2
            or not all(isinstance(edge, int) and edge > 0 for edge in size)):
        raise ImageError('run lengths without a size', expected="'size': [height, width]",
                         got=repr(size)[:40])
    return size[0], size[1]


def _of_runs(record: Mapping, size_hw: tuple[int, int] | None) -> np.ndarray:
    size = size_of(record)
    if size_hw is not None and size != tuple(size_hw):
        raise ImageError('mask is not of the size of the image',
                         expected='{} x {}'.format(*size_hw), got='{} x {}'.format(*size))
    counts = record.get('counts')
    if isinstance(counts, str | bytes):
        counts = text_to_counts(counts)
    if not isinstance(counts, list) or not all(isinstance(run, int) for run in counts):
        raise ImageError('run lengths have no known form', expected='text or a list of numbers',
                         got=type(counts).__name__)
    return rle_to_mask(np.array(counts, np.int64), size)


def _of_polygons(polygons: list, size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    if not polygons:
        return np.zeros((height, width), np.bool_)
    for polygon in polygons:
        if (not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2
                or not all(isinstance(edge, int | float) for edge in polygon)):
            raise ImageError('polygon is damaged', expected='x, y of at least three corners',
                             got=repr(polygon)[:60])
    coco = coco_tools()
    return _of_runs(coco.merge(coco.frPyObjects(polygons, height, width)), size_hw)


def coco_tools():
    """Return pycocotools.mask.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ConfigError('pycocotools is not installed', got=error,
                          fix='run pip install "samtok_ros[eval]"') from error
    return mask
