# SPDX-License-Identifier: Apache-2.0
"""The image encoder as one graph: pixels in, the three feature maps out.

The input size is fixed, so the position embedding is baked in; nothing is resized in the graph; the
position encodings that sam2's neck returns beside its maps are left out.
"""

import copy

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from sam2.modeling.backbones.hieradet import MultiScaleBlock
from sam2.modeling.backbones.utils import window_partition, window_unpartition
from torch import nn

from samtok_ros.export.layers import attend, float_norm, linear
from samtok_ros.tokenizer.network import MaskTokenizerNetwork

ROWS_AT_ONCE = 1024
"""Queries whose scores are in memory at once; all 4096 of a global block of Hiera-L take 1 GB."""


class ImageEncoderGraph(nn.Module):
    """Hiera and its feature pyramid.

    Matrix products run in `dtype`; the residual stream, norms, softmax and the patch convolution
    are float32, because half precision there has ruined encoders of this family.
    """

    def __init__(self, network: MaskTokenizerNetwork, dtype: torch.dtype) -> None:
        """Take the weights of a network, which stays as it is."""
        super().__init__()
        sam = network.sam
        parts = (sam.image_encoder, sam.sam_mask_decoder.conv_s0, sam.sam_mask_decoder.conv_s1)
        encoder, fine, middle = parts if dtype == torch.float32 else copy.deepcopy(parts)
        self.trunk = encoder.trunk
        # Finest level first, and as linear layers on channels-last maps: 1 x 1 convolutions.
        self.laterals = nn.ModuleList(_as_linear(level.conv) for level in encoder.neck.convs[::-1])
        self.fine, self.middle = _as_linear(fine), _as_linear(middle)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.to(dtype)
        cells = network.config.image_size // 4
        self.register_buffer('positions', self.trunk._get_pos_embed((cells, cells)).detach())
        self.register_buffer('no_memory', sam.no_mem_embed.detach().reshape(1, 1, 1, -1))
        self.register_buffer('mean', sam.pixel_mean)
        self.register_buffer('std', sam.pixel_std)

    def forward(self, image_rgb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Encode one image.

        Args:
            image_rgb: (S, S, 3) uint8, stretched to the model input.
        Returns:
            embedding (1, C, h, w), high_res_0 (1, C/8, 4h, 4w), high_res_1 (1, C/4, 2h, 2w), all
            float32.
        """
        # First of all: TensorRT takes uint8 for nothing but a cast (its issue 3985).
        pixels = image_rgb.float().permute(2, 0, 1).unsqueeze(0)
        normalised = (pixels / 255 - self.mean) / self.std
        hidden = self.trunk.patch_embed.proj(normalised).permute(0, 2, 3, 1) + self.positions
        stages = []
        for index, block in enumerate(self.trunk.blocks):
            hidden = _block(block, hidden)
            if index in self.trunk.stage_ends:
                stages.append(hidden)
        fine, middle, coarse, coarsest = (
            linear(stage, layer) for stage, layer in zip(stages, self.laterals, strict=True))
        embedding = coarse.float() + _doubled(coarsest.float()) + self.no_memory
        return tuple(maps.permute(0, 3, 1, 2) for maps in (
            embedding, self.fine(fine).float(), self.middle(middle).float()))


def _block(block: MultiScaleBlock, hidden: torch.Tensor) -> torch.Tensor:
    """Run one Hiera block on (1, H, W, C) float32."""
    normed = float_norm(hidden, block.norm1)
    shortcut = hidden
    if block.dim != block.dim_out:
        shortcut = _pooled(linear(normed, block.proj).float(), block.pool)
    window, (height, width) = block.window_size, hidden.shape[1:3]
    if not window:
        mixed = _attention(block.attn, normed)
    else:
        windows, padded = window_partition(normed, window)
        mixed = _attention(block.attn, windows)
        if block.q_stride:
            window //= block.q_stride[0]
            height, width = shortcut.shape[1:3]
            padded = tuple(-(-size // window) * window for size in (height, width))
        mixed = window_unpartition(mixed, window, padded, (height, width))
    hidden = shortcut + mixed.float()
    first, second = block.mlp.layers
    inner = F.gelu(linear(float_norm(hidden, block.norm2), first))
    return hidden + second(inner).float()


def _attention(attention: nn.Module, windows: torch.Tensor) -> torch.Tensor:
    """Self-attention within each of B windows (B, H, W, C); queries may be pooled."""
    batch, height, width, _ = windows.shape
    heads = attention.num_heads
    qkv = linear(windows, attention.qkv).reshape(batch, height * width, 3, heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    if attention.q_pool:
        maps = query.transpose(1, 2).reshape(batch, height, width, -1)
        maps = _pooled(maps.float(), attention.q_pool).to(query.dtype)
        height, width = maps.shape[1:3]
        query = maps.reshape(batch, height * width, heads, -1).transpose(1, 2)
    parts = [attend(rows, key, value) for rows in query.split(ROWS_AT_ONCE, dim=-2)]
    mixed = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)).transpose(1, 2)
    return attention.proj(mixed.reshape(batch, height, width, -1))


def _pooled(maps: torch.Tensor, pool: nn.Module | None) -> torch.Tensor:
    """Pool (B, H, W, C) over H and W."""
    return maps if pool is None else pool(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _doubled(maps: torch.Tensor) -> torch.Tensor:
    """Repeat every cell of (1, H, W, C) twice in both directions, without a resize."""
    _, height, width, channels = maps.shape
    cells = maps[:, :, None, :, None, :].expand(-1, -1, 2, -1, 2, -1)
    return cells.reshape(1, 2 * height, 2 * width, channels)


def _as_linear(conv: nn.Conv2d) -> nn.Linear:
    """Return a 1 x 1 convolution as a linear layer; its weights are shared."""
    layer = nn.Linear(conv.in_channels, conv.out_channels, device='meta')
    layer.weight = nn.Parameter(conv.weight.detach().flatten(1), requires_grad=False)
    layer.bias = nn.Parameter(conv.bias.detach(), requires_grad=False)
    return layer
