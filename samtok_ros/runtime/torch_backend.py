# SPDX-License-Identifier: Apache-2.0
"""The models of a model directory, run by torch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from samtok_ros.config import LimitSettings, ModelSettings
from samtok_ros.errors import DeviceError
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.instructions import goal_instruction
from samtok_ros.language.spoken_regions import spoken_answer
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.model_directory import model_name, resolve_model
from samtok_ros.regions import Answer
from samtok_ros.runtime.backend import UNFINISHED, AnswerUpdate, LoadedMaskModel
from samtok_ros.tokenizer.checkpoint import tokenizer_id
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
        model = VisionLanguageModel.load(
            model_dir, device, choose_dtype(self._settings.dtype, device),
            MaskVocabulary(sizes.codebook_size, sizes.codebook_depth))
        return TorchGroundingModel(model, model_name(model_dir), device,
                                   tokenizer_id(model_dir))

    def load_masks(self) -> LoadedMaskModel:
        """See Backend."""
        model_dir = resolve_model(self._settings.name)
        device = choose_device(self._settings.device)
        model = MaskTokenizer.load(model_dir, device, choose_dtype(self._settings.dtype, device))
        return LoadedMaskModel(model, model_name(model_dir), device,
                               model.config.codebook_size, model.config.codebook_depth)


class TorchGroundingModel:
    """A vision-language model behind the protocol of the nodes."""

    def __init__(
        self, model: VisionLanguageModel, name: str, device: str, tokenizer_id: str,
    ) -> None:
        self.name = name
        self.device = device
        self.tokenizer_id = tokenizer_id
        self._model = model

    def ground(
        self, image_rgb: np.ndarray, goal: str, limits: LimitSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[AnswerUpdate]:
        """See GroundingModel."""
        said, spans = '', []
        answer = Answer('', (), (), UNFINISHED)
        events = self._model.generate(
            image_rgb, goal_instruction(goal),
            GenerationLimits(limits.max_new_tokens, limits.max_masks, limits.deadline_s),
            should_stop)
        for event in events:
            if isinstance(event, Finished):
                answer = spoken_answer(event, spans, self._model.vocabulary, goal)
                yield AnswerUpdate(answer, complete=True, no_target=is_no_target(event.text))
            elif isinstance(event, SpanClosed):
                spans.append(event)
                answer = self._so_far(said, spans)
                yield AnswerUpdate(answer, complete=False)
            elif isinstance(event, TextPiece):
                said += event.text
                yield AnswerUpdate(answer, complete=False)

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
    if device == 'cuda' and not has_gpu:
        raise DeviceError('there is no GPU that torch can use', got='model.device: cuda',
                          fix='set model.device to auto or cpu')
    return ('cuda' if has_gpu else 'cpu') if device == 'auto' else device


def choose_dtype(dtype: str, device: str) -> str:
    """Return the number format that a setting means on a device."""
    if dtype != 'auto':
        return dtype
    return 'bfloat16' if device == 'cuda' else 'float32'
