# SPDX-License-Identifier: Apache-2.0
"""What a tracker knows of a thing that it follows."""

from dataclasses import dataclass, replace

import numpy as np

from samtok_ros.masks.boxes import with_mask
from samtok_ros.regions import Region


@dataclass(frozen=True, eq=False)
class Found:
    """What a policy takes for a thing in one image.

    Attributes:
        mask: (H, W) bool, empty where the policy itself says that the thing is not there.
        mask_score: IoU that the mask decoder predicts for it.
        codes: the words of the mask in this image; empty when it did not come from words.
        worded: (H, W) bool, what these words drew in the image that they were made for.
    """

    mask: np.ndarray
    mask_score: float
    codes: tuple[int, ...]
    worded: np.ndarray


@dataclass(frozen=True, eq=False)
class Track:
    """A thing that is followed.

    Attributes:
        track_id: 1, 2, ..., never given twice.
        region: as the last answer named it, with its mask in the image of that answer.
        found: where it was seen last.
        mean_rgb: (3,) its mean colour in the image of the answer.
        lost: it was not found in the newest image.
    """

    track_id: int
    region: Region
    found: Found
    mean_rgb: np.ndarray
    lost: bool = False

    def seen(self, found: Found) -> 'Track':
        """Return the track after the thing was found."""
        return replace(self, found=found, lost=False)

    def unseen(self) -> 'Track':
        """Return the track after the thing was not found."""
        return replace(self, lost=True)

    def to_region(self) -> Region:
        """Return the thing as it is in the newest image; a lost one has an empty mask."""
        region = replace(self.region, track_id=self.track_id, lost=self.lost)
        if self.lost:
            return with_mask(region, np.zeros_like(self.found.mask), 0.0)
        return with_mask(replace(region, mask=self.found.mask, codes=self.found.codes),
                         self.found.mask, self.found.mask_score)
