# SPDX-License-Identifier: Apache-2.0
"""Image and instruction -> answer text and regions: where language and mask tokenizer meet.

    pipeline = Pipeline.load('tabletop')
    answer = pipeline.ground(image_rgb, 'the red mug left of the bowl')
    for region in answer.regions:
        print(region.label, region.codes, region.score, region.mask.sum())
    answer = pipeline.ask(image_rgb, 'What colour is <region:1>?', answer.regions)
    print(answer.record.text)

What the models have read of an image is kept: the next call with the same pixels pays only for what
is new. Nothing here is ROS; the nodes convert messages and call this.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from samtok_ros.image.encodings import check_rgb
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.instructions import (
    Instruction,
    RegionReference,
    Round,
    goal_instruction,
)
from samtok_ros.language.spoken_regions import answer_record, spoken_answer
from samtok_ros.language.tasks import TaskQuestion
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.masks.boxes import with_mask
from samtok_ros.model_directory import resolve_model
from samtok_ros.pointing import Pointer, masks_of_prompts, references_to
from samtok_ros.regions import Answer, BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.task_calls import TaskCalls
from samtok_ros.tokenizer.mask_tokenizer import ImageFeatures, MaskTokenizer
from samtok_ros.words.vocabulary import MaskVocabulary

ShouldStop = Callable[[], bool]
PipelineEvent = TextPiece | SpanClosed | Answer


@dataclass(frozen=True)
class Inquiry:
    """What the language model is told, and how its answer is to be read.

    Attributes:
        instruction: text, regions, further pictures.
        default_label: for regions to which the answer puts no phrase.
        choice_count: options that there are to choose from, 0 for no such question.
    """

    instruction: Instruction
    default_label: str = ''
    choice_count: int = 0


class Pipeline(TaskCalls):
    """One model directory, ready to answer; TaskCalls adds one method per task."""

    def __init__(self, language_model: VisionLanguageModel, mask_tokenizer: MaskTokenizer) -> None:
        self.language_model = language_model
        self.mask_tokenizer = mask_tokenizer
        self._features: tuple[bytes, ImageFeatures] | None = None

    @classmethod
    def load(
        cls, model: str = 'tabletop', device: str = 'cpu', dtype: str = 'float32',
        thinks: bool = False,
    ) -> 'Pipeline':
        """Load both models; nothing is downloaded.

        Args:
            model: 'tabletop', a directory, or 'owner/name' that was fetched before.
            device: a torch device.
            dtype: 'float32' or 'bfloat16'.
            thinks: see VisionLanguageModel.
        Raises:
            CheckpointError: the model is not there, or a file of it is damaged.
            ConfigError: unknown dtype.
            DeviceError: the device is not there or too small.
        """
        model_dir = resolve_model(model)
        mask_tokenizer = MaskTokenizer.load(model_dir, device, dtype)
        sizes = mask_tokenizer.config
        vocabulary = MaskVocabulary(sizes.codebook_size, sizes.codebook_depth)
        language_model = VisionLanguageModel.load(model_dir, device, dtype, vocabulary)
        language_model.thinks = thinks
        return cls(language_model, mask_tokenizer)

    def ground(
        self,
        image_rgb: np.ndarray,
        goal: str,
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
        regions: Sequence[Pointer] = (),
    ) -> Answer:
        """Find the regions that a referring expression names.

        Args:
            image_rgb: (H, W, 3) uint8.
            goal: words for no, one or several things, such as 'the red mug'.
            limits: when to end at the latest.
            should_stop: asked per token; True cancels, and what was found so far is returned.
            history: earlier rounds about this image, oldest first.
            regions: `<region:1>`, `<region:2>`, ... in the goal stand for them, see ask.
        Raises:
            ImageError: the image cannot be used, or a region does not fit it.
            ConfigError: the goal is empty, no valid text or too long.
            DeviceError: the device is out of memory.
        """
        inquiry = self.goal(image_rgb, goal, regions)
        return _last(self.stream(image_rgb, inquiry, limits, should_stop, history))

    def ask(
        self,
        image_rgb: np.ndarray,
        question: str | TaskQuestion,
        regions: Sequence[Pointer] = (),
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Answer:
        """Ask a question, about regions if there are some.

        Args:
            image_rgb: (H, W, 3) uint8.
            question: free words, or a question of one of the trained tasks. `<region:1>`,
                `<region:2>`, ... stand for the regions; without these the regions are put in front
                of the question.
            regions: each a Region or RegionReference, an (H, W) bool mask, a BoxPrompt around it or
                a PointPrompt on it, of this image.
            limits: when to end at the latest.
            should_stop: asked per token; True cancels, and what was said so far is returned.
            history: earlier rounds about this image, oldest first.
        Raises:
            ImageError: the image cannot be used, or a region does not fit it.
            ConfigError: the question is empty, no valid text, too long, or names a region too many;
                or something that the task does not take.
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
        regions: Sequence[Pointer] = (),
    ) -> Iterator[PipelineEvent]:
        """Like `ground`, giving text and spans as they come and the Answer last."""
        inquiry = self.goal(image_rgb, goal, regions)
        return self.stream(image_rgb, inquiry, limits, should_stop, history)

    def stream_ask(
        self,
        image_rgb: np.ndarray,
        question: str | TaskQuestion,
        regions: Sequence[Pointer] = (),
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Iterator[PipelineEvent]:
        """Like `ask`, giving text and spans as they come and the Answer last."""
        inquiry = self.question(image_rgb, question, regions)
        return self.stream(image_rgb, inquiry, limits, should_stop, history)

    def goal(
        self, image_rgb: np.ndarray, goal: str, regions: Sequence[Pointer] = (),
    ) -> Inquiry:
        """Return what `ground` tells the model; regions are drawn and encoded."""
        instruction = goal_instruction(goal, self.references(image_rgb, regions))
        return Inquiry(instruction, default_label=goal.strip())

    def question(
        self, image_rgb: np.ndarray, question: str | TaskQuestion,
        regions: Sequence[Pointer] = (),
    ) -> Inquiry:
        """Return what `ask` tells the model; regions are drawn and encoded."""
        asked = TaskQuestion(text=question) if isinstance(question, str) else question
        instruction = asked.instruction(self.references(image_rgb, regions))
        return Inquiry(instruction, choice_count=asked.choice_count)

    def stream(
        self,
        image_rgb: np.ndarray,
        inquiry: Inquiry,
        limits: GenerationLimits | None = None,
        should_stop: ShouldStop | None = None,
        history: Sequence[Round] = (),
    ) -> Iterator[PipelineEvent]:
        """Put an inquiry to the model, giving text and spans as they come and the Answer last."""
        check_rgb(image_rgb)
        events = self.language_model.generate(
            image_rgb, inquiry.instruction, limits, should_stop, history=history,
            image_key=_content_key(image_rgb))
        return self._with_answer(events, image_rgb, inquiry)

    def references(
        self, image_rgb: np.ndarray, regions: Sequence[Pointer],
    ) -> tuple[RegionReference, ...]:
        """Return regions as references by their codes; see ask for what a region can be.

        Raises:
            ImageError: the image cannot be used, or a region does not fit it.
            ConfigError: something that points at nothing.
        """
        if isinstance(regions, tuple | list) and not regions:
            return ()
        check_rgb(image_rgb)
        return references_to(regions, ImageSize(*image_rgb.shape[:2]), self.mask_tokenizer,
                             lambda: self._embedded(image_rgb))

    def mask_of(self, image_rgb: np.ndarray, region: Pointer) -> np.ndarray:
        """Return the (H, W) bool mask of a region: the one that is given, or the one it stands for.

        Raises:
            ImageError: the image cannot be used, or the region does not fit it.
        """
        if isinstance(region, np.ndarray):
            return region
        if isinstance(region, BoxPrompt | PointPrompt):
            return masks_of_prompts({1: region}, self.mask_tokenizer,
                                    lambda: self._embedded(image_rgb))[1]
        if isinstance(region, Region) and region.mask is not None:
            return region.mask
        return self.draw(image_rgb, [Region(1, region.codes, '', 0.0)])[0].mask

    def _with_answer(self, events, image_rgb: np.ndarray, inquiry: Inquiry):
        vocabulary, label = self.language_model.vocabulary, inquiry.default_label
        spans: list[SpanClosed] = []
        for event in events:
            if isinstance(event, Finished):
                answer = spoken_answer(event, spans, vocabulary, label)
                record = answer_record(answer, vocabulary, label, inquiry.choice_count)
                yield replace(answer, regions=self.draw(image_rgb, answer.regions), record=record)
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
