# SPDX-License-Identifier: Apache-2.0
"""The two sides: from image and words to masks, the published way and ours."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.benchmark.interleave import Outcome
from samtok_ros.benchmark.published_language import MOST_TOKENS, PublishedLanguageModel
from samtok_ros.benchmark.published_masks import PublishedMaskTokenizer
from samtok_ros.benchmark.script import saying
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed
from samtok_ros.language.instructions import (
    RegionReference,
    goal_instruction,
    question_instruction,
)
from samtok_ros.language.prompts import PROMPTS
from samtok_ros.language.vlm import VisionLanguageModel
from samtok_ros.runtime.backend import MaskModel
from samtok_ros.words.vocabulary import MaskVocabulary

FIRST_MASK, FIRST_WORD = 'first mask', 'first word'
GOAL = 'the red box'
QUESTION = 'What colour is {}?'


@dataclass(frozen=True)
class Said:
    """What was said.

    Attributes:
        text: the answer.
        choices: token that would have been said without a script, by position.
    """

    text: str
    choices: Mapping[int, int]


@dataclass(frozen=True)
class Found:
    """What a goal led to.

    Attributes:
        said: the answer.
        codes: (N, D) int64.
        masks: (N, H, W), not 0 inside.
    """

    said: Said
    codes: np.ndarray
    masks: np.ndarray


class PublishedSide:
    """The published pipeline: the whole answer first, then all masks.

    Args:
        masks: with or without repeating the image.
        language: None where only masks are measured.
        clock: seconds; on a GPU one that waits for the device first.
    """

    def __init__(self, masks: PublishedMaskTokenizer, language: PublishedLanguageModel | None,
                 clock: Callable[[], float]) -> None:
        self.masks = masks
        self._language = language
        self._clock = clock

    def find(self, image_rgb: np.ndarray, script: Sequence[int]) -> Found:
        """Answer a goal and decode what it names."""
        answer = self._language.answer(image_rgb, PROMPTS['goal'][0].format(phrase=GOAL), script)
        masks = self.masks.decode(image_rgb, answer.codes).masks
        return Found(Said(answer.text, answer.choices), answer.codes, masks)

    def ask(self, image_rgb: np.ndarray, region: np.ndarray, vocabulary: MaskVocabulary,
            script: Sequence[int]) -> Outcome:
        """Answer a question about a region of an image that was asked about before.

        Returns:
            Said, and the moment of the first word.
        """
        started = self._clock()
        text = QUESTION.format(vocabulary.codes_to_words(region.tolist()))
        answer = self._language.answer(image_rgb, text, script)
        return Outcome(Said(answer.text, answer.choices),
                       {FIRST_WORD: answer.first_token - started})


class OurSide:
    """This package: masks are decoded while the answer is spoken.

    Args:
        masks: the mask tokenizer of any backend.
        language: None where only masks are measured.
        clock: seconds; on a GPU one that waits for the device first.
    """

    def __init__(self, masks: MaskModel, language: VisionLanguageModel | None,
                 clock: Callable[[], float]) -> None:
        self.masks = masks
        self._language = language
        self._clock = clock

    def find(self, image_rgb: np.ndarray, script: Sequence[int],
             image_key: Hashable | None = None) -> Outcome:
        """Answer a goal; the first mask is drawn as soon as its words are there.

        Returns:
            Found, and the moment of the first mask.
        """
        started = self._clock()
        spans: list[SpanClosed] = []
        drawn: list[np.ndarray] = []
        marks: dict[str, float] = {}
        features, text = None, ''
        with saying(script) as writers:
            for event in self._language.generate(
                    image_rgb, goal_instruction(GOAL), GenerationLimits(MOST_TOKENS),
                    image_key=image_key):
                if isinstance(event, Finished):
                    text = event.text
                elif isinstance(event, SpanClosed):
                    spans.append(event)
                    if len(spans) == 1:
                        features = self.masks.embed_image(image_rgb)
                        drawn.append(self.masks.decode(features, _codes(spans)).masks)
                        marks[FIRST_MASK] = self._clock() - started
        if len(spans) > 1:
            drawn.append(self.masks.decode(features, _codes(spans[1:])).masks)
        masks = np.concatenate(drawn) if drawn else np.zeros((0, *image_rgb.shape[:2]), np.bool_)
        return Outcome(Found(Said(text, writers[0].choices), _codes(spans), masks), marks)

    def ask(self, image_rgb: np.ndarray, region: np.ndarray, script: Sequence[int],
            image_key: Hashable) -> Outcome:
        """Answer a question about a region of an image that was read under the same key.

        Returns:
            Said, and the moment of the first word.
        """
        started = self._clock()
        marks: dict[str, float] = {}
        instruction = question_instruction(QUESTION.format('<region:1>'),
                                           [RegionReference(tuple(region.tolist()))])
        text = ''
        with saying(script) as writers:
            for event in self._language.generate(
                    image_rgb, instruction, GenerationLimits(MOST_TOKENS), image_key=image_key):
                marks.setdefault(FIRST_WORD, self._clock() - started)
                if isinstance(event, Finished):
                    text = event.text
        return Outcome(Said(text, writers[0].choices), marks)


def _codes(spans: Sequence[SpanClosed]) -> np.ndarray:
    return np.array([span.codes for span in spans], np.int64).reshape(len(spans), -1)
