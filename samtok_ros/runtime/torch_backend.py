# SPDX-License-Identifier: Apache-2.0
"""The models of a model directory, run by torch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch

from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed
from samtok_ros.language.spoken_regions import spoken_answer
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.model_directory import model_name, resolve_model
from samtok_ros.recording import Recorder, cuda_recorder
from samtok_ros.regions import Answer
from samtok_ros.runtime.backend import (
    UNFINISHED,
    AnswerUpdate,
    LoadedMaskModel,
    Question,
    no_video_memory,
)
from samtok_ros.settings.shared import ModelSettings
from samtok_ros.tokenizer.checkpoint import has_video_memory, tokenizer_id
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.words.answers import is_no_target
from samtok_ros.words.vocabulary import MaskVocabulary


class TorchBackend:
    """Loads the language model and the mask tokenizer of one model directory."""

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings

    def load_grounding(self) -> 'TorchGroundingModel':
        """See Backend. Of the mask tokenizer only its identity is read."""
        model_dir = resolve_model(self._settings.name)
        sizes = MaskTokenizerConfig.load(model_dir)
        device = choose_device(self._settings.device)
        dtype = choose_dtype(self._settings.dtype, device)
        model = VisionLanguageModel.load(
            model_dir, device, dtype, MaskVocabulary(sizes.codebook_size, sizes.codebook_depth),
            self._recorder(device))
        model.thinks = self._settings.thinks
        return TorchGroundingModel(model, model_name(model_dir), device, tokenizer_id(model_dir),
                                   self._facts(device, dtype))

    def load_masks(self, video_memory: bool = False) -> LoadedMaskModel:
        """See Backend."""
        model_dir = resolve_model(self._settings.name)
        if video_memory and not has_video_memory(model_dir):
            raise no_video_memory(model_name(model_dir))
        device = choose_device(self._settings.device)
        dtype = choose_dtype(self._settings.dtype, device)
        model = MaskTokenizer.load(model_dir, device, dtype, video_memory, self._recorder(device))
        return LoadedMaskModel(model, model_name(model_dir), device, model.config.codebook_size,
                               model.config.codebook_depth, self._facts(device, dtype),
                               model.config.reads_prompts)

    def _recorder(self, device: str) -> Recorder | None:
        return cuda_recorder(torch.device(device)) if self._settings.cuda_graphs else None

    def _facts(self, device: str, dtype: str) -> dict[str, str]:
        graphs = ' with CUDA graphs' if self._settings.cuda_graphs else ''
        return {'precision': dtype, 'provider': f'torch on {device}{graphs}'}


class TorchGroundingModel:
    """A vision-language model behind the protocol of the nodes."""

    def __init__(
        self, model: VisionLanguageModel, name: str, device: str, tokenizer_id: str,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.device = device
        self.tokenizer_id = tokenizer_id
        self.vocabulary = model.vocabulary
        self.facts = dict(facts or {})
        self._model = model

    def warm_up(self) -> None:
        """See GroundingModel."""
        image_rgb = np.full((480, 640, 3), 128, np.uint8)
        for _ in self._model.generate(image_rgb, 'warm up', GenerationLimits(max_new_tokens=2)):
            pass

    def answer(
        self, image_rgb: np.ndarray, question: Question, limits: GenerationLimits,
        should_stop: Callable[[], bool],
    ) -> Iterator[AnswerUpdate]:
        """See GroundingModel."""
        steps = 0

        def counted_stop() -> bool:
            nonlocal steps
            steps += 1
            return should_stop()

        said, spans = '', []
        answer = Answer('', (), (), UNFINISHED)
        for event in self._model.generate(
                image_rgb, question.instruction, limits, counted_stop, history=question.history,
                image_key=question.image_key):
            if isinstance(event, Finished):
                answer = spoken_answer(event, spans, self.vocabulary, question.phrase)
                yield AnswerUpdate(answer, True, is_no_target(event.text), event.token_count)
                return
            if isinstance(event, SpanClosed):
                spans.append(event)
                answer = self._so_far(said, spans)
            else:
                said += event.text
                answer = replace(answer, text=said)
            # A step writes one token; the end of a span comes along with its last word.
            yield AnswerUpdate(answer, complete=False, token_count=steps + len(spans))

    @property
    def kept_bytes(self) -> int:
        """See GroundingModel."""
        return self._model.kept_bytes

    def forget(self) -> None:
        """See GroundingModel."""
        self._model.forget()

    def _so_far(self, said: str, spans: list[SpanClosed]) -> Answer:
        """Read an answer whose last span has all its codes, but perhaps not its end word yet."""
        end_word = self._model.vocabulary.end_word
        text = said if said.endswith(end_word) else said + end_word
        return spoken_answer(Finished(text, UNFINISHED, 0), spans, self._model.vocabulary)


def choose_device(device: str) -> str:
    """Return the torch device that a setting means.

    Raises:
        DeviceError: a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if device.startswith('cuda') and not has_gpu:
        raise DeviceError('there is no GPU that torch can use', got=f'device {device}',
                          fix='set model.device (--device) to auto or cpu')
    return ('cuda' if has_gpu else 'cpu') if device == 'auto' else device


def choose_dtype(dtype: str, device: str) -> str:
    """Return the number format that a setting means on a device.

    Raises:
        ConfigError: the device is not made for it.
    """
    if dtype == 'float16' and not device.startswith('cuda'):
        raise ConfigError('float16 needs a GPU', expected='auto, float32 or bfloat16',
                          got=f'float16 on {device}')
    if dtype != 'auto':
        return dtype
    return 'bfloat16' if device.startswith('cuda') else 'float32'
