# SPDX-License-Identifier: Apache-2.0
"""The check file of an export: a picture, twenty masks and codes, and what torch makes of them."""

import numpy as np

from samtok_ros.evaluation.synthetic_network import synthetic_image
from samtok_ros.onnx.reference import COUNTS, Reference
from samtok_ros.regions import BoxPrompt, PointPrompt
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

_SIZE_HW = (480, 640)
_PICTURE = 1
_PROMPTS = 4
_BATCH = 5
"""Regions that torch takes at once: the memory of a full-size model for all 20 is not needed."""


def make_reference(tokenizer: MaskTokenizer, seed: int = 0) -> Reference:
    """Compute the reference with torch.

    Half of the codes are those of the masks, as a model would speak them, the others are random.

    Args:
        tokenizer: in float32 on the CPU.
        seed: of masks and codes.
    """
    rng = np.random.default_rng(seed)
    count = max(COUNTS)
    image_rgb = synthetic_image(*_SIZE_HW, _PICTURE)
    masks = _ellipses(rng, count)
    features = tokenizer.embed_image(image_rgb)
    mask_codes = np.concatenate([tokenizer.encode(features, masks[start:start + _BATCH])
                                 for start in range(0, count, _BATCH)])
    codes = rng.integers(0, tokenizer.config.codebook_size, mask_codes.shape)
    codes[::2] = mask_codes[::2]
    parts = [tokenizer.decode(features, codes[start:start + _BATCH])
             for start in range(0, count, _BATCH)]
    boxes, points = _prompts(rng)
    prompts = [BoxPrompt(*box) for box in boxes] + [PointPrompt(*point) for point in points]
    return Reference(
        image_rgb, *(maps.numpy() for maps in features.maps.maps()), masks, mask_codes, codes,
        drawn=np.concatenate([part.masks for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        best=np.concatenate([
            tokenizer.candidates(features, codes[start:start + _BATCH]).scores.argmax(1).numpy()
            for start in range(0, count, _BATCH)]), boxes=np.array(boxes, np.float32),
        points=np.array(points, np.float32),
        prompted=tokenizer.draw_prompts(features, prompts).masks)


def _ellipses(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, H, W) bool masks from a thousandth to a third of the image."""
    height, width = _SIZE_HW
    y, x = np.mgrid[0:height, 0:width]
    masks = []
    for radius in np.geomspace(0.02, 0.35, count) * min(_SIZE_HW):
        centre_y, centre_x = rng.uniform(0.2, 0.8, 2) * _SIZE_HW
        stretch = rng.uniform(0.6, 1.6)
        masks.append(((x - centre_x) / stretch) ** 2 + ((y - centre_y) * stretch) ** 2
                     < radius ** 2)
    return np.stack(rng.permutation(np.stack(masks)))


def _prompts(rng: np.random.Generator) -> tuple[list[list[float]], list[list[float]]]:
    """Return boxes and points in source pixels."""
    height, width = _SIZE_HW
    scale = np.array([width, height])
    corners = [np.sort(rng.uniform(0.1, 0.9, (2, 2)), axis=0) * scale for _ in range(_PROMPTS)]
    return ([corner.ravel().astype(np.float32).tolist() for corner in corners],
            (rng.uniform(0.1, 0.9, (_PROMPTS, 2)) * scale).astype(np.float32).tolist())
