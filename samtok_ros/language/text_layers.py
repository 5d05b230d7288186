# SPDX-License-Identifier: Apache-2.0
"""The layers of a language model, run with the fewest operations, for text behind the image.

A step of one token is so little arithmetic that what surrounds it counts: the modules of
transformers issue three times the operations that are needed, in small models as on large devices.
Here the same weights are used with fewer, larger operations. Images go through the model itself.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel

logger = logging.getLogger(__name__)

_ROPE_TYPES = ('default', 'mrope', 'llama3')  # whose frequencies never change
_LARGEST_DIFFERENCE = 0.05
_FIRST_POSITIONS = 1024


class KeptColumns(Protocol):
    """Keys and values of one layer, a column per token."""

    def update(
        self, key: torch.Tensor, value: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep (1, heads, T, d) keys and values; return all that may be looked at."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """Weights of one layer; those that see the same input are one matrix.

    Attributes:
        first_norm: (C,) before attention.
        qkv: queries, keys and values.
        qk_norm: (heads of queries and keys, d), or None where these are not normalised.
        out: behind attention.
        second_norm: (C,) before the feed-forward block.
        gate_up: both of its inputs.
        down: its output.
    """

    first_norm: torch.Tensor
    qkv: tuple[torch.Tensor, torch.Tensor | None]
    qk_norm: torch.Tensor | None
    out: tuple[torch.Tensor, torch.Tensor | None]
    second_norm: torch.Tensor
    gate_up: tuple[torch.Tensor, torch.Tensor | None]
    down: tuple[torch.Tensor, torch.Tensor | None]


class TextLayers:
    """The language model of Qwen3-VL, Qwen2.5-VL or PerceptionLM, for one text at a time.

    All three share one plan; they differ in biases and in whether queries and keys are normalised.

    Args:
        model: of transformers, on its device. Weights of its projections become views of joint
            matrices; nothing else is changed, and no memory is added.
    """

    def __init__(self, model: 'PreTrainedModel') -> None:
        text = model.model.language_model
        attention = text.layers[0].self_attn
        self._embeddings = text.embed_tokens.weight
        self._layers = [_joined_layer(layer) for layer in text.layers]
        self._last_norm = text.norm.weight
        self._epsilon = text.norm.variance_epsilon
        self._head_dim, self._scaling = attention.head_dim, attention.scaling
        self._key_heads = attention.k_proj.out_features // self._head_dim
        self._query_heads = attention.q_proj.out_features // self._head_dim
        rotary = text.rotary_emb
        self._frequencies = torch.cat([rotary.inv_freq.float()] * 2)
        self._rotary_scale = rotary.attention_scaling
        self._rotations = self._make_rotations(_FIRST_POSITIONS)

    @torch.inference_mode()
    def read(self, token_ids: list[int], position: int, cache: 'Cache') -> torch.Tensor:
        """Read some text, which may not hold an image.

        Args:
            token_ids: T of them.
            position: of the first one; the others follow it on all axes.
            cache: keys and values of what stands in front; T columns are added.
        Returns:
            (1, 1, C) hidden state of the last token, ready for the head.
        """
        device, count = self._embeddings.device, len(token_ids)
        mask = None
        if count > 1:
            mask = _causal(count, cache.get_seq_length() + count, device)
        return self.run(torch.tensor(token_ids, device=device), *self.rotation(position, count),
                        cache.layers, mask)

    def settle(self, cache: 'Cache') -> None:
        """Bring a cache up to date; `read` has left nothing to be done."""

    def run(
        self, ids: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor,
        kept: Iterable[KeptColumns], mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Do what `read` does, with tensors on the device alone.

        Args:
            ids: (T,) int64.
            cos: (T, 1, d) as `rotation` gives them.
            sin: the same.
            kept: keys and values of each layer.
            mask: (T, L) bool, which columns each token sees; None: all of them.
        """
        count = len(ids)
        groups = self._query_heads // self._key_heads
        if mask is not None:
            mask = mask.repeat(groups, 1)
        hidden = functional.embedding(ids, self._embeddings)
        for layer, columns in zip(self._layers, kept, strict=True):
            query, key, value = self._projected(layer, self._norm(hidden, layer.first_norm),
                                                cos, sin)
            # Queries that share keys become rows: the fast kernels of a GPU know no groups.
            mixed = functional.scaled_dot_product_attention(
                query.reshape(1, self._key_heads, groups * count, self._head_dim),
                *columns.update(key, value), attn_mask=mask, scale=self._scaling)
            mixed = mixed.reshape(self._query_heads, count, self._head_dim)
            mixed = mixed.transpose(0, 1).reshape(count, -1)
            hidden = hidden + functional.linear(mixed, *layer.out)
            gate, up = functional.linear(
                self._norm(hidden, layer.second_norm), *layer.gate_up).chunk(2, dim=-1)
            hidden = hidden + functional.linear(functional.silu(gate) * up, *layer.down)
        return self._norm(hidden[-1:], self._last_norm)[None]

    def _norm(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        # Not in one call: transformers rounds before it multiplies.
        return weight * functional.rms_norm(hidden, hidden.shape[-1:], eps=self._epsilon)

    def rotation(self, position: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (T, 1, d) cosines, and sines with the sign that the swapped halves get.

        Args:
            position: of the first of T tokens.
            count: T.
        """
        end = position + count
        if end > len(self._rotations[0]):
            self._rotations = self._make_rotations(2 * end)
        cos, sin = self._rotations
        return cos[position:end], sin[position:end]

    def _make_rotations(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute them for all positions below a count: per token they would be ten operations."""
        places = torch.arange(count, device=self._embeddings.device)
        angles = places[:, None, None] * self._frequencies
        cos, sin = angles.cos() * self._rotary_scale, angles.sin() * self._rotary_scale
        sin[..., : self._head_dim // 2] *= -1
        return cos.to(self._embeddings.dtype), sin.to(self._embeddings.dtype)

    def _projected(
        self, layer: _Layer, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return queries, keys and values: (1, heads, T, d) each."""
        both = self._query_heads + self._key_heads
        heads = functional.linear(hidden, *layer.qkv).view(len(hidden), -1, self._head_dim)
        rotated = heads[:, :both]
        if layer.qk_norm is not None:
            rotated = self._norm(rotated, layer.qk_norm)
        first, second = rotated.chunk(2, dim=-1)
        rotated = rotated * cos + torch.cat((second, first), dim=-1) * sin
        rotated, value = rotated.transpose(0, 1)[None], heads[:, both:].transpose(0, 1)[None]
        return rotated[:, : self._query_heads], rotated[:, self._query_heads :], value


def text_layers_for(model: 'PreTrainedModel') -> TextLayers | None:
    """Return the layers of a model, None where they are built otherwise than is known here.

    Before they are used they must give what the model itself gives for a short text.
    """
    if not _is_known(model):
        return None
    layers = TextLayers(model)
    with torch.inference_mode():
        start = model(input_ids=torch.tensor([[1]], device=model.device), use_cache=True)
        cache = start.past_key_values
        expected = model(input_ids=torch.tensor([[1, 2, 3]], device=model.device)).logits[0, -1]
        found = model.lm_head(layers.read([2, 3], 1, cache))[0, -1]
        difference = (found - expected).float().norm() / expected.float().norm()
    if not difference < _LARGEST_DIFFERENCE:
        logger.warning('the layers of %s give other numbers here (%.2g apart): using its own code, '
                       'which is slower', type(model).__name__, difference)
        return None
    return layers


def _is_known(model: 'PreTrainedModel') -> bool:
    text = model.model.language_model
    config = text.config
    return (
        config.hidden_act == 'silu'
        and text.rotary_emb.rope_type in _ROPE_TYPES
        and not any('sliding' in kind for kind in getattr(config, 'layer_types', None) or ())
        and all(type(module) is nn.Linear for layer in text.layers
                for module in (layer.self_attn.q_proj, layer.self_attn.k_proj,
                               layer.self_attn.v_proj, layer.self_attn.o_proj,
                               layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)))


def _joined_layer(layer: nn.Module) -> _Layer:
    attention, block = layer.self_attn, layer.mlp
    qk_norm = None
    if hasattr(attention, 'q_norm'):
        counts = [p.out_features // attention.head_dim
                  for p in (attention.q_proj, attention.k_proj)]
        norms = (attention.q_norm.weight, attention.k_norm.weight)
        qk_norm = torch.cat([weight.expand(count, -1)
                             for weight, count in zip(norms, counts, strict=True)])
    return _Layer(
        layer.input_layernorm.weight,
        _join_(attention.q_proj, attention.k_proj, attention.v_proj), qk_norm,
        _join_(attention.o_proj),
        layer.post_attention_layernorm.weight,
        _join_(block.gate_proj, block.up_proj), _join_(block.down_proj))


def _join_(*modules: nn.Linear) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Put the weights of modules below each other; those of the modules become views of it."""
    if len(modules) == 1:
        return modules[0].weight, modules[0].bias
    joint = []
    for name in ('weight', 'bias'):
        parts = [getattr(module, name) for module in modules]
        if parts[0] is None:
            joint.append(None)
            continue
        joint.append(torch.cat([part.detach() for part in parts]))
        rows = joint[-1].split([len(part) for part in parts])
        for part, view in zip(parts, rows, strict=True):
            part.data = view
    torch.cuda.empty_cache()  # or torch would keep what they had before, 3 GB of a 4B model
    return joint[0], joint[1]


def _causal(count: int, length: int, device: torch.device) -> torch.Tensor:
    """Return (T, L) bool: the last T of L tokens see themselves and what is before them."""
    return torch.ones(count, length, dtype=torch.bool, device=device).tril(length - count)
