# SPDX-License-Identifier: Apache-2.0
"""Messages of the very same image from several topics, and their pixels as arrays."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image

# Three seconds of a fast camera: a mask comes later than its image.
IMAGES_KEPT = 90
LATCHED = QoSProfile(depth=5, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
CAMERA = qos_profile_sensor_data
RESULTS = QoSProfile(depth=10)


class SameStamp:
    """Hands messages on together when one with the very same stamp has come on each topic.

    Not a similar stamp: while anything moves, depth of another moment is depth of something else.
    """

    def __init__(self, node: Node, use: Callable, **topics: tuple[type, str, QoSProfile]) -> None:
        """Subscribe; each keyword is the name under which `use` gets its message."""
        self.use, self.names = use, set(topics)
        self.waiting: OrderedDict[tuple[int, int], dict] = OrderedDict()
        for name, (kind, topic, qos) in topics.items():
            node.create_subscription(
                kind, topic, lambda message, name=name: self.put(name, message), qos)

    def put(self, name: str, message) -> None:
        """Keep a message until all others of its stamp are there."""
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        messages = self.waiting.setdefault(stamp, {})
        messages[name] = message
        if set(messages) == self.names:
            self.use(**self.waiting.pop(stamp))
        while len(self.waiting) > IMAGES_KEPT:
            self.waiting.popitem(last=False)


def pixels(message: Image, kind: str, channels: int = 1) -> np.ndarray:
    """Return (H, W) or (H, W, channels) of a type such as 'u1', 'u2' or 'f4', without padding."""
    dtype = np.dtype(('>' if message.is_bigendian else '<') + kind)
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    width = message.width * channels * dtype.itemsize
    values = np.ascontiguousarray(rows[:, :width]).view(dtype).astype(dtype.newbyteorder('='))
    return values if channels == 1 else values.reshape(message.height, message.width, channels)


def depth_in_metres(message: Image) -> np.ndarray:
    """Return (H, W) float32 metres, 0 where nothing was measured; the encoding says the unit."""
    if message.encoding not in ('16UC1', '32FC1'):
        raise ValueError(f'depth image has encoding {message.encoding!r}, not 16UC1 or 32FC1')
    kind, unit_m = ('u2', 0.001) if message.encoding == '16UC1' else ('f4', 1.0)
    depth_m = pixels(message, kind).astype(np.float32) * np.float32(unit_m)
    return np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, np.float32(0))


def misfit(**messages) -> str:
    """Say what keeps messages from being of one image; '' when nothing does."""
    first, *others = messages
    facts = {name: ((message.header.stamp.sec, message.header.stamp.nanosec),
                    message.header.frame_id, (message.width, message.height))
             for name, message in messages.items()}
    for name in others:
        for what, mine, wanted in zip(('stamp', 'frame', 'size'), facts[name], facts[first],
                                      strict=True):
            if mine != wanted:
                return f'{name} has {what} {mine}, {first} has {wanted}'
    return ''
