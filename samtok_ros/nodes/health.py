# SPDX-License-Identifier: Apache-2.0
"""What diagnostics say: one status per part of a node, published once a second."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

_PERIOD_S = 1.0
_LOGGED_AFTER_S = 5.0


class Level(IntEnum):
    """How bad it is."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Health:
    """Status of one part.

    Attributes:
        level: how bad it is.
        message: one line; for anything but OK it says what to do.
        values: facts, in the order they are shown.
    """

    level: Level
    message: str
    values: Mapping[str, object] = field(default_factory=dict)


class HealthLog:
    """Says in the log what diagnostics say, for those who see no diagnostics.

    Once for each part that is not well for a while, since a camera may be late and a node has just
    begun; and once when that is over.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._logged: set[str] = set()

    def lines(self, parts: Mapping[str, Health], now_s: float) -> list[tuple[Level, str]]:
        """Return what is to be logged.

        Args:
            parts: status of each part.
            now_s: on a clock that always runs.
        """
        found = []
        for part, health in parts.items():
            if health.level is Level.OK:
                self._since.pop(part, None)
                if part in self._logged:
                    self._logged.discard(part)
                    found.append((Level.OK, f'{part}: {health.message}'))
                continue
            since = self._since.setdefault(part, now_s)
            if part not in self._logged and now_s - since >= _LOGGED_AFTER_S:
                self._logged.add(part)
                found.append((health.level, f'{part}: {health.message}'))
        return found


class HealthReporter:
    """Publishes the statuses of a node on /diagnostics, in every lifecycle state."""

    def __init__(self, node: Node, parts: Callable[[], Mapping[str, Health]]) -> None:
        """Start to publish.

        Args:
            node: the statuses are those of.
            parts: returns the status of each part by name.
        """
        self._node = node
        self._parts = parts
        self._log, self._log_lock = HealthLog(), threading.Lock()
        self._name = node.get_fully_qualified_name().lstrip('/')
        # The topic is the one absolute name: aggregators listen to it for the whole robot.
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        # Wall time: with use_sim_time and no clock, this is where one reads why nothing happens.
        self._timer = node.create_timer(
            _PERIOD_S, self.publish, callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._news = node.create_guard_condition(
            self.publish, callback_group=MutuallyExclusiveCallbackGroup())

    def soon(self) -> None:
        """Publish as soon as the executor has a thread for it; from any thread, with any lock."""
        with suppress(InvalidHandle):  # The node is gone, and nobody asks any more.
            self._news.trigger()

    def publish(self) -> None:
        """Publish now; also called on events that somebody may wait for."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        parts = self._parts()
        device = str(parts['model'].values.get('device', '')) if 'model' in parts else ''
        message.status = [
            DiagnosticStatus(
                level=bytes([health.level]), name=f'{self._name}: {part}', message=health.message,
                hardware_id=device,
                values=[KeyValue(key=key, value=str(value))
                        for key, value in health.values.items()])
            for part, health in parts.items()]
        self._publisher.publish(message)
        with self._log_lock:
            lines = self._log.lines(parts, time.monotonic())
        for level, line in lines:
            self._say(level, line)

    def _say(self, level: Level, line: str) -> None:
        logger = self._node.get_logger()
        # One call for each: rclpy refuses a second severity from the same place.
        if level is Level.ERROR:
            logger.error(line)
        elif level is Level.WARN:
            logger.warning(line)
        else:
            logger.info(line)
