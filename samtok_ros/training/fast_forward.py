# SPDX-License-Identifier: Apache-2.0
"""Forward passes of Qwen3-VL for training: equal images in one batch, many questions on one image.

The modules and weights are those of `transformers`; only the order of work differs. Its own forward
splits images one by one and needs a (T, T) mask over all questions of an image; here the questions
of an image share the keys and values of its prefix and never see each other, at a third of the
cost.
`test/test_fast_forward.py` holds both to the same numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class TextGroup:
    """Questions of equal padded length, so that short ones do not pay for long ones.

    Attributes:
        token_ids: (B, Q, L) int64, padded at the end; Q questions on each of the B images.
    """

    token_ids: torch.Tensor


@dataclass(frozen=True)
class TextOutput:
    """Result of `text_hidden_states`.

    Attributes:
        hidden: per group (B, Q, L, C), after the last norm.
        image_attention: per watched layer, per group (B, heads, Q, L, P): softmax weights on the
            prefix, the rest of the mass being on the question itself.
    """

    hidden: list[torch.Tensor]
    image_attention: dict[int, list[torch.Tensor]]


def image_embeddings(visual: nn.Module, patches: torch.Tensor, grid_hw: tuple[int, int],
                     kernels: 'Kernels | None' = None) -> torch.Tensor:
    """Run the vision tower on B images of one size.

    Args:
        visual: Qwen3VLVisionModel without deepstack.
        patches: (B, h*w, 3*p*p) float, normalised, in the image processor's order.
        grid_hw: patches down and across before merging.
        kernels: compiled blocks, None = plain ones.
    Returns:
        (B, h*w/4, C_text) merged visual tokens, row by row.
    """
    from transformers.vision_utils import (
        get_vision_interpolation_indices_and_weights,
        get_vision_position_ids,
    )

    batch, count, _ = patches.shape
    grid = torch.tensor([[1, *grid_hw]], device=patches.device)
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid, num_grid_per_side=visual.num_grid_per_side, mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.config.spatial_merge_size)
    positions = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
    # The convolution's kernel is the whole patch: the same as one matrix product.
    kernel = visual.patch_embed.proj
    hidden = nn.functional.linear(patches, kernel.weight.flatten(1), kernel.bias) + positions
    ids = get_vision_position_ids(grid, visual.config.spatial_merge_size)
    cos, sin = visual.rotary_pos_emb(hidden, ids)
    cos, sin = cos[None, None].to(hidden.dtype), sin[None, None].to(hidden.dtype)
    run_block = kernels.vision_block if kernels else vision_block
    for block in visual.blocks:
        hidden = run_block(block, hidden, cos, sin)
    return visual.merger(hidden.reshape(batch * count, -1)).reshape(batch, count // 4, -1)


def vision_block(block: nn.Module, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor,
                 ) -> torch.Tensor:
    """Run one block of the vision tower on (B, T, C)."""
    hidden = hidden + _vision_attention(block.attn, block.norm1(hidden), cos, sin)
    return hidden + block.mlp(block.norm2(hidden))


def _vision_attention(attention: nn.Module, hidden: torch.Tensor, cos: torch.Tensor,
                      sin: torch.Tensor) -> torch.Tensor:
    batch, count, width = hidden.shape
    qkv = attention.qkv(hidden).reshape(batch, count, 3, attention.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    cos, sin = cos.to(query.dtype), sin.to(query.dtype)
    query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
    scores = torch.matmul(query * attention.scaling, key.transpose(2, 3))
    mixed = torch.matmul(scores.softmax(-1).to(value.dtype), value)
    return attention.proj(mixed.transpose(1, 2).reshape(batch, count, width))


def text_hidden_states(text_model: nn.Module, prefix: torch.Tensor, prefix_positions: torch.Tensor,
                       groups: list[TextGroup], watched_layers: tuple[int, ...] = (),
                       kernels: 'Kernels | None' = None) -> TextOutput:
    """Run the language model on B prefixes, each followed by several independent questions.

    Args:
        text_model: Qwen3VLTextModel.
        prefix: (B, P, C) embeddings of the opening tokens and the image.
        prefix_positions: (3, P) int64; a question's first token sits at the greatest of them + 1.
        groups: questions, padded at the end; causality hides the padding.
        watched_layers: layers whose attention on the prefix is returned.
        kernels: compiled layers, None = plain ones.
    """
    batch, prefix_length, _ = prefix.shape
    device = prefix.device
    prefix_rope = _rope(text_model, prefix, prefix_positions)
    start = int(prefix_positions.max()) + 1
    ropes, states, masks = [], [], []
    for group in groups:
        length = group.token_ids.shape[-1]
        positions = (torch.arange(length, device=device) + start).expand(3, -1)
        ropes.append(_rope(text_model, prefix, positions))
        states.append(text_model.embed_tokens(group.token_ids.reshape(-1, length)))
        masks.append(_causal(length, device))
    prefix_mask = _causal(prefix_length, device)
    run_prefix = kernels.prefix_layer if kernels else prefix_layer
    run_question = kernels.question_layer if kernels else question_layer
    watched: dict[int, list[torch.Tensor]] = {}
    for index, layer in enumerate(text_model.layers):
        prefix, key, value = run_prefix(layer, prefix, prefix_rope, prefix_mask)
        for number, group in enumerate(groups):
            states[number], weights = run_question(layer, states[number], ropes[number],
                                                   masks[number], key, value)
            if index in watched_layers:
                shape = (batch, weights.shape[1], *group.token_ids.shape[1:], prefix_length)
                watched.setdefault(index, []).append(weights.reshape(shape))
    outputs = [text_model.norm(hidden).reshape(*group.token_ids.shape, -1)
               for hidden, group in zip(states, groups, strict=True)]
    return TextOutput(outputs, watched)


def prefix_layer(layer: nn.Module, hidden: torch.Tensor, rope: tuple, mask: torch.Tensor,
                 ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Run one layer on the prefixes (B, P, C); returns them with their keys and values."""
    attention = layer.self_attn
    query, key, value = _project(attention, layer.input_layernorm(hidden), rope)
    mixed = _attend(query, key, value, mask, attention.scaling)
    return _finish(layer, hidden, mixed), key, value


