# SPDX-License-Identifier: Apache-2.0
"""Changes between source pixels and the mask tokenizer's coordinates, on arrays.

The model input is square: images are stretched to it without keeping the aspect ratio and without
padding, so the way back is a plain resize. Source: samtok-spec 1.3 and 1.5.
"""

import numpy as np
from PIL import Image

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.regions import ImageSize


def resize_to_square(image_rgb: np.ndarray, side: int) -> np.ndarray:
    """Stretch an image to the square model input.

    Pillow's antialiased bicubic filter is part of the checkpoints: another filter flips codes.

    Args:
        image_rgb: (H, W, 3) uint8.
        side: pixels.
    Returns:
        (side, side, 3) uint8, contiguous, which mirrored pictures and swapped channels are not.
    """
    check_rgb(image_rgb)
    if image_rgb.shape[:2] == (side, side):
        return np.ascontiguousarray(image_rgb)
    # First across, then down: from version 13 on Pillow turns that round for tall images, which the
    # checkpoints have never seen.
    across = Image.fromarray(image_rgb).resize((side, image_rgb.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(across.resize((side, side), Image.Resampling.BICUBIC))


def masks_to_boxes(masks: np.ndarray) -> np.ndarray:
    """Return the smallest boxes around masks, in inclusive pixel indices.

    Args:
        masks: (N, H, W) bool.
    Returns:
        (N, 4) float32 xyxy; x2 and y2 are the last column and row that are set.
    Raises:
        ImageError: a mask is empty.
    """
    columns, rows = masks.any(axis=1), masks.any(axis=2)
    empty = np.flatnonzero(~columns.any(axis=1))
    if len(empty):
        raise ImageError('an empty mask has no box', expected='at least one pixel set',
                         got=f'no pixel in mask {empty.tolist()}')
    width, height = masks.shape[2], masks.shape[1]
    return np.stack([columns.argmax(axis=1), rows.argmax(axis=1),
                     width - 1 - columns[:, ::-1].argmax(axis=1),
                     height - 1 - rows[:, ::-1].argmax(axis=1)], axis=1).astype(np.float32)


def boxes_to_unit(box_xyxy: np.ndarray, size: ImageSize) -> np.ndarray:
    """Divide (N, 4) boxes in source pixels by width and height."""
    scale = np.array([size.width, size.height, size.width, size.height], np.float32)
    return box_xyxy / scale
