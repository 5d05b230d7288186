# SPDX-License-Identifier: Apache-2.0
"""Services of the mask tokenizer node: words to masks, masks to words, and which frames there are.

They exist in every lifecycle state, so that a caller always gets an answer; one that cannot be
served says why and what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.qos import QoSProfile

from samtok_ros.errors import ConfigError, ImageError, SamtokError, SpanError
from samtok_ros.nodes.bounds import check_bounds
from samtok_ros.nodes.conversions import (
    MAX_MESSAGE_BYTES,
    cut_text,
    frame_info,
    result_to_masks,
    result_to_words,
    stamp_to_ns,
    words_to_regions,
)
from samtok_ros.nodes.lifecycle import PerceptionNode
from samtok_ros.nodes.reference_messages import to_drawn_references
from samtok_ros.regions import Region
from samtok_ros.runtime.calls import WorkerCalls
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.references import encode_references
from samtok_ros.srv import DecodeMaskWords, EncodeMask, GetCachedFrames

_MAX_FRAMES = 256
_CALLS_QUEUED = 100


class MaskServices:
    """`decode_mask_words`, `encode_mask` and `get_cached_frames`."""

    def __init__(self, node: PerceptionNode) -> None:
        """Offer the services of a node."""
        self._node = node
        self._calls = WorkerCalls(node.runtime.worker)
        self._access: LocalMaskAccess | None = None
        # The worker takes one call after another anyway. With one group for both, callers who wait
        # hold one thread of the executor, and images, goals and diagnostics have the others.
        waiting = MutuallyExclusiveCallbackGroup()
        # Calls over the depth are lost without an answer. Those with masks in them may be large
        # and keep the usual depth of ten.
        many = QoSProfile(depth=_CALLS_QUEUED)
        node.create_service(DecodeMaskWords, 'decode_mask_words', self._decode, qos_profile=many,
                            callback_group=waiting)
        node.create_service(EncodeMask, 'encode_mask', self._encode, callback_group=waiting)
        node.create_service(GetCachedFrames, 'get_cached_frames', self._list_frames,
                            qos_profile=many, callback_group=MutuallyExclusiveCallbackGroup())

    def open(self, access: LocalMaskAccess) -> None:
        """Serve calls with a mask tokenizer."""
        self._access = access
        self._calls.open()

    def close(self) -> None:
        """Serve no more calls; those that wait are answered at once."""
        self._access = None
        self._calls.close()

    def _decode(
        self, request: DecodeMaskWords.Request, response: DecodeMaskWords.Response,
    ) -> DecodeMaskWords.Response:
        with self._answering('decode_mask_words', response):
            check_bounds(request)
            access, frame = self._ready(request.stamp)
            if request.tokenizer_id:
                access.check_tokenizer(request.tokenizer_id)
            regions = words_to_regions(request.words)
            if not regions:
                raise SpanError('there are no words to decode', expected='at least one')
            for number, region in enumerate(regions, start=1):
                _check_word(access, number, region)
            regions = self._run(lambda: access.decode(frame, regions))
            response.masks = result_to_masks(_result(frame, access, regions))
            response.message = response.masks.message
        return response

    def _encode(
        self, request: EncodeMask.Request, response: EncodeMask.Response,
    ) -> EncodeMask.Response:
        with self._answering('encode_mask', response):
            check_bounds(request)
            access, frame = self._ready(request.stamp)
            references = to_drawn_references(request.regions)
            regions, overlaps = self._run(lambda: encode_references(frame, references, access))
            response.words = result_to_words(_result(frame, access, regions))
            response.round_trip_iou = overlaps
        return response

    def _list_frames(
        self, request: GetCachedFrames.Request, response: GetCachedFrames.Response,
    ) -> GetCachedFrames.Response:
        with self._answering('get_cached_frames', response):
            self._check_active()
            frames = self._node.runtime.frames.newest_first()
            wanted = frames[:min(request.max_frames or _MAX_FRAMES, _MAX_FRAMES)]
            for frame in wanted:
                try:
                    response.frames.append(frame_info(frame))
                except ImageError as error:
                    response.message = f'a frame is left out that cannot be read: {error}'
            if not request.max_frames and len(frames) > len(wanted):
                response.message = f'the newest {len(wanted)} of {len(frames)} frames'
        return response

    @contextmanager
    def _answering(self, name: str, response: Any) -> Iterator[None]:
        """Turn errors into an answer; the fields after success and message stay empty then."""
        self._node.statistics.tick('calls')
        try:
            yield
        except SamtokError as error:
            self._node.statistics.count('calls_failed')
            self._node.problems.report('call_failed', f'{name} failed: {error}')
            response.message = str(error)
        else:
            response.success = True
        response.message = cut_text(response.message, MAX_MESSAGE_BYTES)

    def _ready(self, stamp: Any) -> tuple[LocalMaskAccess, Frame]:
        access = self._check_active()
        return access, self._node.runtime.frames.find(stamp_to_ns(stamp))

    def _check_active(self) -> LocalMaskAccess:
        access = self._access
        if access is None:
            name = self._node.get_fully_qualified_name()
            raise ConfigError(f'{name} is not active', fix=f'configure and activate it: ros2 '
                              f'lifecycle set {name} configure, then activate')
        return access

    def _run(self, work: Any) -> Any:
        return self._calls.run(work, self._node.settings.services.time_limit_s)


def _check_word(access: LocalMaskAccess, number: int, region: Region) -> None:
    try:
        access.check_codes(region.codes)
    except SpanError as error:
        raise SpanError(f'word {number}: {error.message}', expected=error.expected,
                        got=error.got) from None


def _result(frame: Frame, access: LocalMaskAccess, regions: tuple[Region, ...]) -> FrameResult:
    """Return regions as the answer to a call; it has no goal and no text."""
    return FrameResult(frame.stamp_ns, frame.frame_id, frame.size,
                       access.loaded.model.tokenizer_id, goal='', goal_id=0, answer='',
                       complete=True, regions=regions)
