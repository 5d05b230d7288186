# SPDX-License-Identifier: Apache-2.0
"""The zoom-in rule: a small region is shown a second time, cut out and enlarged."""

from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ConfigError, ImageError

_LEAST_CROP_PX = 140
_LEAST_SIDE_PX = 280


@dataclass(frozen=True)
class ZoomRule:
    """When and how a region is enlarged.

    Attributes:
        below: share of the image; a region whose box covers less is shown enlarged too. Published
            evaluations use 0.3 (DLC-Bench) and 0.2 (MDVP, VideoRefer), training used up to 0.2.
        compatible: cut exactly as the published scripts do: the last row and column of the region
            are lost where the box is not widened, and whether to enlarge is told by the longer
            side, though the shorter one is enlarged.
    """

    below: float
    compatible: bool = False

    def __post_init__(self) -> None:
        """Check the share.

        Raises:
            ConfigError: it is not in 0..1.
        """
        if not 0 <= self.below <= 1:
            raise ConfigError('zoom is out of range', expected='a share of the image, 0 to 1',
                              got=self.below)


@dataclass(frozen=True, eq=False)
class Crop:
    """A part of an image with a region in it.

    Attributes:
        image_rgb: (h, w, 3) uint8, enlarged.
        mask: (h, w) bool, the region in it.
    """

    image_rgb: np.ndarray
    mask: np.ndarray


def zoomed(image_rgb: np.ndarray, mask: np.ndarray, rule: ZoomRule) -> Crop | None:
    """Cut a region out and enlarge it, if the rule asks for it.

    Args:
        image_rgb: (H, W, 3) uint8.
        mask: (H, W) bool, not empty.
        rule: when and how.
    Returns:
        None where the region is large enough in the image itself.
    Raises:
        ImageError: the mask is empty.
    Source: samtok-spec 3.5. differs, unless compatible: boxes reach to the outer edges, and a crop
    whose shorter side is too short is enlarged.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ImageError('an empty region cannot be enlarged', expected='at least one pixel')
    last = 0 if rule.compatible else 1
    left, right = int(columns[0]), int(columns[-1]) + last
    top, bottom = int(rows[0]), int(rows[-1]) + last
    height, width = mask.shape
    if (right - left) * (bottom - top) / (height * width) >= rule.below:
        return None
    left, right = _widened(left, right, width)
    top, bottom = _widened(top, bottom, height)
    cut = (slice(top, bottom), slice(left, right))
    return _enlarged(image_rgb[cut], mask[cut], rule.compatible)


def _widened(first: int, last: int, size: int) -> tuple[int, int]:
    margin = max(0, (_LEAST_CROP_PX - (last - first)) // 2)
    return max(0, first - margin), min(size, last + margin)


def _enlarged(image_rgb: np.ndarray, mask: np.ndarray, compatible: bool) -> Crop:
    from PIL import Image

    height, width = mask.shape
    short, long = sorted((height, width))
    if (long if compatible else short) >= _LEAST_SIDE_PX:
        return Crop(np.ascontiguousarray(image_rgb), mask)
    scale = _LEAST_SIDE_PX / short
    size = tuple(_LEAST_SIDE_PX if side == short else int(side * scale)
                 for side in (width, height))
    image = Image.fromarray(np.ascontiguousarray(image_rgb)).resize(size, Image.Resampling.LANCZOS)
    soft = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    inside = np.asarray(soft) > 0.5
    # What is thinner than a pixel of the enlarged crop may fade away.
    return Crop(np.asarray(image), inside if inside.any() else np.asarray(soft) > 0)
