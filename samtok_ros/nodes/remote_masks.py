# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer node of another process, asked over its services."""

import array
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.client import Client
from rclpy.node import Node
from sensor_msgs.msg import RegionOfInterest

from samtok_ros.errors import DeviceError, ImageError, SpanError
from samtok_ros.msg import RegionMasks, RegionReference
from samtok_ros.nodes.conversions import ns_to_stamp, result_to_words
from samtok_ros.regions import BoxPrompt
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import Codes
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.references import Drawn, RunsReference
from samtok_ros.srv import DecodeMaskWords, EncodeMask

_PATIENCE_S = 30.0
_LOOK_UP_S = 0.05


class RemoteMaskTokenizer:
    """Satisfies `RemoteMasks`; any thread may wait here but that of an input or the worker."""

    def __init__(self, node: Node) -> None:
        """Look for the services in the namespace of a node."""
        self.tokenizer_id = ''
        group = ReentrantCallbackGroup()
        self._decoder = node.create_client(DecodeMaskWords, 'decode_mask_words',
                                           callback_group=group)
        self._encoder = node.create_client(EncodeMask, 'encode_mask', callback_group=group)

    def is_there(self) -> bool:
        """See RemoteMasks."""
        return self._decoder.service_is_ready() and self._encoder.service_is_ready()

    def encode(
        self, frame: Frame, drawn: Sequence[Drawn], should_stop: Callable[[], bool],
    ) -> tuple[Codes, ...]:
        """See RemoteMasks."""
        request = EncodeMask.Request(stamp=ns_to_stamp(frame.stamp_ns),
                                     regions=[_reference_of(one) for one in drawn])
        words = _answer_of(self._encoder, request, should_stop).words
        if words.tokenizer_id != self.tokenizer_id:
            raise SpanError(
                f'{self._encoder.srv_name} belongs to mask tokenizer {words.tokenizer_id!r}',
                expected=repr(self.tokenizer_id), fix='give both nodes the same model')
        if len(words.words) != len(drawn):
            raise SpanError(f'{self._encoder.srv_name} did not answer for every region',
                            expected=len(drawn), got=len(words.words))
        return tuple(tuple(word.codes) for word in words.words)

    def decode(self, result: FrameResult, should_stop: Callable[[], bool]) -> RegionMasks:
        """See RemoteMasks; a message, as the answer would be turned into the same one again."""
        words = result_to_words(result)
        request = DecodeMaskWords.Request(stamp=words.header.stamp, words=words.words,
                                          tokenizer_id=self.tokenizer_id)
        masks = _answer_of(self._decoder, request, should_stop).masks
        if (masks.height, masks.width) != (words.height, words.width):
            raise ImageError('the mask tokenizer has another image with this stamp',
                             expected=f'{words.height} x {words.width}',
                             got=f'{masks.height} x {masks.width}',
                             fix='give both nodes the same image topic')
        if masks.header.frame_id != words.header.frame_id:
            raise ImageError('the mask tokenizer has an image of another camera with this stamp',
                             expected=repr(words.header.frame_id),
                             got=repr(masks.header.frame_id),
                             fix='give each camera nodes of its own')
        masks.goal, masks.status = words.goal, words.status
        return masks


def _reference_of(drawn: Drawn) -> RegionReference:
    """Return the message for a reference; `reference_messages.to_references` is the inverse."""
    if isinstance(drawn, RunsReference):
        return RegionReference(kind=RegionReference.MASK, rle=array.array('I', drawn.runs.tolist()))
    if isinstance(drawn, BoxPrompt):
        left, top = int(drawn.left), int(drawn.top)
        return RegionReference(kind=RegionReference.BOX, box=RegionOfInterest(
            x_offset=left, y_offset=top, width=int(drawn.right) - left,
            height=int(drawn.bottom) - top))
    return RegionReference(kind=RegionReference.POINT, point_x=float(drawn.x),
                           point_y=float(drawn.y))


def _answer_of(client: Client, request: Any, should_stop: Callable[[], bool]) -> Any:
    """Call a service and wait.

    Raises:
        DeviceError: no answer in time, nobody wants it any more, or nobody is there to give it.
        ImageError: the answer is that it cannot be done.
    """
    done = threading.Event()
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    begun_s = time.monotonic()
    while not done.wait(_LOOK_UP_S):
        waited_s = time.monotonic() - begun_s
        is_there = client.service_is_ready()
        if is_there and waited_s < _PATIENCE_S and not should_stop():
            continue
        client.remove_pending_request(future)
        if not is_there:
            raise DeviceError(f'{client.srv_name} went away before it answered',
                              fix='start the mask_tokenizer node again')
        raise DeviceError(f'{client.srv_name} did not answer in time',
                          expected=f'an answer within {waited_s:.1f} s',
                          fix='look whether the mask tokenizer runs, and at its diagnostics')
    response = future.result()
    if not response.success:
        raise ImageError(f'{client.srv_name}: {response.message.rstrip(".")}')
    return response
