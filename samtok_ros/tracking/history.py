# SPDX-License-Identifier: Apache-2.0
"""Where things were in the images of the last seconds: an answer is about one of them."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from samtok_ros.masks.rle import mask_to_rle, rle_to_mask
from samtok_ros.tracking.records import Track

_MOST_IMAGES = 1024
_MOST_BYTES = 64_000_000


class MaskHistory:
    """Masks of things by stamp, as run lengths, bounded by count and by memory."""

    def __init__(self) -> None:
        self._images: deque[tuple[int, dict[int, np.ndarray]]] = deque()
        self._nbytes = 0

    def add(self, stamp_ns: int, tracks: Sequence[Track]) -> None:
        """Keep where things are in an image, newer than all before; lost ones are nowhere."""
        runs = {track.track_id: mask_to_rle(track.found.mask)
                for track in tracks if not track.lost}
        self._images.append((stamp_ns, runs))
        self._nbytes += _size_of(runs)
        while len(self._images) > 1 and (
                len(self._images) > _MOST_IMAGES or self._nbytes > _MOST_BYTES):
            self._nbytes -= _size_of(self._images.popleft()[1])

    def masks_near(self, stamp_ns: int, size_hw: tuple[int, int]) -> dict[int, np.ndarray]:
        """Return the (H, W) bool masks by track id in the image of a stamp, or the nearest one."""
        if not self._images:
            return {}
        _, runs = min(self._images, key=lambda image: abs(image[0] - stamp_ns))
        return {track_id: rle_to_mask(counts, size_hw) for track_id, counts in runs.items()}

    def drop_from(self, stamp_ns: int) -> None:
        """Forget the images with this stamp or a later one."""
        while self._images and self._images[-1][0] >= stamp_ns:
            self._nbytes -= _size_of(self._images.pop()[1])

    def clear(self) -> None:
        """Forget all images."""
        self._images.clear()
        self._nbytes = 0


def _size_of(runs: dict[int, np.ndarray]) -> int:
    return sum(counts.nbytes for counts in runs.values())
