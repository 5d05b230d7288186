# SPDX-License-Identifier: Apache-2.0
"""Regions -> one image of region numbers, for consumers that know nothing of run lengths."""

from collections.abc import Sequence

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize, Region

BACKGROUND = 0
"""Pixels of no region. The largest number stays free: generic tools read it as unlabelled."""

MAX_NUMBER = np.iinfo(np.uint16).max - 1


def label_image(regions: Sequence[Region], size: ImageSize) -> np.ndarray:
    """Return the number of the region that each pixel belongs to.

    One image cannot show an overlap: where regions overlap, the one with the higher score is seen,
    and among equals the first. The run lengths are exact, this is a view of them.

    Args:
        regions: with masks of the image's size. Those that are not numbered from 1 to 65534 have
            no number to show and are left out.
        size: of the image.
    Returns:
        (H, W) uint16, 0 where no region is.
    Raises:
        ImageError: a region has no mask of this size.
    """
    labels = np.full((size.height, size.width), BACKGROUND, np.uint16)
    best_first = sorted(regions, key=lambda region: region.score, reverse=True)
    for region in reversed(best_first):  # What is painted last is seen.
        if region.mask is None or region.mask.shape != labels.shape:
            raise ImageError(f'region {region.region_id} has no mask of the size of the image',
                             expected=f'{size.height} x {size.width}',
                             got=None if region.mask is None else region.mask.shape)
        if 1 <= region.region_id <= MAX_NUMBER:
            labels[region.mask] = region.region_id
    return labels
