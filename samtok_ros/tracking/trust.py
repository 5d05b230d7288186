# SPDX-License-Identifier: Apache-2.0
"""When what was found is believed to be the thing that was looked for.

A mask tokenizer always draws something: where the thing has gone, another thing or a piece of the
table. Colour and area give that away; what does not was measured too, see docs/tracking.md.
"""

import numpy as np

from samtok_ros.masks.boxes import box_of_mask
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tracking.records import Found, Track


def mean_rgb(image_rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean colour inside a mask, (3,) float64 of 0..255; black for an empty one.

    Args:
        image_rgb: (H, W, 3) uint8.
        mask: (H, W) bool.
    """
    box = box_of_mask(mask)
    if box is None:
        return np.zeros(3)
    left, top, right, bottom = box
    place = (slice(top, bottom), slice(left, right))
    return image_rgb[place][mask[place]].mean(axis=0)


def is_trusted(
    track: Track, found: Found, image_rgb: np.ndarray, settings: TrackSettings,
) -> bool:
    """Say whether what a policy found is the thing of a track.

    Args:
        track: with the mask and the colour of the thing in the image of the answer.
        found: in a later image.
        image_rgb: (H, W, 3) uint8, that image.
        settings: what is still believed.
    """
    area, before = np.count_nonzero(found.mask), np.count_nonzero(track.region.mask)
    if not area or max(area, before) > settings.max_area_change * min(area, before):
        return False
    change = np.abs(mean_rgb(image_rgb, found.mask) - track.mean_rgb).max()
    return bool(change <= settings.max_colour_change)