def question_layer(layer: nn.Module, hidden: torch.Tensor, rope: tuple, mask: torch.Tensor,
                   prefix_key: torch.Tensor, prefix_value: torch.Tensor,
                   ) -> tuple[torch.Tensor, torch.Tensor]:
    """Run one layer on questions (B*Q, L, C); returns them with their weights on the prefix."""
    attention = layer.self_attn
    query, key, value = _project(attention, layer.input_layernorm(hidden), rope)
    mixed, weights = _attend_shared(query, key, value, prefix_key, prefix_value, mask,
                                    attention.scaling)
    return _finish(layer, hidden, mixed), weights


@dataclass(frozen=True)
class Kernels:
    """The repeated blocks, compiled once and reused for every layer: twice as fast on a CPU."""

    vision_block: Callable
    prefix_layer: Callable
    question_layer: Callable

    @classmethod
    def compiled(cls) -> 'Kernels':
        """Compile on first use, once per shape."""
        return cls(*(torch.compile(block, dynamic=False)
                     for block in (vision_block, prefix_layer, question_layer)))


def _causal(length: int, device: torch.device) -> torch.Tensor:
    """Additive (L, L) mask."""
    return torch.full((length, length), -1e4, device=device).triu(1)


def _rope(text_model: nn.Module, like: torch.Tensor, positions: torch.Tensor,
          ) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = text_model.rotary_emb(like, positions[:, None])
    return cos[:, None], sin[:, None]


def _rotate(tensor: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = tensor.chunk(2, -1)
    return tensor * cos + torch.cat((-second, first), -1) * sin


def _project(attention: nn.Module, hidden: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor],
             ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys, values as (B, heads, T, head_dim), all with as many heads as the queries."""
    shape = (*hidden.shape[:-1], -1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(hidden).view(shape)).transpose(1, 2)
    key = attention.k_norm(attention.k_proj(hidden).view(shape)).transpose(1, 2)
    value = attention.v_proj(hidden).view(shape).transpose(1, 2)
    cos, sin = (part.to(value.dtype) for part in rope)
    query, key = _rotate(query.to(value.dtype), cos, sin), _rotate(key.to(value.dtype), cos, sin)
    if attention.num_key_value_groups > 1:
        key = key.repeat_interleave(attention.num_key_value_groups, 1)
        value = value.repeat_interleave(attention.num_key_value_groups, 1)
    return query, key, value


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor,
            scaling: float) -> torch.Tensor:
    scores = torch.matmul(query * scaling, key.transpose(2, 3)) + mask.to(query.dtype)
    return torch.matmul(scores.softmax(-1).to(value.dtype), value)


def _attend_shared(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                   prefix_key: torch.Tensor, prefix_value: torch.Tensor, mask: torch.Tensor,
                   scaling: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend to the prefix of one's image and to one's own past.

    Returns:
        (B*Q, heads, L, head_dim) mixed values, (B, heads, Q*L, P) weights on the prefix.
    """
    batch, heads, prefix_length, width = prefix_key.shape
    rows, _, length, _ = query.shape
    query = query * scaling
    own = torch.matmul(query, key.transpose(2, 3)) + mask.to(query.dtype)
    by_image = _by_image(query, batch)
    far = torch.matmul(by_image, prefix_key.transpose(2, 3))
    scores = torch.cat([_by_question(far, rows), own], -1)
    weights = scores.softmax(-1).to(value.dtype)
    on_prefix = _by_image(weights[..., :prefix_length], batch)
    mixed = torch.matmul(weights[..., prefix_length:], value)
    return mixed + _by_question(torch.matmul(on_prefix, prefix_value), rows), on_prefix


def _by_image(tensor: torch.Tensor, batch: int) -> torch.Tensor:
    """(B*Q, heads, L, C) -> (B, heads, Q*L, C)."""
    rows, heads, length, width = tensor.shape
    tensor = tensor.view(batch, rows // batch, heads, length, width).transpose(1, 2)
    return tensor.reshape(batch, heads, -1, width)


def _by_question(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """(B, heads, Q*L, C) -> (B*Q, heads, L, C), the way back from `_by_image`."""
    batch, heads, total, width = tensor.shape
    per_image = rows // batch
    tensor = tensor.view(batch, heads, per_image, total // per_image, width).transpose(1, 2)
    return tensor.reshape(rows, heads, -1, width)


def _finish(layer: nn.Module, hidden: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
    """Output projection, residuals and feed-forward block of one layer."""
    mixed = mixed.transpose(1, 2).reshape(*hidden.shape[:-1], -1)
    hidden = hidden + layer.self_attn.o_proj(mixed)
    return hidden + layer.mlp(layer.post_attention_layernorm(hidden))
