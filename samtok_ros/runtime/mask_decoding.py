# SPDX-License-Identifier: Apache-2.0
"""Words in, masks out: what the mask tokenizer node does between messages."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from samtok_ros.config import MaskTokenizerSettings
from samtok_ros.errors import SamtokError
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.backend import LoadedMaskModel
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.worker import Priority, Worker

Publish = Callable[[FrameResult, Frame], None]


@dataclass(frozen=True)
class _Waiting:
    """Words whose image has not come yet."""

    words: FrameResult
    until: float


class MaskDecoding:
    """Decodes the words of cached frames in the worker.

    Words that come before their image wait for it for a while. Words that cannot be decoded are
    dropped with a reason and counted, never guessed.
    """

    def __init__(
        self, worker: Worker, publish: Publish, problems: ProblemLog, statistics: Statistics,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire it up; `configure` gives it a model.

        Args:
            worker: its thread runs the model.
            publish: called in the worker's thread, once for each message with words.
            problems: told of words that are dropped.
            statistics: told of durations and counts.
            now: a clock in seconds; tests pass their own.
        """
        self._worker = worker
        self._publish = publish
        self._problems = problems
        self._statistics = statistics
        self._now = now
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._queue: deque[tuple[FrameResult, Frame]] = deque()
        self._settings = MaskTokenizerSettings()
        self._loaded: LoadedMaskModel | None = None
        self._frames = FrameCache(1, 1)
        self._open = False

    def configure(
        self, settings: MaskTokenizerSettings, loaded: LoadedMaskModel, frames: FrameCache,
    ) -> None:
        """Take settings, a loaded model and the cache with the frames."""
        self._settings, self._loaded, self._frames = settings, loaded, frames

    def change_settings(self, settings: MaskTokenizerSettings) -> None:
        """Take changed live settings."""
        self._settings = settings

    def open(self) -> None:
        """Start to take words."""
        self._open = True

    def close(self) -> bool:
        """Stop and forget what waits; False when a decoding step will not end."""
        self._open = False
        with self._lock:
            self._waiting.clear()
            self._queue.clear()
        return self._worker.flush(Priority.WORDS)

    def release(self) -> None:
        """Let go of the model."""
        self._loaded = None

    @property
    def waiting(self) -> int:
        """Messages that wait for their image or for the model."""
        return len(self._waiting) + len(self._queue)

    def put_words(self, words: FrameResult) -> None:
        """Hand words over; returns at once."""
        self._statistics.tick('words_in')
        reason = self._refusal(words)
        if reason:
            self._drop(words, *reason)
            return
        with self._lock:
            frame = self._frames.get(words.stamp_ns)
            if frame is None:
                self._waiting.append(_Waiting(words, self._now() + self._settings.words.wait_s))
            else:
                self._queue.append((words, frame))
            full = self._too_many()
        if full:
            self._drop(full, 'queue_full', f'more than {self._limit} messages wait. Decoding is '
                       'slower than the words come in')
        if frame is not None:
            self._wake()

    def frame_arrived(self, frame: Frame) -> None:
        """Let words that waited for this frame go on."""
        with self._lock:
            ready = [entry for entry in self._waiting if entry.words.stamp_ns == frame.stamp_ns]
            for entry in ready:
                self._waiting.remove(entry)
                self._queue.append((entry.words, frame))
        for _ in ready:
            self._wake()

    def drop_expired(self) -> None:
        """Drop words whose image did not come in time; call it several times a second."""
        now, expired = self._now(), []
        with self._lock:
            while self._waiting and self._waiting[0].until <= now:
                expired.append(self._waiting.popleft().words)
        for words in expired:
            self._drop(words, 'no_such_frame', 'no image with this stamp is in the cache. Give '
                       'both nodes the same image topic, or raise cache.frames or words.wait_s')

    @property
    def _limit(self) -> int:
        return self._settings.words.queue

    def _too_many(self) -> FrameResult | None:
        """Take out the oldest message when more wait than may; with the lock held."""
        if len(self._waiting) > self._limit:
            return self._waiting.popleft().words
        return self._queue.popleft()[0] if len(self._queue) > self._limit else None

    def _refusal(self, words: FrameResult) -> tuple[str, str] | None:
        loaded = self._loaded
        if words.tokenizer_id != loaded.model.tokenizer_id:
            return 'tokenizer_mismatch', (
                f'they belong to mask tokenizer {words.tokenizer_id!r}, here is '
                f'{loaded.model.tokenizer_id!r}. Give both nodes the same model')
        for region in words.regions:
            if len(region.codes) != loaded.codebook_depth or (
                    max(region.codes) >= loaded.codebook_size):
                return 'bad_codes', (
                    f'region {region.region_id} has codes {list(region.codes)}, expected '
                    f'{loaded.codebook_depth} codes below {loaded.codebook_size}')
        return None

    def _drop(self, words: FrameResult, kind: str, reason: str) -> None:
        self._statistics.count('words_dropped')
        self._problems.report(kind, f'words for image {words.stamp_ns} are dropped: {reason}')

    def _wake(self) -> None:
        self._worker.submit(Priority.WORDS, self._decode_next)

    def _decode_next(self) -> None:
        with self._lock:
            if not self._queue or not self._open:
                return
            words, frame = self._queue.popleft()
            outdated = not words.complete and any(
                later.stamp_ns == words.stamp_ns and later.goal_id == words.goal_id
                for later, _ in self._queue)
        if not outdated:
            self._decode(words, frame)

    def _decode(self, words: FrameResult, frame: Frame) -> None:
        try:
            if frame.size != words.size:
                self._drop(words, 'size_mismatch', f'they are for an image of '
                           f'{_text(words.size)}, the image with this stamp has '
                           f'{_text(frame.size)}')
                return
            masks = self._masks_of(words, frame)
        except SamtokError as error:
            self._drop(words, 'decode_failed', str(error))
            return
        regions = tuple(_with_mask(region, *masks[region.codes]) for region in words.regions)
        if words.complete:
            frame.decoded.clear()
        self._publish(replace(words, regions=regions), frame)
        self._statistics.tick('masks_out')

    def _masks_of(
        self, words: FrameResult, frame: Frame,
    ) -> dict[tuple[int, ...], tuple[np.ndarray, float]]:
        """Return mask and predicted IoU by codes; what an earlier message had is not redone."""
        new = [codes for codes in dict.fromkeys(r.codes for r in words.regions)
               if codes not in frame.decoded]
        if new:
            with self._statistics.measure('embed'):
                features = self._frames.features_of(frame, self._loaded.model)
            with self._statistics.measure('decode'):
                decoded = self._loaded.model.decode(features, np.array(new, np.int64))
            for codes, mask, score in zip(new, decoded.masks, decoded.scores, strict=True):
                frame.decoded[codes] = (mask, float(score))
        return dict(frame.decoded)


def best_region(regions: tuple[Region, ...]) -> Region | None:
    """Return the region a grasp planner should take: the surest one, the first among equals."""
    return max(regions, key=lambda region: region.score, default=None)


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return x, y, right and bottom edge (outside) of a (H, W) bool mask, None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _text(size: ImageSize) -> str:
    return f'{size.height} x {size.width}'


def _with_mask(region: Region, mask: np.ndarray, score: float) -> Region:
    box = box_of_mask(mask)
    return replace(region, mask=mask, mask_score=score,
                   box_xyxy=None if box is None else tuple(map(float, box)))
