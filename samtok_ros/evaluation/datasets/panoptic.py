# SPDX-License-Identifier: Apache-2.0
"""Masks out of the panoptic PNG files of COCO."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from samtok_ros.errors import ImageError


@dataclass(frozen=True)
class PanopticSegment:
    """One segment of a panoptic picture.

    Attributes:
        path: PNG whose colours are numbers: red + 256 green + 65536 blue.
        segment_id: number of the segment.
    """

    path: Path
    segment_id: int

    def mask(self, size_hw: tuple[int, int] | None = None) -> np.ndarray:
        """Return the (H, W) bool mask.

        Raises:
            ImageError: no such picture, none of these numbers in it, or of another size.
        """
        numbers = _numbers(self.path)
        if size_hw is not None and numbers.shape != tuple(size_hw):
            raise ImageError('mask is not of the size of the image',
                             expected='{} x {}'.format(*size_hw),
                             got='{} x {}'.format(*numbers.shape))
        mask = numbers == self.segment_id
        if not mask.any():
            raise ImageError('segment is not in its panoptic picture', got=self.segment_id)
        return mask


@lru_cache(maxsize=2)
def _numbers(path: Path) -> np.ndarray:
    """Return the (H, W) int64 numbers of a picture; the last ones are kept."""
    from PIL import Image

    if not path.is_file():
        raise ImageError('panoptic picture is missing', got=path)
    try:
        with Image.open(path) as image:
            red, green, blue = np.moveaxis(np.asarray(image.convert('RGB'), np.int64), 2, 0)
    except OSError as error:
        raise ImageError('panoptic picture is damaged', got=path) from error
    return red + 256 * green + 65536 * blue
