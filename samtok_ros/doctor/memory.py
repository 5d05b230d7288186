# SPDX-License-Identifier: Apache-2.0
"""How much memory a model takes while it runs, against how much there is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samtok_ros.doctor.facts import Facts
from samtok_ros.doctor.findings import Finding
from samtok_ros.doctor.model_files import TEXT_SIZES, ModelFiles
from samtok_ros.hub.amounts import amount
from samtok_ros.settings.grounding import LimitSettings
from samtok_ros.settings.shared import CacheSettings

_BYTES = {'float32': 4, 'bfloat16': 2}
# Tokens of a 1280x720 image and of a long question, beside the answer.
_PROMPT_TOKENS = 1200
# In maps of the size of the trunk's first stage: encoding an image takes 9 of them at once, drawing
# 20 masks 17 (measured at the published size).
_STAGE_MAPS = 20
# Interpreter, torch and transformers, before any weights (measured).
_LIBRARIES_BYTES = 800_000_000


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes by what they are for.

    Attributes:
        weights: of the vision-language model, in the number format it runs in.
        mask_tokenizer: its weights, which stay float32.
        features: frames and their features, at the default of the node's cache.
        text_cache: keys and values of the longest default answer about a large image.
        working: what one image takes on its way through the encoder.
        libraries: the interpreter with its libraries.
    """

    weights: int
    mask_tokenizer: int
    features: int
    text_cache: int
    working: int
    libraries: int

    @property
    def total(self) -> int:
        """All together."""
        return (self.weights + self.mask_tokenizer + self.features + self.text_cache
                + self.working + self.libraries)


def memory_need(model: ModelFiles, dtype: str) -> MemoryNeed:
    """Estimate what a model takes.

    Args:
        model: what its files tell.
        dtype: 'float32' or 'bfloat16'.
    """
    elements = sum(header.elements for header in model.headers.values())
    sizes = model.mask_tokenizer
    stage_map = (sizes.image_size // 4) ** 2 * sizes.trunk_embed_dim * 4
    tokens = _PROMPT_TOKENS + LimitSettings().max_new_tokens
    return MemoryNeed(
        weights=elements * _BYTES[dtype], mask_tokenizer=model.mask_tokenizer_elements * 4,
        features=CacheSettings().megabytes * 1_000_000,
        text_cache=tokens * _text_cache_bytes(model.config) * _BYTES[dtype],
        working=_STAGE_MAPS * stage_map, libraries=_LIBRARIES_BYTES)


def memory_finding(model: ModelFiles, facts: Facts) -> Finding:
    """Compare with the device that would be chosen."""
    dtype = 'bfloat16' if facts.device == 'cuda' else 'float32'
    need = memory_need(model, dtype)
    there = _there(facts)
    text = (f'on {facts.device} in {dtype} about {amount(need.total)}: weights '
            f'{amount(need.weights)}, mask tokenizer {amount(need.mask_tokenizer)}, '
            f'features {amount(need.features)}, text {amount(need.text_cache)}, working '
            f'{amount(need.working)}, libraries {amount(need.libraries)}')
    if not there:
        return Finding('memory needed', 'note', f'{text}; what is there cannot be read')
    if need.total <= there:
        return Finding('memory needed', 'ok', f'{text}; {amount(there)} are free')
    small = memory_need(model, 'bfloat16').total
    fix = ('set model.dtype to bfloat16' if dtype == 'float32' and small <= there else
           'end other programs, or use a smaller model or another machine')
    return Finding('memory needed', 'problem', f'{text}; only {amount(there)} are free', fix)


def _there(facts: Facts) -> int:
    devices = facts.probed['torch'].facts.get('devices')
    return devices[0]['free_bytes'] if devices else facts.free_memory_bytes


def _text_cache_bytes(config: Mapping[str, Any]) -> int:
    """Return how many values one token leaves in the cache of the language model."""
    text = config.get('text_config') or config
    layers, heads, cached_heads, width, head_dim = (text.get(name) or 0 for name in TEXT_SIZES)
    head_dim = head_dim or (width // heads if heads else 0)
    return 2 * layers * (cached_heads or heads) * head_dim
