# SPDX-License-Identifier: Apache-2.0
"""Image and instruction -> answer text and regions: where language and mask tokenizer meet.

    pipeline = Pipeline.load('tabletop')
    answer = pipeline.ground(image_rgb, 'the red mug left of the bowl')
    for region in answer.regions:
        print(region.label, region.codes, region.score, region.mask.sum())
    answer = pipeline.ask(image_rgb, 'What colour is <region:1>?', answer.regions)

What the models have read of an image is kept: the next call with the same pixels pays only for what
is new. Nothing here is ROS; the nodes convert messages and call this.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.instructions import (
    RegionReference,
    Round,
    goal_instruction,
    question_instruction,
)
from samtok_ros.language.spoken_regions import spoken_answer
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.masks.boxes import with_mask
from samtok_ros.model_directory import resolve_model
from samtok_ros.regions import Answer, Region
from samtok_ros.tokenizer.mask_tokenizer import ImageFeatures, MaskTokenizer
from samtok_ros.words.vocabulary import MaskVocabulary

ShouldStop = Callable[[], bool]
PipelineEvent = TextPiece | SpanClosed | Answer


class Pipeline:
    """One model directory, ready to answer."""

    def __init__(self, language_model: VisionLanguageModel, mask_tokenizer: MaskTokenizer) -> None:
        self.language_model = language_model
        self.mask_tokenizer = mask_tokenizer
        self._features: tuple[bytes, ImageFeatures] | None = None

    @classmethod
    def load(
        cls, model: str = 'tabletop', device: str = 'cpu', dtype: str = 'float32'
    ) -> 'Pipeline':
        """Load both models; nothing is downloaded.

        Args:
            model: 'tabletop', a directory, or 'owner/name' that was fetched before.
            device: a torch device.
            dtype: 'float32' or 'bfloat16'.
        Raises:
            CheckpointError: the model is not there, or a file of it is damaged.
            ConfigError: unknown dtype.
            DeviceError: the device is not there or too small.
        """
        model_dir = resolve_model(model)
        mask_tokenizer = MaskTokenizer.load(model_dir, device, dtype)
        sizes = mask_tokenizer.config
        vocabulary = MaskVocabulary(sizes.codebook_size, sizes.codebook_depth)
        return cls(VisionLanguageModel.load(model_dir, device, dtype, vocabulary), mask_tokenizer)

    def ground(
        self,
        image_rgb: np.ndarray,
        goal: str,
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Answer:
        """Find the regions that a referring expression names.

        Args:
            image_rgb: (H, W, 3) uint8.
            goal: words for no, one or several things, such as 'the red mug'.
            limits: when to end at the latest.
            should_stop: asked per token; True cancels, and what was found so far is returned.
            history: earlier rounds about this image, oldest first.
        Raises:
            ImageError: the image cannot be used.
            ConfigError: the goal is empty, no valid text or too long.
            DeviceError: the device is out of memory.
        """
        return _last(self.stream_ground(image_rgb, goal, limits, should_stop, history))

    def ask(
        self,
        image_rgb: np.ndarray,
        question: str,
        regions: Sequence[Region | RegionReference] = (),
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Answer:
        """Ask a question, about regions if there are some.

        Args:
            image_rgb: (H, W, 3) uint8.
            question: `<region:1>`, `<region:2>`, ... stand for the regions; without these the
                regions are put in front of the question.
            regions: of this image; only their codes matter.
            limits: when to end at the latest.
            should_stop: asked per token; True cancels, and what was said so far is returned.
            history: earlier rounds about this image, oldest first.
        Raises:
            ImageError: the image cannot be used.
            ConfigError: the question is empty, no valid text, too long, or names a region too many.
            SpanError: codes of a region are not in the vocabulary.
            DeviceError: the device is out of memory.
        """
        return _last(self.stream_ask(image_rgb, question, regions, limits, should_stop, history))

    def stream_ground(
        self,
        image_rgb: np.ndarray,
        goal: str,
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Iterator[PipelineEvent]:
        """Like `ground`, giving text and spans as they come and the Answer last."""
        events = self.language_model.generate(
            image_rgb, goal_instruction(goal), limits, should_stop, history=history,
            image_key=_content_key(image_rgb))
        return self._with_answer(events, image_rgb, goal.strip())

    def stream_ask(
        self,
        image_rgb: np.ndarray,
        question: str,
        regions: Sequence[Region | RegionReference] = (),
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Iterator[PipelineEvent]:
        """Like `ask`, giving text and spans as they come and the Answer last."""
        references = [RegionReference(tuple(region.codes)) for region in regions]
        instruction = question_instruction(question, references)
        events = self.language_model.generate(
            image_rgb, instruction, limits, should_stop, history=history,
            image_key=_content_key(image_rgb))
        return self._with_answer(events, image_rgb, default_label='')

    def _with_answer(self, events, image_rgb: np.ndarray, default_label: str):
        spans: list[SpanClosed] = []
        for event in events:
            if isinstance(event, Finished):
                answer = spoken_answer(event, spans, self.language_model.vocabulary, default_label)
                yield replace(answer, regions=self.draw(image_rgb, answer.regions))
                return
            if isinstance(event, SpanClosed):
                spans.append(event)
            yield event

    def forget(self) -> None:
        """Free the memory of what is kept about images."""
        self.language_model.forget()
        self._features = None

    def draw(self, image_rgb: np.ndarray, regions: Sequence[Region]) -> tuple[Region, ...]:
        """Decode the masks of regions: an image is embedded once, all codes are one batch.

        Args:
            image_rgb: (H, W, 3) uint8, the image the regions belong to.
            regions: with codes.
        Returns:
            The same regions with mask, box and mask score.
        Raises:
            ImageError: the image cannot be used.
            SpanError: codes of a region are not in the vocabulary.
        """
        if not regions:
            return ()
        features = self._embedded(image_rgb)
        codes = np.array([region.codes for region in regions], np.int64)
        decoded = self.mask_tokenizer.decode(features, codes)
        return tuple(
            with_mask(region, mask, float(score))
            for region, mask, score in zip(regions, decoded.masks, decoded.scores, strict=True))

    def _embedded(self, image_rgb: np.ndarray) -> ImageFeatures:
        """Return the features of an image, those of the last one from memory."""
        key = _content_key(image_rgb)
        if self._features is None or self._features[0] != key:
            self._features = None  # before the new ones take memory
            self._features = key, self.mask_tokenizer.embed_image(image_rgb)
        return self._features[1]


def _content_key(image_rgb: np.ndarray) -> bytes:
    """Name an image by its size and pixels."""
    digest = hashlib.blake2b(repr(image_rgb.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image_rgb))
    return digest.digest()


def _last(events: Iterator[PipelineEvent]) -> Answer:
    """Run an answer to its end and return it."""
    *_, answer = events
    return answer
