# SPDX-License-Identifier: Apache-2.0
"""A model part of the way through one text: what it has read, and what comes next.

The one place that runs the model and owns a key-value cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from samtok_ros.language.families import Family, ImageInputs, PlacedImage
from samtok_ros.language.recorded_steps import RecordedSteps
from samtok_ros.language.text_layers import TextLayers

if TYPE_CHECKING:
    from transformers import Cache, PreTrainedModel
    from transformers.utils import ModelOutput


@dataclass(frozen=True, eq=False)
class KeptText:
    """What a model has read: tokens, and their keys and values.

    Attributes:
        token_ids: all tokens in the cache, in order.
        image: what stands in them, without its tensors.
        cache: keys and values, one column per token.
    """

    token_ids: tuple[int, ...]
    image: ImageInputs
    cache: 'Cache'

    @property
    def nbytes(self) -> int:
        """Memory of the keys and values."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.cache.layers)


class Reading:
    """Reads a prompt, then what is written, and gives the scores of the next token.

    Args:
        model: of transformers, in eval mode.
        family: the way to feed it.
        image_at: tokens in front of the image in every prompt.
        layers: reads text behind the image with less effort; None: the model does that too.
    """

    def __init__(
        self, model: 'PreTrainedModel', family: Family, image_at: int,
        layers: TextLayers | RecordedSteps | None = None,
    ) -> None:
        self._model = model
        self._family = family
        self._image_at = image_at
        self._layers = layers
        self._cache: Cache | None = None
        self._image: ImageInputs | None = None
        self._has_further = False
        self._token_ids: list[int] = []
        self._next_position = 0

    @property
    def kept(self) -> KeptText | None:
        """What was read so far; None where it may not be used again.

        So it is at the start, for caches that forget, with several images, whose tokens do not tell
        them apart, and after a failed step, which leaves some layers longer than others.
        """
        if self._cache is None or self._has_further or any(self._cache.is_sliding):
            return None
        if self._layers is not None:
            self._layers.settle(self._cache)
        return KeptText(tuple(self._token_ids), replace(self._image, tensors={}), self._cache)

    def reusable(self, prompt_ids: list[int], kept: KeptText | None) -> int:
        """Count the tokens at the start of a prompt that need not be read again.

        The last one is always read, as its scores are wanted. Half an image is of no use.
        """
        if kept is None:
            return 0
        same = _common_length(prompt_ids[:-1], kept.token_ids)
        return same if same >= self._image_at + kept.image.visual_tokens else 0

    def read_prompt(
        self, prompt_ids: list[int], image: ImageInputs, kept: KeptText | None = None,
        further: Sequence[PlacedImage] = (),
    ) -> torch.Tensor:
        """Read image and instruction; return (V,) logits of the first token of the answer.

        Args:
            prompt_ids: the whole prompt.
            image: with its tensors, unless `kept` is given.
            kept: what was read about the same image before; it is changed, so use it only here.
                `reusable` says how much of it counts, which must not be 0.
            further: images behind the first one; such a text is read whole and never kept, as its
                tokens do not tell which images they stand for.
        """
        images = [PlacedImage(self._image_at, image), *further]
        positions = self._family.positions(images, len(prompt_ids))
        self._image = image
        self._has_further = bool(further)
        self._next_position = int(positions.max()) + 1
        if kept is None:
            return self._read_images(prompt_ids, images, positions)
        same = self.reusable(prompt_ids, kept)
        if len(kept.token_ids) > same:
            kept.cache.crop(same - len(kept.token_ids))  # negative: how many to remove
        self._cache, self._token_ids = kept.cache, list(kept.token_ids[:same])
        self._next_position -= len(prompt_ids) - same  # behind the image, one per token
        return self.read(prompt_ids[same:])

    def read(self, token_ids: list[int]) -> torch.Tensor:
        """Read what was written last; return (V,) logits of the next token."""
        cache, self._cache = self._cache, None
        if self._layers is not None:
            hidden = self._layers.read(token_ids, self._next_position, cache)
            logits = self._model.lm_head(hidden)
        else:
            places = torch.arange(len(token_ids)) + self._next_position
            logits = self._forward(token_ids, cache, {
                'position_ids': places.expand(*self._family.position_shape, -1)}).logits
        self._next_position += len(token_ids)
        self._token_ids += token_ids
        self._cache = cache
        return logits[0, -1]

    def _read_images(
        self, prompt_ids: list[int], images: Sequence[PlacedImage], positions: torch.Tensor,
    ) -> torch.Tensor:
        output = self._forward(prompt_ids, None, {
            'position_ids': positions, **self._family.tensors(images),
            **self._family.image_arguments(torch.tensor([prompt_ids]))})
        self._token_ids = list(prompt_ids)
        self._cache = output.past_key_values
        return output.logits[0, -1]

    def _forward(
        self, token_ids: list[int], cache: 'Cache | None', arguments: dict[str, torch.Tensor]
    ) -> 'ModelOutput':
        device = self._model.device
        there = {name: tensor.to(device) for name, tensor in arguments.items()}
        # Not every vision tower, in every version, turns pixels into its own number format.
        there.update((name, tensor.to(self._model.dtype)) for name, tensor in there.items()
                     if tensor.is_floating_point())
        return self._model(
            input_ids=torch.tensor([token_ids], device=device), past_key_values=cache,
            use_cache=True, logits_to_keep=1, **there)


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Count equal tokens from the start."""
    pairs = zip(first, second, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b),
                min(len(first), len(second)))
