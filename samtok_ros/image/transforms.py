# SPDX-License-Identifier: Apache-2.0
"""Every change between source pixels and the mask tokenizer's coordinates.

The model input is square: images are stretched to it without keeping the aspect ratio and without
padding, so the way back is a plain resize. Source: samtok-spec 1.3, 1.5 and 1.8.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from PIL import Image

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize


def check_rgb(image_rgb: np.ndarray) -> ImageSize:
    """Return the size of an RGB image.

    Raises:
        ImageError: it is not (H, W, 3) uint8 with pixels.
    """
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ImageError('image has the wrong form', expected='(H, W, 3) uint8 RGB',
                         got=f'{image_rgb.shape} {image_rgb.dtype}',
                         fix='convert it first, for instance with image.encodings.image_to_rgb')
    return ImageSize(*image_rgb.shape[:2])


def resize_to_square(image_rgb: np.ndarray, side: int) -> np.ndarray:
    """Stretch an image to the square model input.

    Pillow's antialiased bicubic filter is part of the checkpoints: another filter flips codes.

    Args:
        image_rgb: (H, W, 3) uint8.
        side: pixels.
    Returns:
        (side, side, 3) uint8.
    """
    check_rgb(image_rgb)
    if image_rgb.shape[:2] == (side, side):
        return image_rgb
    return np.asarray(Image.fromarray(image_rgb).resize((side, side), Image.Resampling.BICUBIC))


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


def masks_to_prompts(masks: torch.Tensor, side: int) -> torch.Tensor:
    """Downsize masks to the dense prompt, keeping soft edges.

    Args:
        masks: (N, H, W) bool or float 0..1.
        side: cells of the prompt.
    Returns:
        (N, 1, side, side) float32, 0..1; not thresholded again.
    """
    return F.interpolate(masks.float().unsqueeze(1), size=(side, side), mode='bilinear',
                         align_corners=False, antialias=True)


def logits_to_masks(
    low_res_logits: torch.Tensor, size: ImageSize, logit_threshold: float,
) -> torch.Tensor:
    """Enlarge low-res logits to source pixels, then threshold.

    Args:
        low_res_logits: (N, 1, 4h, 4w).
        size: of the source image.
        logit_threshold: on the logit scale, not a probability.
    Returns:
        (N, H, W) bool.
    """
    logits = F.interpolate(low_res_logits, size=(size.height, size.width), mode='bilinear',
                           align_corners=False)
    return logits[:, 0] > logit_threshold
