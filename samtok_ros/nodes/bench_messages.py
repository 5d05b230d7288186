# SPDX-License-Identifier: Apache-2.0
"""The way of an image through real messages, for the benchmark: bytes in, bytes out.

Everything but the transport: serialising, checking and converting as the nodes do it.
"""

from collections.abc import Sequence

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from samtok_ros.masks.boxes import with_mask
from samtok_ros.msg import MaskWords, RegionMasks
from samtok_ros.nodes.bounds import check_bounds
from samtok_ros.nodes.conversions import (
    byte_array,
    image_to_frame,
    ns_to_stamp,
    result_to_masks,
    result_to_words,
    words_to_result,
)
from samtok_ros.regions import Region
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.records import FrameResult

_TOKENIZER_ID, _GOAL = 'bench@0', 'the red box'
_MAX_PIXELS = 20_000_000


class MessagePath:
    """What lies between a camera's message and the messages that go out."""

    def image_message(self, image_rgb: np.ndarray, stamp_ns: int) -> bytes:
        """Return (H, W, 3) uint8 as the bytes of an image message."""
        height, width = image_rgb.shape[:2]
        return serialize_message(Image(
            header=Header(stamp=ns_to_stamp(stamp_ns), frame_id='camera'), height=height,
            width=width, encoding='rgb8', step=3 * width, data=byte_array(image_rgb)))

    def image_in(self, data: bytes) -> Frame:
        """Take the bytes of an image message as a node does."""
        message = deserialize_message(data, Image)
        check_bounds(message)
        return image_to_frame(message, _MAX_PIXELS)

    def words_through(self, frame: Frame, codes: np.ndarray, answer: str) -> FrameResult:
        """Send words from one node to the other."""
        regions = [_region(number, row) for number, row in enumerate(codes, start=1)]
        data = serialize_message(result_to_words(_result(frame, regions, answer)))
        message = deserialize_message(data, MaskWords)
        check_bounds(message)
        return words_to_result(message)

    def masks_out(self, frame: Frame, codes: np.ndarray, masks: np.ndarray) -> RegionMasks:
        """Send (N, H, W) bool masks and read them as a listener does."""
        regions = [with_mask(_region(number, row), mask, 1.0)
                   for number, (row, mask) in enumerate(zip(codes, masks, strict=True), start=1)]
        data = serialize_message(result_to_masks(_result(frame, regions, '')))
        return deserialize_message(data, RegionMasks)


def _region(number: int, codes: np.ndarray) -> Region:
    return Region(number, tuple(codes.tolist()), _GOAL, 1.0)


def _result(frame: Frame, regions: Sequence[Region], answer: str) -> FrameResult:
    return FrameResult(frame.stamp_ns, frame.frame_id, frame.size, _TOKENIZER_ID, _GOAL, 1, answer,
                       True, tuple(regions))
