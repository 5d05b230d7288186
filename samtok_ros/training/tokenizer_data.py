# SPDX-License-Identifier: Apache-2.0
"""Batches for mask tokenizer training: images with several masks each, flipped and zoomed."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch

from samtok_ros.image.transforms import boxes_to_unit, masks_to_boxes, resize_to_square
from samtok_ros.regions import ImageSize
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.resampling import masks_to_prompts


class MaskSource(Protocol):
    """What training needs of a scene store."""

    def __len__(self) -> int:
        """Return the number of scenes that can be read now."""

    def rgb(self, index: int) -> np.ndarray:
        """Return (H, W, 3) uint8."""

    def segmentation(self, index: int) -> np.ndarray:
        """Return (H, W) uint8 object ids, 0 = background."""


@dataclass(frozen=True)
class MaskBatch:
    """B images and N masks of them.

    Attributes:
        pixels: (B, 3, S, S) float, 0..255.
        image_index: (N,) int64, the image of each mask.
        prompts: (N, 1, 4h, 4w) float 0..1, input of the mask encoder.
        box_unit: (N, 4) xyxy, 0..1.
        targets: (N, 1, t, t) float 0..1, share of each cell that the mask covers.
    """

    pixels: torch.Tensor
    image_index: torch.Tensor
    prompts: torch.Tensor
    box_unit: torch.Tensor
    targets: torch.Tensor

    def to(self, device: str) -> 'MaskBatch':
        """Move all tensors."""
        return MaskBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class AugmentationConfig:
    """How samples are varied.

    Attributes:
        flip: chance of a left-right flip.
        zoom: chance of a random crop with the same aspect ratio.
        zoom_least: smallest crop, as a share of the side.
        least_area: masks that cover less of the crop than this are left out.
    """

    flip: float = 0.5
    zoom: float = 0.5
    zoom_least: float = 0.65
    least_area: float = 0.003


def sample_masks(
    source: MaskSource, config: MaskTokenizerConfig, rng: np.random.Generator,
    images: int, masks_per_image: int, augmentation: AugmentationConfig,
) -> MaskBatch:
    """Draw a batch.

    Args:
        source: scenes.
        config: sizes of the network.
        rng: decides everything that is random.
        images: B.
        masks_per_image: N is at most B times this.
        augmentation: see there.
    """
    squares, prompts, boxes, targets, owners = [], [], [], [], []
    while len(squares) < images:
        index = int(rng.integers(len(source)))
        rgb, ids = _augment(source.rgb(index), source.segmentation(index), rng, augmentation)
        masks = _pick_masks(ids, rng, masks_per_image, augmentation.least_area)
        if not len(masks):
            continue
        owners += [len(squares)] * len(masks)
        squares.append(resize_to_square(rgb, config.image_size))
        boxes.append(boxes_to_unit(masks_to_boxes(masks), ImageSize(*ids.shape)))
        prompts.append(masks_to_prompts(torch.as_tensor(masks), config.low_res_size))
        targets.append(_coverage(masks, 2 * config.low_res_size))
    return MaskBatch(
        pixels=torch.as_tensor(np.stack(squares)).permute(0, 3, 1, 2).float(),
        image_index=torch.tensor(owners),
        prompts=torch.cat(prompts),
        box_unit=torch.as_tensor(np.concatenate(boxes)),
        targets=torch.as_tensor(np.concatenate(targets)).unsqueeze(1),
    )


def _augment(
    rgb: np.ndarray, ids: np.ndarray, rng: np.random.Generator, config: AugmentationConfig,
) -> tuple[np.ndarray, np.ndarray]:
    if rng.random() < config.zoom:
        height, width = ids.shape
        share = rng.uniform(config.zoom_least, 1.0)
        crop_h, crop_w = int(height * share), int(width * share)
        top = int(rng.integers(height - crop_h + 1))
        left = int(rng.integers(width - crop_w + 1))
        window = np.s_[top:top + crop_h, left:left + crop_w]
        rgb, ids = rgb[window], ids[window]
    if rng.random() < config.flip:
        rgb, ids = rgb[:, ::-1], ids[:, ::-1]
    return np.ascontiguousarray(rgb), np.ascontiguousarray(ids)


def _pick_masks(
    ids: np.ndarray, rng: np.random.Generator, count: int, least_area: float,
) -> np.ndarray:
    areas = np.bincount(ids.ravel(), minlength=2)
    areas[0] = 0
    usable = np.flatnonzero(areas >= least_area * ids.size)
    chosen = rng.permutation(usable)[:count]
    return ids[None] == chosen[:, None, None].astype(ids.dtype)


def _coverage(masks: np.ndarray, side: int) -> np.ndarray:
    """Return (N, side, side) float32 shares by area averaging."""
    return np.stack([cv2.resize(mask.astype(np.float32), (side, side),
                                interpolation=cv2.INTER_AREA) for mask in masks])
