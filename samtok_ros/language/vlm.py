# SPDX-License-Identifier: Apache-2.0
"""The vision-language model: image and instruction in, a stream of text and mask spans out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtok_ros.errors import CheckpointError, ConfigError, DeviceError, ImageError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.language.checkpoint import load_model, load_processor
from samtok_ros.language.decoding import GreedyWriter
from samtok_ros.language.generation import GenerationEvent, GenerationLimits
from samtok_ros.language.instructions import Instruction
from samtok_ros.language.prompt_ids import PromptBuilder
from samtok_ros.language.text_stream import TextStream
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
_END_OF_TURN = '<|im_end|>'


class VisionLanguageModel:
    """A SAMTok-equipped Qwen-VL model on one device.

    One answer at a time per object; a cancelled or abandoned answer leaves nothing behind.
    """

    def __init__(
        self,
        model: 'PreTrainedModel',
        processor: 'ProcessorMixin',
        device: str = 'cpu',
        vocabulary: MaskVocabulary | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: of transformers, in eval mode.
            processor: the one that belongs to it.
            device: a torch device.
            vocabulary: its mask words; the published 256 x 2 when left out.
        Raises:
            CheckpointError: the mask words are not in the text tokenizer or in the model, or the
                chat template cannot be used.
            DeviceError: the device is not there or too small.
        """
        self.vocabulary = vocabulary or MaskVocabulary()
        self.token_ids = MaskTokenIds.from_text_tokenizer(processor.tokenizer, self.vocabulary)
        rows = model.get_input_embeddings().num_embeddings
        if rows <= self.token_ids.end_id:
            raise CheckpointError('model has no embeddings for the mask words',
                                  expected=f'more than {self.token_ids.end_id} rows', got=rows,
                                  fix='use model and text tokenizer of the same checkpoint')
        self._processor = processor
        self._prompts = PromptBuilder(processor, self.token_ids)
        self._stop_ids = _stop_ids(model, processor)
        with _named_device_errors(device):
            self.device = torch.device(device)
            self._model = model.to(self.device)

    @classmethod
    def load(
        cls,
        model_dir: Path,
        device: str = 'cpu',
        dtype: str = 'float32',
        vocabulary: MaskVocabulary | None = None,
    ) -> 'VisionLanguageModel':
        """Load from a model directory; nothing is downloaded.

        Args:
            model_dir: in the layout of the published checkpoints.
            device: a torch device.
            dtype: 'float32' or 'bfloat16'.
            vocabulary: its mask words; the published 256 x 2 when left out.
        Raises:
            ConfigError: unknown dtype.
            CheckpointError: names the file or tensor that is missing or wrong.
            DeviceError: the device is not there or too small.
        """
        if dtype not in DTYPES:
            raise ConfigError('unknown dtype', expected=' or '.join(DTYPES), got=dtype)
        model_dir = Path(model_dir)
        return cls(load_model(model_dir, DTYPES[dtype]), load_processor(model_dir), device,
                   vocabulary)

    def generate(
        self,
        image_rgb: np.ndarray,
        instruction: str | Instruction,
        limits: GenerationLimits | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[GenerationEvent]:
        """Write an answer, greedily, with every mask span well formed.

        Args:
            image_rgb: (H, W, 3) uint8.
            instruction: text, taken literally, and region references.
            limits: when to end at the latest.
            should_stop: asked before every step of the model; True cancels the answer, and what is
                written so far stays.
        Returns:
            Text pieces and closed spans as they come, then one Finished.
        Raises:
            ImageError: the image cannot be used.
            ConfigError: the instruction is no valid text, or longer than the model can read.
            SpanError: codes of a region are not in the vocabulary.
            DeviceError: the device is out of memory.
        """
        limits = limits or GenerationLimits()
        deadline_s = time.monotonic() + (limits.deadline_s or float('inf'))
        parts = (instruction,) if isinstance(instruction, str) else instruction
        inputs = self._inputs(image_rgb, parts, limits)
        writer = GreedyWriter(SpanGrammar(self.token_ids), TextStream(self._processor.tokenizer),
                              self._stop_ids, limits)

        def interrupted() -> str | None:
            if should_stop is not None and should_stop():
                return 'cancelled'
            return 'length' if time.monotonic() >= deadline_s else None

        return self._write(inputs, writer, interrupted)

    def _write(
        self,
        inputs: dict[str, torch.Tensor],
        writer: GreedyWriter,
        interrupted: Callable[[], str | None],
    ) -> Iterator[GenerationEvent]:
        reading = _Reading(self._model)
        ids: list[int] = []
        while (reason := writer.finish_reason or interrupted()) is None:
            # No inference scope may be open at a yield: it would reach into the caller's code.
            with torch.inference_mode(), _named_device_errors(self.device):
                logits = reading.read(ids) if ids else reading.read_prompt(inputs)
                ids, events = writer.write(logits)
            yield from events
        yield from writer.finish(reason)

    def _inputs(
        self, image_rgb: np.ndarray, instruction: Instruction, limits: GenerationLimits
    ) -> dict[str, torch.Tensor]:
        """Turn image and instruction into what the model's forward takes."""
        pixels = self._pixels(image_rgb)
        merged = self._model.config.vision_config.spatial_merge_size**2
        visual_tokens = int(pixels['image_grid_thw'].prod()) // merged
        ids = self._prompts.build(instruction, visual_tokens)
        room = self._model.config.text_config.max_position_embeddings - limits.max_new_tokens
        if len(ids) > room:
            raise ConfigError('instruction is longer than the model can read',
                              expected=f'at most {room} tokens with image and answer',
                              got=f'{len(ids)} tokens', fix='shorten the text')
        input_ids = torch.tensor([ids])
        image_at = (input_ids == self._processor.image_token_id).int()
        inputs = {'input_ids': input_ids, 'mm_token_type_ids': image_at, **pixels}
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    def _pixels(self, image_rgb: np.ndarray) -> dict[str, torch.Tensor]:
        check_rgb(image_rgb)
        # Channels first: the processor guesses the layout, and would guess wrong for a width of 3.
        pixels = torch.tensor(np.ascontiguousarray(image_rgb)).permute(2, 0, 1)
        try:
            found = self._processor.image_processor(
                images=[pixels], input_data_format='channels_first', return_tensors='pt')
        except ValueError as error:  # the only check it has: aspect ratio
            raise ImageError('image cannot be resized for the model',
                             got='{} x {}'.format(*image_rgb.shape[:2]),
                             fix=f'crop it: {error}') from error
        return {name: found[name] for name in ('pixel_values', 'image_grid_thw')}


class _Reading:
    """A model part of the way through one text: its cache and its position in it."""

    def __init__(self, model: 'PreTrainedModel') -> None:
        self._model = model
        self._cache = None
        self._next_position = 0

    def read_prompt(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Read image and instruction; return (V,) logits of the first token of the answer."""
        # Positions are worked out here, as the model would keep them from one answer to the next.
        position_ids, _ = self._model.model.get_rope_index(
            inputs['input_ids'], mm_token_type_ids=inputs['mm_token_type_ids'],
            image_grid_thw=inputs['image_grid_thw'])
        self._next_position = int(position_ids.max()) + 1
        return self._forward(position_ids, inputs)

    def read(self, token_ids: list[int]) -> torch.Tensor:
        """Read what was written last; return (V,) logits of the next token."""
        count, device = len(token_ids), self._model.device
        positions = torch.arange(count, device=device) + self._next_position
        self._next_position += count
        return self._forward(positions.expand(3, 1, count),
                             {'input_ids': torch.tensor([token_ids], device=device)})

    def _forward(
        self, position_ids: torch.Tensor, inputs: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        output = self._model(**inputs, position_ids=position_ids, past_key_values=self._cache,
                             use_cache=True, logits_to_keep=1)
        self._cache = output.past_key_values
        return output.logits[0, -1]


def _stop_ids(model: 'PreTrainedModel', processor: 'ProcessorMixin') -> frozenset[int]:
    """Return the tokens that end a turn: what the checkpoint names, and the chat marker."""
    named = model.generation_config.eos_token_id
    ids = [named] if isinstance(named, int) else list(named or ())
    text_tokenizer = processor.tokenizer
    ids += [text_tokenizer.eos_token_id, text_tokenizer.get_added_vocab().get(_END_OF_TURN)]
    return frozenset(i for i in ids if i is not None)


@contextmanager
def _named_device_errors(device: torch.device | str) -> Iterator[None]:
    """Tell a missing or exhausted device from our own mistakes.

    Raises:
        DeviceError: the device is not there, or out of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(f'device {device} is out of memory',
                          fix='use a smaller model, dtype bfloat16 or another device') from error
    except (RuntimeError, AssertionError) as error:
        if isinstance(device, str):  # while moving the model there
            raise DeviceError(f'device {device} cannot be used', got=str(error).splitlines()[0],
                              fix='set the device to cpu') from error
        raise
