# SPDX-License-Identifier: Apache-2.0
"""What goes into and comes out of a mask tokenizer, whatever runs it; no torch here.

Shapes: N regions, D codebook depth, H W source pixels.
"""

from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize


@dataclass(frozen=True)
class DecodedMasks:
    """Masks drawn from codes or prompts.

    Attributes:
        masks: (N, H, W) bool at source resolution.
        low_res_logits: (N, 1, 4h, 4w) float32, before sigmoid.
        scores: (N,) float32, IoU that the decoder predicts for its masks, 0..1.
    """

    masks: np.ndarray
    low_res_logits: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class DecodeOptions:
    """Where the published code does something else than what is meant, or than SAM2 does.

    Nothing here but the threshold changes the masks of well-formed spans.

    Attributes:
        missing_as_zero: draw NO_CODE as entry 0, as the published code does; else the level is
            left out.
        logit_threshold: a pixel belongs to the mask when its logit is above this; None is the
            model's own, 0.5 in published models, where SAM2 has 0.
    """

    missing_as_zero: bool = False
    logit_threshold: float | None = None


def check_masks(masks: np.ndarray, size: ImageSize) -> None:
    """Refuse masks that are not (N, H, W) bool of an image's size.

    Raises:
        ImageError: another shape or type.
    """
    wanted = (size.height, size.width)
    if masks.ndim != 3 or masks.shape[1:] != wanted or masks.dtype != np.bool_:
        raise ImageError('masks do not fit the image',
                         expected=f'(N, {wanted[0]}, {wanted[1]}) bool',
                         got=f'{masks.shape} {masks.dtype}')
