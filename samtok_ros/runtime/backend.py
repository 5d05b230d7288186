# SPDX-License-Identifier: Apache-2.0
"""What the nodes need of a model, and which ones there are.

The real models and the fake one satisfy the same protocols, so everything around them is tested
with the fake one. Weights are loaded by the `load_` methods, nowhere else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from samtok_ros.config import FakeSettings, LimitSettings, ModelSettings
from samtok_ros.model_directory import resolve_model
from samtok_ros.regions import Answer

UNFINISHED = 'unfinished'
"""Finish reason of an answer that is still being spoken."""


@dataclass(frozen=True)
class AnswerUpdate:
    """What the vision-language model has said so far.

    Attributes:
        answer: text and regions so far; its finish reason is UNFINISHED until it is complete.
        complete: True for the last update.
        no_target: the model says that nothing in the image fits the goal.
    """

    answer: Answer
    complete: bool
    no_target: bool = False


class GroundingModel(Protocol):
    """A vision-language model that answers in mask words."""

    name: str
    device: str
    tokenizer_id: str

    def ground(
        self, image_rgb: np.ndarray, goal: str, limits: LimitSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[AnswerUpdate]:
        """Speak: an update per token, of which the last one is complete.

        Args:
            image_rgb: (H, W, 3) uint8.
            goal: plain words; markers in them are ordinary text.
            limits: when to stop; what was said until then is kept.
            should_stop: asked between tokens; True ends the answer as cancelled.
        """


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


@dataclass(frozen=True)
class LoadedMaskModel:
    """A mask model with the facts that are reported about it."""

    model: MaskModel
    name: str
    device: str
    codebook_size: int
    codebook_depth: int


class Backend(Protocol):
    """Loads models; each call takes as long as loading takes."""

    def load_grounding(self) -> GroundingModel:
        """Load the vision-language model.

        Raises:
            SamtokError: it is not there, is damaged, or the device cannot be used.
        """

    def load_masks(self) -> LoadedMaskModel:
        """Load the mask tokenizer.

        Raises:
            SamtokError: it is not there, is damaged, or the device cannot be used.
        """


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
    from samtok_ros.runtime.torch_backend import TorchBackend
    return TorchBackend(model)
