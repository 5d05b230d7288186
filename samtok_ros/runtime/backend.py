# SPDX-License-Identifier: Apache-2.0
"""What the nodes need of a model, and which ones there are.

The real models and the fake one satisfy the same protocols, so everything around them is tested
with the fake one. Weights are loaded by the `load_` methods, nowhere else.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import Instruction, Round
from samtok_ros.model_directory import resolve_model
from samtok_ros.regions import Answer, BoxPrompt, PointPrompt
from samtok_ros.settings.shared import FakeSettings, ModelSettings
from samtok_ros.words.vocabulary import MaskVocabulary

UNFINISHED = 'unfinished'
"""Finish reason of an answer that is still being spoken."""


@dataclass(frozen=True)
class Question:
    """What the vision-language model is to answer about one image.

    Attributes:
        instruction: what it is told; text in it is taken literally.
        phrase: what is looked for, as it was typed: the label of regions to which the answer puts
            none. Empty for a free question.
        history: the rounds that went before, oldest first.
        image_key: names the image: what was read of it may be kept for the next question with an
            equal key. None: nothing is kept.
    """

    instruction: Instruction
    phrase: str = ''
    history: tuple[Round, ...] = ()
    image_key: Hashable | None = None


@dataclass(frozen=True)
class AnswerUpdate:
    """What the vision-language model has said so far.

    Attributes:
        answer: text and regions so far; its finish reason is UNFINISHED until it is complete.
        complete: True for the last update.
        no_target: the model says that nothing in the image fits the goal.
        token_count: tokens of the answer so far.
    """

    answer: Answer
    complete: bool
    no_target: bool = False
    token_count: int = 0


class GroundingModel(Protocol):
    """A vision-language model that answers in mask words."""

    name: str
    device: str
    tokenizer_id: str
    vocabulary: MaskVocabulary
    facts: Mapping[str, str]
    """More for diagnostics: 'precision', 'provider' (the one really used), and 'fallback' with a
    reason when that is not the one asked for."""

    def warm_up(self) -> None:
        """Run once on an empty image, so that the first answer is as fast as later ones."""

    def answer(
        self, image_rgb: np.ndarray, question: Question, limits: GenerationLimits,
        should_stop: Callable[[], bool],
    ) -> Iterator[AnswerUpdate]:
        """Speak: an update per token, of which the last one is complete.

        Answers may be nested: another one may be asked for and spoken between two updates of this
        one, and must not change it.

        Args:
            image_rgb: (H, W, 3) uint8.
            question: what to answer.
            limits: when to stop; what was said until then is kept.
            should_stop: asked before each token; True ends the answer as cancelled.
        Raises:
            SamtokError: the question cannot be answered, or the device is out of memory.
        """

    @property
    def kept_bytes(self) -> int:
        """Memory of what was read of images and is kept for further questions."""

    def forget(self) -> None:
        """Give back the memory of what was read of images; the next answer reads all of it."""


class Masks(Protocol):
    """Decoded masks, see tokenizer.mask_tokenizer.DecodedMasks."""

    masks: np.ndarray
    scores: np.ndarray


class MaskModel(Protocol):
    """A mask tokenizer, see tokenizer.mask_tokenizer.MaskTokenizer."""

    tokenizer_id: str

    def embed_image(self, image_rgb: np.ndarray) -> object:
        """Return the features of (H, W, 3) uint8."""

    def encode(self, features: object, masks: np.ndarray) -> np.ndarray:
        """Return (N, D) int64 codes of (N, H, W) bool masks."""

    def decode(self, features: object, codes: np.ndarray) -> Masks:
        """Return the masks and predicted IoUs of (N, D) codes, all in one batch."""

    def draw_prompts(self, features: object, prompts: Sequence[BoxPrompt | PointPrompt]) -> Masks:
        """Return masks and predicted IoUs of the things that boxes or points show."""


@dataclass(frozen=True)
class LoadedMaskModel:
    """A mask model with the facts that are reported about it.

    Attributes:
        model: the model.
        name: of its directory.
        device: where it runs.
        codebook_size: entries per level.
        codebook_depth: levels.
        facts: what diagnostics show of it besides.
        reads_prompts: whether it was trained to draw what boxes and points show.
    """

    model: MaskModel
    name: str
    device: str
    codebook_size: int
    codebook_depth: int
    facts: Mapping[str, str] = field(default_factory=dict)
    reads_prompts: bool = True

    def warm_up(self) -> None:
        """Run once on an empty image, so that the first mask is as fast as later ones."""
        features = self.model.embed_image(np.full((480, 640, 3), 128, np.uint8))
        self.model.decode(features, np.zeros((1, self.codebook_depth), np.int64))


class Backend(Protocol):
    """Loads models; each call takes as long as loading takes."""

    def load_grounding(self) -> GroundingModel:
        """Load the vision-language model.

        Raises:
            SamtokError: it is not there, is damaged, or the device cannot be used.
        """

    def load_masks(self, video_memory: bool = False) -> LoadedMaskModel:
        """Load the mask tokenizer.

        Args:
            video_memory: with SAM2's memory, to follow things by it.
        Raises:
            ConfigError: the memory is wanted and the model or the backend has none.
            SamtokError: it is not there, is damaged, or the device cannot be used.
        """


def no_video_memory(name: str) -> ConfigError:
    """Return the error for a model that is to follow things by a memory that it does not have."""
    return ConfigError(f'track.policy memory cannot be used: {name} has no video memory of SAM 2',
                       expected='track.policy none, hold, redecode or reencode', got='memory',
                       fix='choose one of these, or a published model with backend torch')


def make_backend(model: ModelSettings, fake: FakeSettings) -> Backend:
    """Return the backend that the settings ask for; loads nothing yet.

    Raises:
        CheckpointError: there is no such model.
    """
    # Imported here so that a process imports torch when it loads a model, and not before.
    if model.backend == 'fake':
        from samtok_ros.runtime.fake_backend import FakeBackend
        return FakeBackend(fake)
    # A wrong name is told at once, not after half a minute of imports.
    resolve_model(model.name)
    if model.backend == 'onnx':
        from samtok_ros.runtime.onnx_backend import OnnxBackend
        return OnnxBackend(model)
    from samtok_ros.runtime.torch_backend import TorchBackend
    return TorchBackend(model)
