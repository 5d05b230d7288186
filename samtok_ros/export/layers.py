# SPDX-License-Identifier: Apache-2.0
"""Layers of the exported graphs: weights of the sam2 modules, run in an order that exports well.

Three habits hold everywhere. Attention is written out with only the query scaled, because fused
attention of TensorRT has been silently wrong in half precision. Norms and softmax are float32
whatever the dtype around them. The number of regions N appears in shapes only as -1, so that one
file serves every N.

Shapes: N regions, T tokens, C channels, L = h * w image cells.
"""

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from sam2.modeling.sam.transformer import Attention, TwoWayAttentionBlock, TwoWayTransformer
from torch import nn


def float_norm(values: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    """Normalise the last axis in float32; the result is float32."""
    return F.layer_norm(values.float(), norm.normalized_shape, norm.weight.float(),
                        norm.bias.float(), norm.eps)


def channel_norm(maps: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    """Normalise the channels of (N, C, H, W), written so that runtimes see a layer norm."""
    last = F.layer_norm(maps.permute(0, 2, 3, 1), norm.weight.shape, norm.weight, norm.bias,
                        norm.eps)
    return last.permute(0, 3, 1, 2)


def linear(values: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """Apply a linear layer in the dtype of its weights."""
    return layer(values.to(layer.weight.dtype))


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Mix values by softmax attention.

    Args:
        query: (N or 1, heads, Q, c).
        key: (N or 1, heads, K, c); a batch of 1 is broadcast, never copied.
        value: like the keys.
    """
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-2, -1))
    return torch.matmul(scores.float().softmax(-1).to(value.dtype), value)


def split_heads(values: torch.Tensor, heads: int) -> torch.Tensor:
    """(N, T, C) -> (N, heads, T, C / heads)."""
    _, tokens, channels = values.shape
    return values.reshape(-1, tokens, heads, channels // heads).transpose(1, 2)


def join_heads(values: torch.Tensor) -> torch.Tensor:
    """(N, heads, T, c) -> (N, T, heads * c), the way back from `split_heads`."""
    _, heads, tokens, channels = values.shape
    return values.transpose(1, 2).reshape(-1, tokens, heads * channels)


def cross_attention(
    attention: Attention, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
) -> torch.Tensor:
    """Run one attention of a two-way transformer; batches of 1 are broadcast over regions."""
    heads = attention.num_heads
    mixed = attend(split_heads(attention.q_proj(query), heads),
                   split_heads(attention.k_proj(key), heads),
                   split_heads(attention.v_proj(value), heads))
    return attention.out_proj(join_heads(mixed))


def two_way(
    transformer: TwoWayTransformer, image: torch.Tensor, positions: torch.Tensor,
    tokens: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run SAM's two-way transformer.

    The first layer sees the same image for every region: with a batch of 1 its keys and values are
    projected once, which is 22 % of the decoder's arithmetic.

    Args:
        transformer: of the mask encoder or the mask decoder.
        image: (1 or N, L, C).
        positions: (1, L, C) positional encoding of the cells.
        tokens: (N, T, C).
    Returns:
        (N, T, C) tokens and (N, L, C) image.
    """
    queries, keys = tokens, image
    for layer in transformer.layers:
        queries, keys = _two_way_layer(layer, queries, keys, tokens, positions)
    mixed = cross_attention(transformer.final_attn_token_to_image, queries + tokens,
                            keys + positions, keys)
    return float_norm(queries + mixed, transformer.norm_final_attn), keys


def _two_way_layer(
    layer: TwoWayAttentionBlock, queries: torch.Tensor, keys: torch.Tensor, tokens: torch.Tensor,
    positions: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    if layer.skip_first_layer_pe:
        queries = cross_attention(layer.self_attn, queries, queries, queries)
    else:
        placed = queries + tokens
        queries = queries + cross_attention(layer.self_attn, placed, placed, queries)
    queries = float_norm(queries, layer.norm1)
    placed_keys = keys + positions
    queries = float_norm(
        queries + cross_attention(layer.cross_attn_token_to_image, queries + tokens, placed_keys,
                                  keys), layer.norm2)
    queries = float_norm(queries + layer.mlp(queries), layer.norm3)
    keys = float_norm(
        keys + cross_attention(layer.cross_attn_image_to_token, placed_keys, queries + tokens,
                               queries), layer.norm4)
    return queries, keys
