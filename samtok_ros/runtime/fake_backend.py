# SPDX-License-Identifier: Apache-2.0
"""A backend without weights: everything around a model can be run and tested with it anywhere.

What it says follows from image, instruction and history, see `fake_answers`. A mask is an ellipse
or a box: the first code says where it is, the second one how large.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from samtok_ros.errors import CheckpointError, ImageError, SpanError
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.regions import Answer, BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.runtime.backend import (
    UNFINISHED,
    AnswerUpdate,
    LoadedMaskModel,
    Question,
    no_video_memory,
)
from samtok_ros.runtime.fake_answers import VOCABULARY, pieces_of_answer
from samtok_ros.settings.shared import FakeSettings
from samtok_ros.words.answers import NO_TARGET, read_answer

TOKENIZER_ID = 'fake@0000000000000001'
_GRID = 16


class FakeBackend:
    """Loads the fake models, with the delays and failures of its settings."""

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings

    def load_grounding(self) -> 'FakeGroundingModel':
        """See Backend."""
        self._load()
        return FakeGroundingModel(self._settings)

    def load_masks(self, video_memory: bool = False) -> LoadedMaskModel:
        """See Backend."""
        if video_memory:
            raise no_video_memory('the fake model')
        self._load()
        return LoadedMaskModel(FakeMaskModel(self._settings), 'fake', 'none',
                               VOCABULARY.codebook_size, VOCABULARY.codebook_depth)

    def _load(self) -> None:
        time.sleep(self._settings.load_s)
        if self._settings.fail_load:
            raise CheckpointError('the fake model refuses to load',
                                  fix='set fake.fail_load to false')
        if self._settings.fail_load_memory:
            raise MemoryError('the fake device ran out of memory')


class FakeGroundingModel:
    """Makes up answers."""

    name = 'fake'
    device = 'none'
    tokenizer_id = TOKENIZER_ID
    vocabulary = VOCABULARY
    facts: Mapping[str, str] = MappingProxyType({'precision': 'none', 'provider': 'none'})
    kept_bytes = 0

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings
        self._answers = 0

    def warm_up(self) -> None:
        """See GroundingModel; there is nothing to warm."""

    def answer(
        self, image_rgb: np.ndarray, question: Question, limits: GenerationLimits,
        should_stop: Callable[[], bool],
    ) -> Iterator[AnswerUpdate]:
        """See GroundingModel.

        Raises:
            MemoryError: this answer is one of those that fail.
        """
        self._answers += 1
        fails = self._settings.fail_every and self._answers % self._settings.fail_every == 0
        deadline = time.monotonic() + (limits.deadline_s or float('inf'))
        time.sleep(self._settings.prompt_s)
        answer = Answer('', (), (), UNFINISHED)
        reason, count = 'stop', 0
        for piece in pieces_of_answer(image_rgb, question, self._settings.flood):
            if fails and count:
                raise MemoryError('the fake device ran out of memory')
            if should_stop():
                reason = 'cancelled'
                break
            time.sleep(self._settings.token_s)
            one_too_many = (piece == VOCABULARY.start_word
                            and len(answer.regions) >= limits.max_masks)
            if (one_too_many or count >= limits.max_new_tokens or time.monotonic() > deadline):
                reason = 'length'
                break
            answer, count = _with_piece(answer, piece, question.phrase), count + 1
            yield AnswerUpdate(answer, complete=False, token_count=count)
        yield AnswerUpdate(_answer(answer.text, reason, question.phrase), complete=True,
                           no_target=answer.text == NO_TARGET, token_count=count)

    def forget(self) -> None:
        """See GroundingModel; nothing is kept."""


@dataclass(frozen=True)
class FakeFeatures:
    """Stands for image features: the image's size is all that the fake masks need."""

    size: ImageSize
    nbytes: int = 1000


@dataclass(frozen=True)
class FakeMasks:
    """(N, H, W) bool masks and (N,) float32 scores."""

    masks: np.ndarray
    scores: np.ndarray


