# SPDX-License-Identifier: Apache-2.0
"""Masks to the mask encoder's prompt, and low-res logits to masks, on arrays and without torch.

The twin of `tokenizer/resampling.py`; a test holds both to the same numbers.
Source: samtok-spec 1.5 and 1.8.
"""

import numpy as np
from PIL import Image

from samtok_ros.regions import ImageSize


def masks_to_prompts(masks: np.ndarray, side: int) -> np.ndarray:
    """Downsize masks to the dense prompt, keeping soft edges.

    Pillow's bilinear filter widens with the scale, as torch's does with `antialias`; the two agree
    to a few units in the last place.

    Args:
        masks: (N, H, W) bool.
        side: cells of the prompt.
    Returns:
        (N, 1, side, side) float32, 0..1; not thresholded again.
    """
    prompts = np.empty((len(masks), 1, side, side), np.float32)
    for prompt, mask in zip(prompts, masks, strict=True):
        picture = Image.fromarray(mask.astype(np.float32))
        prompt[0] = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
    return prompts


def logits_to_masks(
    low_res_logits: np.ndarray, size: ImageSize, logit_threshold: float,
) -> np.ndarray:
    """Enlarge low-res logits to source pixels, then threshold.

    Bilinear with half-pixel centres and no antialias. OpenCV's resize rounds its weights so
    coarsely that pixels at the threshold flip, hence this one.

    Args:
        low_res_logits: (N, 1, 4h, 4w) float32.
        size: of the source image.
        logit_threshold: on the logit scale, not a probability.
    Returns:
        (N, H, W) bool.
    """
    rows, columns = low_res_logits.shape[2:]
    left, right, right_weight = _neighbours(columns, size.width)
    above, below, below_weight = _neighbours(rows, size.height)
    below_weight = below_weight[:, None]
    masks = np.empty((len(low_res_logits), size.height, size.width), np.bool_)
    # Two buffers for all masks: fresh memory for each would cost more than the arithmetic.
    upper, lower = np.empty((2, size.height, size.width), np.float32)
    for mask, logits in zip(masks, low_res_logits[:, 0], strict=True):
        # Columns while there are few rows; then whole rows, which are contiguous.
        wide = logits[:, left] * (1 - right_weight) + logits[:, right] * right_weight
        for part, row, weight in ((upper, above, 1 - below_weight), (lower, below, below_weight)):
            np.take(wide, row, axis=0, out=part, mode='clip')
            part *= weight
        upper += lower
        np.greater(upper, np.float32(logit_threshold), out=mask)
    return masks


def _neighbours(cells: int, pixels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each pixel the two cells around its centre and the weight of the second."""
    scale = np.float32(cells) / np.float32(pixels)
    place = (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    place = np.maximum(place, np.float32(0))
    first = np.minimum(place.astype(np.int64), cells - 1)
    return first, np.minimum(first + 1, cells - 1), place - first.astype(np.float32)
