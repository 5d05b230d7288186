# SPDX-License-Identifier: Apache-2.0
"""The vision-language model: image and instruction in, a stream of text and mask spans out."""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from samtok_ros.errors import CheckpointError, ConfigError, DeviceError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.language.checkpoint import load_model, load_processor
from samtok_ros.language.decoding import GreedyWriter
from samtok_ros.language.families import ImageInputs, PlacedImage, family_for
from samtok_ros.language.generation import (
    THINKING_TOKENS,
    GenerationEvent,
    GenerationLimits,
)
from samtok_ros.language.instructions import Instruction, Round, pictures_of, thinking
from samtok_ros.language.kept_texts import KeptTexts
from samtok_ros.language.prompt_ids import PromptBuilder
from samtok_ros.language.reading import KeptText, Reading
from samtok_ros.language.recorded_steps import RecordedSteps
from samtok_ros.language.text_layers import TextLayers, text_layers_for
from samtok_ros.language.text_stream import TextStream
from samtok_ros.recording import Recorder
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}
_END_OF_TURN = ('<|im_end|>', '<|eot_id|>')
_KEPT_TEXTS = 2


class VisionLanguageModel:
    """A SAMTok-equipped model of one of the families in families.py, on one device.

    For one thread. An answer may be left unfinished while another one is written; each has a cache
    of its own.

    Attributes:
        thinks: ask as models want it that were trained by reinforcement, such as
            Qwen2.5-VL-3B-SAMTok-gres-rl: they think before they answer, and are worse untold.
    """

    thinks = False

    def __init__(
        self,
        model: 'PreTrainedModel',
        processor: 'ProcessorMixin',
        device: str = 'cpu',
        vocabulary: MaskVocabulary | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: of transformers, in eval mode.
            processor: the one that belongs to it.
            device: a torch device.
            vocabulary: its mask words; the published 256 x 2 when left out.
            recorder: of the device, to record the step of a word with; none by default.
        Raises:
            CheckpointError: the mask words are not in the text tokenizer or in the model, or the
                chat template cannot be used.
            DeviceError: the device is not there or too small, or steps cannot be recorded.
        """
        self.vocabulary = vocabulary or MaskVocabulary()
        self.token_ids = MaskTokenIds.from_text_tokenizer(processor.tokenizer, self.vocabulary)
        rows = model.get_input_embeddings().num_embeddings
        if rows <= self.token_ids.end_id:
            raise CheckpointError('model has no embeddings for the mask words',
                                  expected=f'more than {self.token_ids.end_id} rows', got=rows,
                                  fix='use model and text tokenizer of the same checkpoint')
        self._processor = processor
        self._family = family_for(model, processor)
        self._prompts = PromptBuilder(processor, self.token_ids)
        self._added_words = frozenset(processor.tokenizer.get_added_vocab())
        self._kept = KeptTexts(_KEPT_TEXTS)
        self._stop_ids = _stop_ids(model, processor)
        self._repetition_penalty = model.generation_config.repetition_penalty or 1.0
        with _named_device_errors(device):
            self.device = torch.device(device)
            self._model = model.to(self.device)
            layers = text_layers_for(self._model)
        self._layers = layers if recorder is None else _recorded(layers, recorder)

    @classmethod
    def load(
        cls,
        model_dir: Path,
        device: str = 'cpu',
        dtype: str = 'float32',
        vocabulary: MaskVocabulary | None = None,
        recorder: Recorder | None = None,
    ) -> 'VisionLanguageModel':
        """Load from a model directory; nothing is downloaded.

        Args:
            model_dir: in the layout of the published checkpoints.
            device: a torch device.
            dtype: 'float32', 'bfloat16' or 'float16'.
            vocabulary: its mask words; the published 256 x 2 when left out.
            recorder: of the device, to record the step of a word with; none by default.
        Raises:
            ConfigError: unknown dtype.
            CheckpointError: names the file or tensor that is missing or wrong.
            DeviceError: the device is not there or too small, or steps cannot be recorded.
        """
        if dtype not in DTYPES:
            raise ConfigError('unknown dtype', expected=' or '.join(DTYPES), got=dtype)
        model_dir = Path(model_dir)
        return cls(load_model(model_dir, DTYPES[dtype]), load_processor(model_dir), device,
                   vocabulary, recorder)

    def generate(
        self,
        image_rgb: np.ndarray,
        instruction: str | Instruction,
        limits: GenerationLimits | None = None,
        should_stop: Callable[[], bool] | None = None,
        *,
        history: Sequence[Round] = (),
        image_key: Hashable | None = None,
    ) -> Iterator[GenerationEvent]:
        """Write an answer, greedily, with every mask span well formed.

        Args:
            image_rgb: (H, W, 3) uint8.
            instruction: text, taken literally, region references, and further pictures.
            limits: when to end at the latest; models that think get more room by default.
            should_stop: asked before every step of the model; True cancels the answer, and what is
                written so far stays.
            history: earlier rounds about the same image, oldest first.
            image_key: names the image, such as its stamp. What the model has read is kept under
                it, and the next answer with the same key reads only what is new behind the common
                start of the two texts. None: nothing is kept.
        Returns:
            Text pieces and closed spans as they come, then one Finished.
        Raises:
            ImageError: the image, or a further picture, cannot be used.
            ConfigError: a text is no valid text, or all of it is longer than the model can read.
            SpanError: codes of a region are not in the vocabulary.
            DeviceError: the device is out of memory, or computes what is no number.
        """
        limits = limits or GenerationLimits(
            THINKING_TOKENS if self.thinks else GenerationLimits.max_new_tokens)
        deadline_s = time.monotonic() + (limits.deadline_s or float('inf'))
        parts = self._told((instruction,) if isinstance(instruction, str) else instruction)
        history = [replace(one, instruction=self._told(one.instruction)) for one in history]
        check_rgb(image_rgb)
        further = [self._family.look(picture.image_rgb) for said in (
            *(one.instruction for one in history), parts) for picture in pictures_of(said)]
        seen = None if further else self._seen(image_rgb, image_key)
        image = seen or self._family.look(image_rgb)
        prompt_ids = self._prompts.build(parts, image.visual_tokens, history,
                                         [one.visual_tokens for one in further])
        self._check_length(prompt_ids, limits)
        stream = TextStream(self._processor.tokenizer, self._added_words)
        writer = GreedyWriter(SpanGrammar(self.token_ids), stream, self._stop_ids, limits,
                              self._repetition_penalty, prompt_ids)

        def interrupted() -> str | None:
            if should_stop is not None and should_stop():
                return 'cancelled'
            return 'length' if time.monotonic() >= deadline_s else None

        def begin(reading: Reading) -> torch.Tensor:
            if further:
                return self._read_pictures(reading, prompt_ids, [image, *further])
            return self._read_prompt(reading, prompt_ids, image, image_rgb, image_key)

        return self._write(begin, writer, interrupted, None if further else image_key)

    def _told(self, instruction: Instruction) -> Instruction:
        return thinking(instruction) if self.thinks else instruction

    @property
    def kept_bytes(self) -> int:
        """Memory of what is kept for follow-up questions, on the model's device."""
        return self._kept.nbytes

    def forget(self) -> None:
        """Drop what is kept for follow-up questions.

        An answer that is being written stays usable, and is kept when it ends.
        """
        self._kept.forget()

    def _write(
        self,
        begin: Callable[[Reading], torch.Tensor],
        writer: GreedyWriter,
        interrupted: Callable[[], str | None],
        image_key: Hashable | None,
    ) -> Iterator[GenerationEvent]:
        reading = Reading(self._model, self._family, self._prompts.image_at, self._layers)
        ids: list[int] = []
        started = False
        try:
            while (reason := writer.finish_reason or interrupted()) is None:
                # No inference scope may be open at a yield: it would reach into the caller's code.
                with torch.inference_mode(), _named_device_errors(self.device):
                    logits = reading.read(ids) if started else begin(reading)
                    ids, events = writer.write(logits)
                started = True
                yield from events
        except DeviceError:
            self.forget()  # it takes memory that the next try may need
            raise
        finally:
            if started:
                self._kept.keep(image_key, self._kept_of(reading))
        yield from writer.finish(reason)

    def _kept_of(self, reading: Reading) -> KeptText | None:
        """Return what was read; None where memory is too short, for the answer itself is there."""
        try:
            with torch.inference_mode(), _named_device_errors(self.device):
                return reading.kept
        except DeviceError:
            self.forget()
            return None

    def _read_prompt(
        self, reading: Reading, prompt_ids: list[int], image: ImageInputs,
        image_rgb: np.ndarray, image_key: Hashable | None,
    ) -> torch.Tensor:
        kept = self._kept.take(image_key)
        if image.tensors:
            return reading.read_prompt(prompt_ids, image)
        if not reading.reusable(prompt_ids, kept):
            # Another answer may have read on from it since, or it may have been dropped.
            return reading.read_prompt(prompt_ids, self._family.look(image_rgb))
        return reading.read_prompt(prompt_ids, image, kept)

    def _read_pictures(
        self, reading: Reading, prompt_ids: list[int], images: Sequence[ImageInputs],
    ) -> torch.Tensor:
        places = self._prompts.places_of(prompt_ids, [one.visual_tokens for one in images])
        placed = [PlacedImage(at, one) for at, one in zip(places, images, strict=True)]
        return reading.read_prompt(prompt_ids, images[0], further=placed[1:])

    def _seen(self, image_rgb: np.ndarray, image_key: Hashable | None) -> ImageInputs | None:
        """Return an image as it was read before under that key, without its tensors."""
        kept = self._kept.peek(image_key)
        # Another size is another image, whatever its key says.
        fits = kept is not None and kept.image.size_hw == image_rgb.shape[:2]
        return kept.image if fits else None

    def _check_length(self, prompt_ids: list[int], limits: GenerationLimits) -> None:
        room = self._model.config.text_config.max_position_embeddings - limits.max_new_tokens
        if len(prompt_ids) > room:
            raise ConfigError('instruction is longer than the model can read',
                              expected=f'at most {room} tokens with image, history and answer',
                              got=f'{len(prompt_ids)} tokens', fix='shorten the text')


def _recorded(layers: TextLayers | None, recorder: Recorder) -> RecordedSteps:
    if layers is None:
        raise DeviceError('CUDA graphs cannot be used with this model, whose layers are built '
                          'otherwise than is known here', fix='set model.cuda_graphs to false')
    return RecordedSteps(layers, recorder)


def _stop_ids(model: 'PreTrainedModel', processor: 'ProcessorMixin') -> frozenset[int]:
    """Return the tokens that end a turn: what the checkpoint names, and the chat marker."""
    named = model.generation_config.eos_token_id
    ids = [named] if isinstance(named, int) else list(named or ())
    text_tokenizer = processor.tokenizer
    added = text_tokenizer.get_added_vocab()
    ids += [text_tokenizer.eos_token_id, *(added.get(mark) for mark in _END_OF_TURN)]
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