class FakeMaskModel:
    """Draws an ellipse or a box for each pair of codes."""

    tokenizer_id = TOKENIZER_ID

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings

    def embed_image(self, image_rgb: np.ndarray) -> FakeFeatures:
        """See MaskModel."""
        return FakeFeatures(ImageSize(*image_rgb.shape[:2]))

    def encode(self, features: FakeFeatures, masks: np.ndarray) -> np.ndarray:
        """Return (N, 2) codes of the boxes that lie closest to (N, H, W) bool masks."""
        return np.array([_codes_of(mask) for mask in masks], np.int64).reshape(-1, 2)

    def decode(self, features: FakeFeatures, codes: np.ndarray) -> FakeMasks:
        """See MaskModel.

        Raises:
            SpanError: a code is out of range.
        """
        codes = np.asarray(codes, np.int64).reshape(-1, 2)
        if codes.size and not 0 <= codes.min() <= codes.max() < VOCABULARY.codebook_size:
            raise SpanError('code is out of range', expected='0 to 255', got=codes.tolist())
        masks = [_draw(features.size, int(place), int(form)) for place, form in codes]
        return self._masks(features, masks, 0.5 + codes.sum(axis=1) / 1024)

    def draw_prompts(
        self, features: FakeFeatures, prompts: Sequence[BoxPrompt | PointPrompt],
    ) -> FakeMasks:
        """See MaskModel; a box is filled, a point gets a box of an eighth of the image around it.

        Raises:
            ImageError: a prompt is not inside the image.
        """
        masks = [_fill(features.size, _box_of(prompt, features.size)) for prompt in prompts]
        return self._masks(features, masks, np.ones(len(masks)))

    def _masks(self, features: FakeFeatures, masks: list[np.ndarray], scores: np.ndarray
               ) -> FakeMasks:
        time.sleep(self._settings.decode_s)
        shape = (len(masks), features.size.height, features.size.width)
        return FakeMasks(np.array(masks, np.bool_).reshape(shape), scores.astype(np.float32))


def _with_piece(answer: Answer, piece: str, label: str) -> Answer:
    """Return the answer with one piece more; regions change only where a span ends."""
    text = answer.text + piece
    if piece == VOCABULARY.end_word:
        return _answer(text, UNFINISHED, label)
    return Answer(text, answer.regions, answer.malformed, UNFINISHED)


def _answer(text: str, finish_reason: str, label: str) -> Answer:
    found = read_answer(text, VOCABULARY, label)
    regions = tuple(
        Region(number, span.span.codes, span.label, 1.0 - span.span.codes[0] / 512)
        for number, span in enumerate(found.spans, start=1))
    return Answer(text, regions, found.malformed, finish_reason)


def _draw(size: ImageSize, place: int, form: int) -> np.ndarray:
    centre_x, centre_y = (place % _GRID + 0.5) / _GRID, (place // _GRID + 0.5) / _GRID
    radius_x, radius_y = (form % _GRID + 1) / 64, (form // _GRID + 1) / 64
    x = (np.arange(size.width) + 0.5) / size.width - centre_x
    y = (np.arange(size.height) + 0.5) / size.height - centre_y
    if form % 2:
        return (np.abs(y) <= radius_y)[:, None] & (np.abs(x) <= radius_x)[None, :]
    return (y / radius_y)[:, None] ** 2 + (x / radius_x)[None, :] ** 2 <= 1


def _box_of(prompt: BoxPrompt | PointPrompt, size: ImageSize) -> BoxPrompt:
    if isinstance(prompt, PointPrompt):
        if not (0 <= prompt.x <= size.width and 0 <= prompt.y <= size.height):
            raise ImageError('point is outside the image', got=prompt)
        half_width, half_height = max(1, size.width / 16), max(1, size.height / 16)
        return BoxPrompt(prompt.x - half_width, prompt.y - half_height,
                         prompt.x + half_width, prompt.y + half_height)
    if not (0 <= prompt.left < prompt.right <= size.width
            and 0 <= prompt.top < prompt.bottom <= size.height):
        raise ImageError('box is not inside the image', got=prompt)
    return prompt


def _fill(size: ImageSize, box: BoxPrompt) -> np.ndarray:
    x, y = np.arange(size.width) + 0.5, np.arange(size.height) + 0.5
    return ((box.top <= y) & (y < box.bottom))[:, None] & ((box.left <= x) & (x < box.right))


def _codes_of(mask: np.ndarray) -> tuple[int, int]:
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0
    centre_x = (columns[0] + columns[-1] + 1) / 2 / width
    centre_y = (rows[0] + rows[-1] + 1) / 2 / height
    wide = round((columns[-1] - columns[0] + 1) / width * 32) - 1
    high = round((rows[-1] - rows[0] + 1) / height * 32) - 1
    place = min(int(centre_y * _GRID), 15) * _GRID + min(int(centre_x * _GRID), 15)
    return place, min(max(high, 0), 15) * _GRID + min(max(wide, 0), 15)
