# SPDX-License-Identifier: Apache-2.0
"""Dense supervision of the vision tower: linear heads read from each token what lies there."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import nn

from samtok_ros.scenes.geometry import COLOURS, SHAPES
from samtok_ros.training.scene_images import (
    CELLS_HW,
    MAX_OBJECTS,
    MODEL_SIZE_HW,
    PATCHES_HW,
)

# Shape and colour have one class more: background.
_SPLIT = (len(SHAPES) + 1, len(COLOURS) + 1, 1, 4)
_PER_PLACE = sum(_SPLIT)


@dataclass(frozen=True)
class DenseTargets:
    """What the object that covers most of a place looks like; places are cells or patches.

    Attributes:
        owner: (B, R, C) int64 object id, 0 = background.
        shape, colour: (B, R, C) int64 class; the last class is background.
        size: (B, R, C) float32, 1 = large.
        box: (B, R, C, 4) float32: left, top, right, bottom of the object's visible pixels, in units
            of 1/10 image width from the place's centre.
    """

    owner: torch.Tensor
    shape: torch.Tensor
    colour: torch.Tensor
    size: torch.Tensor
    box: torch.Tensor


def object_boxes(labels: torch.Tensor) -> torch.Tensor:
    """Boxes of the visible pixels of each object.

    Args:
        labels: (B, 224, 320) uint8 object ids.
    Returns:
        (B, 13, 4) float32 xyxy in pixels; zeros where the object is not seen.
    """
    batch, height, width = labels.shape
    rows = torch.arange(height, device=labels.device)[None, :, None]
    columns = torch.arange(width, device=labels.device)[None, None, :]
    ids = labels.long().view(batch, -1)
    edges = []
    for places, sign in ((columns, -1), (rows, -1), (columns, 1), (rows, 1)):
        # The greatest of -x finds the left edge, of x + 1 the right one.
        values = (places if sign < 0 else places + 1) * sign
        empty = torch.full((batch, MAX_OBJECTS + 1), -height * width, device=labels.device)
        values = values.expand(batch, height, width).reshape(batch, -1)
        extreme = empty.scatter_reduce(1, ids, values, 'amax')
        edges.append(torch.where(extreme > -height * width, extreme * sign, 0))
    return torch.stack(edges, -1).float()


def dense_targets(labels: torch.Tensor, attributes: torch.Tensor, object_boxes_px: torch.Tensor,
                  places_hw: tuple[int, int], least_share: float = 0.08) -> DenseTargets:
    """Compute the targets for a grid of places.

    Args:
        labels: (B, 224, 320) uint8 object ids.
        attributes: (B, 13, 3) int64 shape, colour, size by object id.
        object_boxes_px: (B, 13, 4) float32 of `object_boxes`.
        places_hw: cells (7, 10) or patches (14, 20).
        least_share: share of a place that objects must cover for it to count as theirs.
    """
    batch, height, width = labels.shape
    rows, columns = places_hw
    step = height // rows
    pixels = labels.view(batch, rows, step, columns, step).transpose(2, 3).reshape(
        batch, rows * columns, step * step).long()
    counts = torch.zeros(batch, rows * columns, MAX_OBJECTS + 1, device=labels.device)
    counts.scatter_add_(2, pixels, torch.ones_like(pixels, dtype=torch.float32))
    best, owner = counts[..., 1:].max(-1)
    owner = torch.where(best >= least_share * step * step, owner + 1, 0).view(batch, rows, columns)
    flat = owner.view(batch, -1)
    kinds = torch.gather(attributes, 1, flat[..., None].expand(-1, -1, 3)).view(
        batch, rows, columns, 3)
    boxes = torch.gather(object_boxes_px, 1, flat[..., None].expand(-1, -1, 4)).view(
        batch, rows, columns, 4)
    down = (torch.arange(rows, device=labels.device) + 0.5) * step
    across = (torch.arange(columns, device=labels.device) + 0.5) * step
    down, across = torch.meshgrid(down, across, indexing='ij')
    centre = torch.stack([across, down, across, down], -1)
    empty = owner == 0
    return DenseTargets(
        owner, torch.where(empty, len(SHAPES), kinds[..., 0]),
        torch.where(empty, len(COLOURS), kinds[..., 1]), kinds[..., 2].clamp(min=0).float(),
        (boxes - centre) / (MODEL_SIZE_HW[1] / 10))


class DenseHeads(nn.Module):
    """Linear read-outs of a merged token: its own cell, and each of its four patches."""

    def __init__(self, width: int):
        """Make the heads for merged tokens of `width` channels."""
        super().__init__()
        self.cell = nn.Linear(width, _PER_PLACE)
        self.patches = nn.Linear(width, 4 * _PER_PLACE)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, 7, 10, K) for the cells and (B, 14, 20, K) for the patches."""
        batch = tokens.shape[0]
        rows, columns = CELLS_HW
        cells = self.cell(tokens).view(batch, rows, columns, -1)
        patches = self.patches(tokens).view(batch, rows, columns, 2, 2, -1)
        return cells, patches.transpose(2, 3).reshape(batch, *PATCHES_HW, -1)


def dense_loss(predicted: torch.Tensor, targets: DenseTargets) -> tuple[torch.Tensor, dict]:
    """Sum cross-entropies of shape and colour, the size and the box of one grid of places.

    Background is most of the picture; it gets as much weight as all objects together.

    Args:
        predicted: (B, R, C, K) of `DenseHeads`.
        targets: for the same grid.
    Returns:
        the loss, and figures for the curves: accuracy of shape and colour on objects, objectness.
    """
    shape, colour, size, box = predicted.float().split(_SPLIT, -1)
    there = targets.owner > 0
    share = there.float().mean().clamp(1e-3, 1 - 1e-3)
    weight = torch.where(there, 0.5 / share, 0.5 / (1 - share)).flatten()
    losses = [(F.cross_entropy(part.flatten(0, 2), wanted.flatten(), reduction='none')
               * weight).mean()
              for part, wanted in ((shape, targets.shape), (colour, targets.colour))]
    count = there.sum().clamp(min=1)
    sizes = F.binary_cross_entropy_with_logits(size[..., 0], targets.size, reduction='none')
    boxes = F.smooth_l1_loss(box, targets.box, reduction='none', beta=0.2).mean(-1)
    loss = (losses[0] + losses[1] + 0.3 * (sizes * there).sum() / count
            + (boxes * there).sum() / count)
    with torch.no_grad():
        figures = {
            'shape_accuracy': _accuracy(shape[..., :-1], targets.shape, there),
            'colour_accuracy': _accuracy(colour[..., :-1], targets.colour, there),
            'size_accuracy': float((((size[..., 0] > 0) == (targets.size > 0.5)) & there).sum()
                                   / count),
            'object_accuracy': float(((shape.argmax(-1) < len(SHAPES)) == there).float().mean()),
            'box_error': float((boxes * there).sum() / count),
        }
    return loss, figures


def _accuracy(scores: torch.Tensor, wanted: torch.Tensor, where: torch.Tensor) -> float:
    return float(((scores.argmax(-1) == wanted) & where).sum() / where.sum().clamp(min=1))
