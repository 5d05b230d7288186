# SPDX-License-Identifier: Apache-2.0
"""A backend without weights: everything around a model can be run and tested with it anywhere.

Words follow from a hash of the image and the goal, so the same frame and goal give the same words.
A few words in the goal choose what the answer looks like, see `_plan`. A mask is an ellipse or a
box: the first code says where it is, the second one how large.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from samtok_ros.config import FakeSettings, LimitSettings
from samtok_ros.errors import CheckpointError, DeviceError, SpanError
from samtok_ros.regions import Answer, ImageSize, Region
from samtok_ros.runtime.backend import UNFINISHED, AnswerUpdate, LoadedMaskModel
from samtok_ros.words.answers import NO_TARGET, MaskItem, format_mask_list, read_answer
from samtok_ros.words.vocabulary import MaskVocabulary

TOKENIZER_ID = 'fake@0000000000000001'
_VOCABULARY = MaskVocabulary()
_GRID = 16
_NUMBERS = {'one': 1, 'two': 2, 'three': 3, 'four': 4, 'many': 40}


class FakeBackend:
    """Loads the fake models, with the delays and failures of its settings."""

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings

    def load_grounding(self) -> 'FakeGroundingModel':
        """See Backend."""
        self._load()
        return FakeGroundingModel(self._settings)

    def load_masks(self) -> LoadedMaskModel:
        """See Backend."""
        self._load()
        return LoadedMaskModel(FakeMaskModel(self._settings), 'fake', 'none',
                               _VOCABULARY.codebook_size, _VOCABULARY.codebook_depth)

    def _load(self) -> None:
        time.sleep(self._settings.load_s)
        if self._settings.fail_load:
            raise CheckpointError('the fake model refuses to load',
                                  fix='set fake.fail_load to false')


class FakeGroundingModel:
    """Makes up answers."""

    name = 'fake'
    device = 'none'
    tokenizer_id = TOKENIZER_ID

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings
        self._answers = 0

    def ground(
        self, image_rgb: np.ndarray, goal: str, limits: LimitSettings,
        should_stop: Callable[[], bool],
    ) -> Iterator[AnswerUpdate]:
        """See GroundingModel.

        Raises:
            DeviceError: this answer is one of those that fail.
        """
        self._answers += 1
        fails = self._settings.fail_every and self._answers % self._settings.fail_every == 0
        deadline = time.monotonic() + limits.deadline_s
        pieces = _pieces(_plan(image_rgb, goal))
        said, reason = '', 'stop'
        for count, piece in enumerate(pieces):
            if fails and count:
                raise DeviceError('the fake device ran out of memory')
            time.sleep(self._settings.token_s)
            if should_stop():
                reason = 'cancelled'
                break
            if count >= limits.max_new_tokens or time.monotonic() > deadline:
                reason = 'length'
                break
            said += piece
            if len(_regions(said)) > limits.max_masks:
                said, reason = said.removesuffix(piece), 'length'
                break
            yield AnswerUpdate(_answer(said, UNFINISHED), complete=False)
        answer = _answer(said, reason)
        yield AnswerUpdate(answer, complete=True, no_target=answer.text == NO_TARGET)


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
        if codes.size and not 0 <= codes.min() <= codes.max() < _VOCABULARY.codebook_size:
            raise SpanError('code is out of range', expected='0 to 255', got=codes.tolist())
        time.sleep(self._settings.decode_s)
        masks = [_draw(features.size, int(place), int(form)) for place, form in codes]
        shape = (len(codes), features.size.height, features.size.width)
        return FakeMasks(np.array(masks, np.bool_).reshape(shape),
                         (0.5 + codes.sum(axis=1) / 1024).astype(np.float32))


def _plan(image_rgb: np.ndarray, goal: str) -> str:
    """Return the whole answer: 'nothing' in the goal for none, a number word for that many."""
    words = goal.lower().split()
    if 'nothing' in words:
        return NO_TARGET
    digest = hashlib.sha256(np.ascontiguousarray(image_rgb).tobytes() + goal.encode()).digest()
    count = next((_NUMBERS[word] for word in words if word in _NUMBERS), 1 + digest[0] % 3)
    codes = np.frombuffer(hashlib.shake_256(digest).digest(2 * count), np.uint8).reshape(-1, 2)
    label = goal.replace('<|', '< |')[:200]
    text = format_mask_list([MaskItem((int(a), int(b)), label) for a, b in codes])
    if 'malformed' in words:
        text += f' {_VOCABULARY.start_word}{_VOCABULARY.word(0, 7)}{_VOCABULARY.end_word}'
    return text


def _pieces(text: str) -> list[str]:
    """Cut a text as a text tokenizer would: markers whole, the rest in words."""
    pieces = text.replace('<|', '\0<|').replace('|>', '|>\0').replace(' ', '\0 ').split('\0')
    return [piece for piece in pieces if piece]


def _regions(text: str) -> tuple[Region, ...]:
    spans = read_answer(text, _VOCABULARY).spans
    return tuple(Region(number, span.span.codes, span.label, 1.0 - span.span.codes[0] / 512)
                 for number, span in enumerate(spans, start=1))


def _answer(text: str, finish_reason: str) -> Answer:
    malformed = read_answer(text, _VOCABULARY).malformed
    if finish_reason == UNFINISHED:
        # A span that is still open is not malformed yet.
        malformed = tuple(item for item in malformed if item.position + len(item.text) < len(text))
    return Answer(text, _regions(text), malformed, finish_reason)


def _draw(size: ImageSize, place: int, form: int) -> np.ndarray:
    centre_x, centre_y = (place % _GRID + 0.5) / _GRID, (place // _GRID + 0.5) / _GRID
    radius_x, radius_y = (form % _GRID + 1) / 64, (form // _GRID + 1) / 64
    x = (np.arange(size.width) + 0.5) / size.width - centre_x
    y = (np.arange(size.height) + 0.5) / size.height - centre_y
    if form % 2:
        return (np.abs(y) <= radius_y)[:, None] & (np.abs(x) <= radius_x)[None, :]
    return (y / radius_y)[:, None] ** 2 + (x / radius_x)[None, :] ** 2 <= 1


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
