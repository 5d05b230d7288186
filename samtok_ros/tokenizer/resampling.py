# SPDX-License-Identifier: Apache-2.0
"""Masks to the mask encoder's prompt, and the mask decoder's logits to masks, on tensors.

Source: samtok-spec 1.5 and 1.8.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from samtok_ros.regions import ImageSize


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
    if low_res_logits.device.type != 'cpu':
        return _enlarged(low_res_logits, size) > logit_threshold
    # One by one: on a CPU the memory for all of them at once costs more than the arithmetic.
    masks = torch.empty((len(low_res_logits), size.height, size.width), dtype=torch.bool)
    for logits, mask in zip(low_res_logits, masks, strict=True):
        torch.gt(_enlarged(logits[None], size)[0], logit_threshold, out=mask)
    return masks


def _enlarged(low_res_logits: torch.Tensor, size: ImageSize) -> torch.Tensor:
    return F.interpolate(low_res_logits, size=(size.height, size.width), mode='bilinear',
                         align_corners=False)[:, 0]
