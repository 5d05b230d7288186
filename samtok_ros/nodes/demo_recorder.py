# SPDX-License-Identifier: Apache-2.0
"""Record what the nodes publish, as it came over the wire, into a bag."""

import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from samtok_ros.bring_up.installed import find_shared
from samtok_ros.demo.bag_file import BagWriter, register_types, standard_types
from samtok_ros.demo.replay_clock import ReplayClock
from samtok_ros.msg import LiftedTarget, MaskWords, RegionMasks

OUTPUTS = {'mask_words': MaskWords, 'masks': RegionMasks, 'target/mask': Image,
           'target/points': PointCloud2, 'target/box': LiftedTarget,
           'overlay/compressed': CompressedImage}
_LATCHED = {'target/mask', 'target/points', 'target/box'}
_ANSWERED = (RegionMasks.OK, RegionMasks.NO_TARGET, RegionMasks.TRUNCATED, RegionMasks.FAILED)
# All recorded types begin with a header: 4 bytes of encapsulation, then seconds and nanoseconds.
_STAMP = struct.Struct('<iI')
_STAMP_AT = 4


class Recorder:
    """Subscribes to the outputs of the nodes; use it in a with statement.

    A result's time in the bag is the stamp of its image plus the time that has passed since the
    image was due, so time minus stamp is the latency, whatever happened to the clock meanwhile.

    Args:
        node: spun in another thread.
        path: folder of the bag.
        clock: knows when each image was due.
    Raises:
        ConfigError: the folder exists.
    """

    def __init__(self, node: Node, path: Path, clock: ReplayClock) -> None:
        types = standard_types()
        register_types(types, 'samtok_ros', find_shared('msg'))
        self._clock = clock
        self._lock = threading.Condition()
        self._bag: BagWriter | None = BagWriter(path, types)
        self._bag.__enter__()
        self._answers: dict[int, set[int]] = {}
        self._stamps: dict[str, set[int]] = {topic: set() for topic in OUTPUTS}
        self._last_news_s = time.monotonic()
        self._names = {topic: node.resolve_topic_name(topic) for topic in OUTPUTS}
        self.subscriptions = {
            topic: node.create_subscription(kind, topic, self._writer_of(topic), _qos(topic),
                                            raw=True)
            for topic, kind in OUTPUTS.items()}

    def __enter__(self) -> 'Recorder':
        """Do nothing: it records already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close the bag; what comes later is ignored."""
        with self._lock:
            bag, self._bag = self._bag, None
            bag.__exit__(kind, error, trace)

    def write(self, topic: str, message_type: str, time_ns: int, data: bytes) -> None:
        """Add a message of our own."""
        with self._lock:
            if self._bag is not None:
                self._bag.write(topic, message_type, time_ns, data)

    def answered(self, goal_id: int) -> frozenset[int]:
        """Return the stamps of the images in which the model has answered a goal."""
        with self._lock:
            return frozenset(self._answers.get(goal_id, ()))

    def stamps(self, *topics: str) -> frozenset[int]:
        """Return the stamps of the images of which something has come on each of some outputs."""
        with self._lock:
            return frozenset(set.intersection(*(self._stamps[topic] for topic in topics)))

    def wait_for(self, done: Callable[[], bool], quiet_s: float) -> bool:
        """Wait until `done` says so; False when nothing has come for a time."""
        with self._lock:
            self._last_news_s = time.monotonic()
            while not done():
                left = self._last_news_s + quiet_s - time.monotonic()
                if left <= 0:
                    return False
                self._lock.wait(min(left, 0.1))
        return True

    def _writer_of(self, topic: str) -> Callable[[bytes], None]:
        return lambda data: self._on_bytes(topic, data)

    def _on_bytes(self, topic: str, data: bytes) -> None:
        seconds, nanoseconds = _STAMP.unpack_from(data, _STAMP_AT)
        stamp_ns = seconds * 1_000_000_000 + nanoseconds
        age_s = self._clock.age_s(stamp_ns)
        time_ns = self._clock.now_ns() if age_s is None else stamp_ns + round(age_s * 1e9)
        self.write(self._names[topic], _type_name(OUTPUTS[topic]), time_ns, data)
        answer = deserialize_message(data, RegionMasks) if topic == 'masks' else None
        with self._lock:
            self._stamps[topic].add(stamp_ns)
            if answer is not None:
                self._note_answer(answer, stamp_ns)
            self._last_news_s = time.monotonic()
            self._lock.notify_all()

    def _note_answer(self, message: RegionMasks, stamp_ns: int) -> None:
        if (message.origin != RegionMasks.ANSWERED or not message.complete
                or message.status not in _ANSWERED):
            return
        self._answers.setdefault(message.goal_id, set()).add(stamp_ns)
        if message.status == RegionMasks.FAILED:
            self._stamps['target/mask'].add(stamp_ns)  # none will come


def _type_name(kind: Any) -> str:
    package, folder = kind.__module__.split('.')[:2]
    return f'{package}/{folder}/{kind.__name__}'


def _qos(topic: str) -> QoSProfile:
    """Deep queues: nothing may be lost between two of our own programs."""
    return QoSProfile(
        depth=1000, reliability=QoSReliabilityPolicy.RELIABLE,
        durability=(QoSDurabilityPolicy.TRANSIENT_LOCAL if topic in _LATCHED
                    else QoSDurabilityPolicy.VOLATILE))
