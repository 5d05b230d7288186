# SPDX-License-Identifier: Apache-2.0
"""Words in, masks out: what the mask tokenizer node does between messages."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from samtok_ros.errors import ConfigError, SamtokError, SpanError
from samtok_ros.masks.boxes import with_mask
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.memory import explained
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.worker import Priority, Worker
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings

Publish = Callable[[FrameResult, Frame], None]


@dataclass(frozen=True)
class _Waiting:
    """Words whose image has not come yet, or is gone, and what there is to say of that."""

    words: FrameResult
    until: float
    reason: str


class MaskDecoding:
    """Decodes the words of cached frames in the worker.

    Words that come before their image wait for it for a while. Words that cannot be decoded are
    dropped with a reason and counted, never guessed.
    """

    def __init__(
        self, worker: Worker, publish: Publish, problems: ProblemLog, statistics: Statistics,
        now: Callable[[], float] = time.monotonic, closes_answers: bool = True,
    ) -> None:
        """Wire it up; `configure` gives it a model.

        Args:
            worker: its thread runs the model.
            publish: called in the worker's thread, once for each message with words.
            problems: told of words that are dropped.
            statistics: told of durations and counts.
            now: a clock in seconds; tests pass their own.
            closes_answers: False where the model that speaks is in this process: it closes its
                answers itself, and knows of later ones than the words that come here.
        """
        self._closes_answers = closes_answers
        self._worker = worker
        self._publish = publish
        self._problems = problems
        self._statistics = statistics
        self._now = now
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._queue: deque[tuple[FrameResult, Frame]] = deque()
        self._settings = MaskTokenizerSettings()
        self._access: LocalMaskAccess | None = None
        self._frames = FrameCache(1, 1)
        self._open = False

    def configure(
        self, settings: MaskTokenizerSettings, access: LocalMaskAccess, frames: FrameCache,
    ) -> None:
        """Take settings, a loaded model and the cache with the frames."""
        self._settings, self._access, self._frames = settings, access, frames

    def change_settings(self, settings: MaskTokenizerSettings) -> None:
        """Take changed live settings."""
        self._settings = settings

    def open(self) -> None:
        """Start to take words."""
        self._open = True

    def close(self, timeout_s: float = 10.0) -> bool:
        """Stop and forget what waits; False when a decoding step does not end in this time."""
        if not self._open:
            return True
        self._open = False
        self.forget_after(-1)
        return self._worker.settle(timeout_s)

    def forget_after(self, stamp_ns: int) -> None:
        """Forget words about later images that wait for them or for the model; -1 for all."""
        with self._lock:
            self._waiting = deque(
                entry for entry in self._waiting if entry.words.stamp_ns <= stamp_ns)
            self._queue = deque(
                (words, frame) for words, frame in self._queue if words.stamp_ns <= stamp_ns)

    def release(self) -> None:
        """Let go of the model."""
        self._access = None

    @property
    def waiting(self) -> int:
        """Messages that wait for their image or for the model."""
        return len(self._waiting) + len(self._queue)

    def put_words(self, words: FrameResult) -> None:
        """Hand words over; returns at once."""
        access = self._access
        if access is None:
            return  # They came while the node was being cleaned up.
        self._statistics.tick('words_in')
        reason = _refusal(words, access)
        if reason:
            self._drop(words, *reason)
            return
        with self._lock:
            frame = self._frames.get(words.stamp_ns)
            if frame is None:
                until = self._now() + self._settings.words.wait_s
                self._waiting.append(_Waiting(words, until, self._why_missing(words.stamp_ns)))
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
                expired.append(self._waiting.popleft())
        for entry in expired:
            self._drop(entry.words, 'no_such_frame', entry.reason)

    def _why_missing(self, stamp_ns: int) -> str:
        """Say why words that came just now may have no image, in the time of the images.

        The clocks of two machines need not agree, and what is kept may be other images later on.
        """
        stamps = self._frames.stamps()
        text = 'no image with this stamp is in the cache. '
        if not stamps or stamp_ns >= min(stamps):
            return f'{text}Give both nodes the same image topic, or raise words.wait_s'
        newest_ns = max(stamps)
        return (f'{text}The words came {(newest_ns - stamp_ns) / 1e9:.1f} s after it, and the '
                f'{len(stamps)} images kept span {(newest_ns - min(stamps)) / 1e9:.1f} s: raise '
                'cache.frames and cache.megabytes until they span the longest answer')

    @property
    def _limit(self) -> int:
        return self._settings.words.queue

    def _too_many(self) -> FrameResult | None:
        """Take out the oldest message when more wait than may; with the lock held."""
        if len(self._waiting) > self._limit:
            return self._waiting.popleft().words
        return self._queue.popleft()[0] if len(self._queue) > self._limit else None

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
            if words.frame_id not in ('', frame.frame_id):  # By hand it may be left out.
                self._drop(words, 'no_such_frame', f'they are for an image of '
                           f'{words.frame_id!r}, the image with this stamp is of '
                           f'{frame.frame_id!r}. Give each camera nodes of its own')
                return
            if frame.size != words.size:
                self._drop(words, 'size_mismatch', f'they are for an image of '
                           f'{_text(words.size)}, the image with this stamp has '
                           f'{_text(frame.size)}')
                return
            regions = self._drawn(words, frame)
        except Exception as error:
            known = explained(error)
            self._drop(words, 'decode_failed', str(known))
            if isinstance(known, SamtokError):
                return
            raise
        if self._closes_answers and words.complete and words.regions:
            frame.last_regions = words.regions
        self._publish(replace(words, regions=regions), frame)
        self._statistics.tick('masks_out')
        self._statistics.count('regions_out', len(regions))

    def _drawn(self, words: FrameResult, frame: Frame) -> tuple[Region, ...]:
        """Return the regions with masks; what an earlier message had is not drawn again."""
        drawn = self._access.draw(frame, [region.codes for region in words.regions])
        frame.decoded = {} if words.complete else drawn
        self._frames.trim()
        return tuple(with_mask(region, *drawn[region.codes]) for region in words.regions)


def best_region(regions: tuple[Region, ...]) -> Region | None:
    """Return the region a grasp planner should take: the surest one, the first among equals."""
    return max(regions, key=lambda region: region.score, default=None)


def _refusal(words: FrameResult, access: LocalMaskAccess) -> tuple[str, str] | None:
    """Return kind and reason why words cannot be decoded, None when they can."""
    try:
        access.check_tokenizer(words.tokenizer_id)
    except ConfigError as error:
        return 'tokenizer_mismatch', str(error)
    for region in words.regions:
        try:
            access.check_codes(region.codes)
        except SpanError as error:
            return 'bad_codes', f'region {region.region_id}: {error}'
    return None


def _text(size: ImageSize) -> str:
    return f'{size.height} x {size.width}'
