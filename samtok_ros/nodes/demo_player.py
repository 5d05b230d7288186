# SPDX-License-Identifier: Apache-2.0
"""Play a camera bag as the camera would send it: raw and compressed, each only when asked for."""

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.demo.bag_file import BagMessage
from samtok_ros.demo.camera_bag import COLOUR_SUFFIX, DEPTH_SUFFIX, TF_STATIC_TOPIC
from samtok_ros.demo.replay_clock import ReplayClock
from samtok_ros.image.depth_codec import compressed_to_depth
from samtok_ros.image.encodings import MAX_PIXELS
from samtok_ros.nodes.conversions import byte_array, ns_to_stamp
from samtok_ros.runtime.compressed import decode_image

_CLOCK_PERIOD_S = 0.025
_LIVE_DEPTH, _LOSSLESS_DEPTH = 10, 1000


class BagPlayer:
    """Publishes the messages of a bag and the time in it.

    Args:
        node: publishers are its own.
        topics: message type by topic, of the bag.
        clock: time in the bag.
        lossless: keep all images until every subscriber has them.
    """

    def __init__(self, node: Node, topics: dict[str, str], clock: ReplayClock,
                 lossless: bool) -> None:
        self._clock = clock
        depth = _LOSSLESS_DEPTH if lossless else _LIVE_DEPTH
        self._clock_publisher = node.create_publisher(Clock, '/clock', QoSProfile(
            depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT))
        self._stored: dict[str, Any] = {}
        self._raw: dict[str, Any] = {}
        for topic, message_type in topics.items():
            kind = _message_class(message_type)
            if kind is None:
                get_logger('demo').info(f'{topic} is not played: {message_type} is not installed')
                continue
            self._stored[topic] = node.create_publisher(kind, topic, _qos(topic, depth))
            for suffix in (COLOUR_SUFFIX, DEPTH_SUFFIX):
                if topic.endswith(suffix):
                    base = topic.removesuffix(suffix)
                    self._raw[topic] = node.create_publisher(Image, base, _qos(base, depth))

    def listeners(self, topic: str) -> int:
        """Return how many subscribe to a topic of the bag, in its stored form or as raw images."""
        publishers = (self._stored.get(topic), self._raw.get(topic))
        return sum(publisher.get_subscription_count() for publisher in publishers if publisher)

    def play(self, message: BagMessage) -> None:
        """Publish a message when its time has come."""
        publish = self._prepared(message)
        self.sleep_until(message.time_ns)
        self.publish_clock()
        publish()

    def sleep_until(self, bag_ns: int) -> None:
        """Wait for a time in the bag, publishing the clock meanwhile."""
        while (left_s := self._clock.wait_s(bag_ns)) > 0:
            self.publish_clock()
            time.sleep(min(left_s, _CLOCK_PERIOD_S))

    def publish_clock(self) -> None:
        """Tell everybody what time it is in the bag."""
        self._clock_publisher.publish(Clock(clock=ns_to_stamp(self._clock.now_ns())))

    def _prepared(self, message: BagMessage) -> Callable[[], None]:
        """Do the slow part, decoding, before the message is due."""
        jobs: list[Callable[[], None]] = []
        if message.topic in self._raw:
            stored = deserialize_message(message.data, CompressedImage)
            stamp = stored.header.stamp
            jobs.append(lambda: self._clock.mark(stamp.sec * 1_000_000_000 + stamp.nanosec))
            publisher = self._raw[message.topic]
            if publisher.get_subscription_count():
                image = _raw_image(stored, message.topic)
                jobs.append(lambda: publisher.publish(image))
        publisher_as_stored = self._stored.get(message.topic)
        if publisher_as_stored is not None and (
                message.topic not in self._raw or publisher_as_stored.get_subscription_count()):
            jobs.append(lambda: publisher_as_stored.publish(message.data))
        return lambda: [job() for job in jobs]


def _raw_image(stored: CompressedImage, topic: str) -> Image:
    data = bytes(stored.data)
    if topic.endswith(DEPTH_SUFFIX):
        pixels, encoding = compressed_to_depth(data).astype('<u2', copy=False), '16UC1'
    else:
        pixels, encoding = decode_image(data, MAX_PIXELS), 'rgb8'
    return _image_message(stored.header, pixels, encoding)


def _image_message(header: Any, pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    return Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=0,
                 step=pixels.nbytes // height, data=byte_array(pixels))


def _message_class(message_type: str) -> type | None:
    """Return the class of a message type, None where its package is not installed."""
    package, folder, name = message_type.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.{folder}'), name)
    except ModuleNotFoundError:
        return None


def _qos(topic: str, depth: int) -> QoSProfile:
    if topic == TF_STATIC_TOPIC:
        return QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE,
                          durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    return QoSProfile(depth=depth, reliability=QoSReliabilityPolicy.RELIABLE)
