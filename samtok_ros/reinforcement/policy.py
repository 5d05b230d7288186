# SPDX-License-Identifier: Apache-2.0
"""The language model as GRPO trains it: it answers in the span grammar, and reads a picture once.

`trl` drives the Qwen3-VL classes of transformers as they are. Two things are added here. Answers
are drawn under the span grammar, as they are in use. And what the rows of a batch share is worked
out once: a picture stands there once for each of its drawn answers, and most of a short prompt is
the picture. `test/test_policy.py` holds both to the numbers of transformers.
"""

from collections.abc import Hashable, Sequence
from dataclasses import replace

import torch
from transformers import LogitsProcessorList, Qwen3VLForConditionalGeneration, Qwen3VLModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from samtok_ros.language.positions import position_ids_for
from samtok_ros.training.fast_forward import TextGroup, text_hidden_states
from samtok_ros.words.logits_processor import GrammarLogitsProcessor
from samtok_ros.words.span_grammar import SpanGrammar


class _SharingModel(Qwen3VLModel):
    """Qwen3-VL that works out once what rows of a batch share.

    Every row has one picture, all of one size and all behind the same text. Made for vision towers
    without deepstack layers.
    """

    def get_image_features(self, pixel_values, image_grid_thw=None, **kwargs):
        """See Qwen3VLModel; equal pictures get the same features."""
        first, places = _different_pictures(pixel_values, image_grid_thw)
        pictures = pixel_values.unflatten(0, (len(image_grid_thw), -1))
        output = super().get_image_features(pictures[first].flatten(0, 1), image_grid_thw[first],
                                            **kwargs)
        output.pooler_output = tuple(output.pooler_output[place] for place in places)
        return output

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        """See Qwen3VLModel; a whole text is read behind the picture that it shares with others."""
        if kwargs.get('use_cache') is False and kwargs.get('pixel_values') is not None:
            return BaseModelOutputWithPast(self._read_behind_pictures(
                input_ids, attention_mask, kwargs['pixel_values'], kwargs['image_grid_thw']))
        if kwargs.get('mm_encoder_outputs'):  # the first step of `generate`
            return self._read_prompts(input_ids, attention_mask, kwargs)
        return super().forward(input_ids, attention_mask, **kwargs)

    def _read_prompts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None,
                      arguments: dict) -> BaseModelOutputWithPast:
        """Read the different rows, then give each row its copy of the keys and values."""
        seen = arguments['mm_encoder_outputs']['image']
        first, places = _different([(tuple(row), picture.data_ptr()) for row, picture in zip(
            input_ids.tolist(), seen.pooler_output, strict=True)])
        pictures = replace(seen, pooler_output=tuple(seen.pooler_output[n] for n in first))
        if attention_mask is not None:  # there is none where nothing is padded
            attention_mask = attention_mask[first]
        output = super().forward(input_ids[first], attention_mask, **{
            **arguments, 'position_ids': arguments['position_ids'][:, first],
            'mm_token_type_ids': arguments['mm_token_type_ids'][first],
            'mm_encoder_outputs': {'image': pictures}})
        output.past_key_values.batch_select_indices(torch.tensor(places, device=input_ids.device))
        output.last_hidden_state = output.last_hidden_state[places]
        return output

    def _read_behind_pictures(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, pixel_values: torch.Tensor,
        grids: torch.Tensor,
    ) -> torch.Tensor:
        """Return (N, T, C) hidden states of what stands behind the picture, zeros elsewhere.

        Args:
            input_ids: (N, T) int64.
            attention_mask: (N, T), 0 for padding on either side.
            pixel_values: (N * P, K) patches.
            grids: (N, 3) patches in time, down and across.
        """
        first, places = _different_pictures(pixel_values, grids)
        prefix, positions = self._read_prefixes(input_ids, attention_mask, pixel_values, grids,
                                                first)
        length = prefix.shape[1]
        starts = (attention_mask.argmax(1) + length).tolist()
        ends = (attention_mask.shape[1] - attention_mask.flip(1).argmax(1)).tolist()
        seats = [places[:row].count(place) for row, place in enumerate(places)]
        longest = max(end - start for start, end in zip(starts, ends, strict=True))
        shape = (len(first), max(seats) + 1, longest)
        texts = input_ids.new_zeros(shape)
        there, here = [], []
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            place = (places[row] * shape[1] + seats[row]) * longest
            texts[places[row], seats[row], :end - start] = input_ids[row, start:end]
            there += range(place, place + end - start)
            here += range(row * input_ids.shape[1] + start, row * input_ids.shape[1] + end)
        hidden = text_hidden_states(self.language_model, prefix, positions,
                                    [TextGroup(texts)]).hidden[0]
        blank = hidden.new_zeros(input_ids.numel(), hidden.shape[-1])
        moved = blank.index_copy(0, torch.tensor(here, device=hidden.device),
                                 hidden.flatten(0, 2)[there])
        return moved.view(*input_ids.shape, -1)

    def _read_prefixes(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, pixel_values: torch.Tensor,
        grids: torch.Tensor, first: Sequence[int],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embed each picture with the text in front of it and the word that ends it.

        Returns:
            (B, L, C) embeddings and (3, L) positions.
        """
        features = self.get_image_features(
            pixel_values.unflatten(0, (len(grids), -1))[first].flatten(0, 1),
            grids[first]).pooler_output
        row = input_ids[0][attention_mask[0].bool()]
        at = int((row == self.config.image_token_id).int().argmax())
        words = self.get_input_embeddings()(row[:at + len(features[0]) + 1])
        before, behind = words[:at], words[at + len(features[0]):]
        prefix = torch.stack([torch.cat([before, picture, behind]) for picture in features])
        merge = self.config.vision_config.spatial_merge_size
        _, height, width = (grids[0] // merge).tolist()
        return prefix, position_ids_for(at, (height, width), [len(behind)]).to(prefix.device)


class Policy(Qwen3VLForConditionalGeneration):
    """Qwen3-VL that draws well-formed answers.

    Attributes:
        grammar: what may follow what in an answer; set after loading.
    """

    grammar: SpanGrammar

    def __init__(self, config) -> None:
        """Build the model with random weights."""
        super().__init__(config)
        self.model = _SharingModel(config)
        self.post_init()

    def generate(self, *args, **kwargs):
        """See transformers; every mask span of the result is well formed."""
        processors = LogitsProcessorList([GrammarLogitsProcessor(self.grammar)])
        return super().generate(*args, logits_processor=processors, **kwargs)


def _different_pictures(pixel_values: torch.Tensor, grids: torch.Tensor,
                        ) -> tuple[list[int], list[int]]:
    pictures = pixel_values.unflatten(0, (len(grids), -1))
    return _different([picture.numpy(force=True).tobytes() for picture in pictures])


def _different(items: Sequence[Hashable]) -> tuple[list[int], list[int]]:
    """Return the places of the different items, and for each item the number of its like there."""
    numbers: dict[Hashable, int] = {}
    first: list[int] = []
    for place, item in enumerate(items):
        if item not in numbers:
            numbers[item] = len(first)
            first.append(place)
    return first, [numbers[item] for item in items]
