# SPDX-License-Identifier: Apache-2.0
"""A subscription that goes by what is published: raw or compressed, reliable or best effort."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSPolicyKind, QoSProfile, QoSReliabilityPolicy

from samtok_ros.errors import ConfigError
from samtok_ros.nodes.raw_subscription import RawSubscription, type_name
from samtok_ros.runtime.problems import ProblemLog

AUTO = 'auto'


class DepthSubscription(RawSubscription):
    """A subscription whose reliability is chosen while it lives.

    qos_overrides would hold on to the first one: their parameters keep the value they began with.
    """

    reliability_setting = 'depth.reliability'
    overridable = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)


@dataclass(frozen=True)
class Way:
    """One form in which the same things are published.

    Attributes:
        message_type: of its topic.
        topic: relative or resolved name.
        handler: takes a message; must return at once, may raise a SamtokError.
    """

    message_type: type
    topic: str
    handler: Callable[[Any], None]


class ChosenSubscription:
    """Subscribes in the first way that somebody publishes, as reliably as all of them offer.

    Large best-effort messages are lost with any of their parts, and a reader that asks for more
    than is offered hears nothing; so whoever cannot know the sender looks first.
    """

    def __init__(self, node: Node, ways: Sequence[Way], reliability: str, queue: int,
                 group: CallbackGroup, problems: ProblemLog, problem: str) -> None:
        """Subscribe.

        Args:
            node: it belongs to.
            ways: the preferred one first.
            reliability: best_effort, reliable, or auto for what the publishers offer.
            queue: messages that the middleware keeps for us.
            group: callback group of the handlers.
            problems: told of messages that cannot be used.
            problem: kind under which they are counted.
        Raises:
            ConfigError: QoS overrides cannot be used.
        """
        self._node = node
        self._ways = tuple(ways)
        self._reliability = reliability
        self._queue = queue
        self._group = group
        self._problems = problems
        self._problem = problem
        self._lock = threading.Lock()
        self._ended = False
        self._chosen = self._choice(self._ways[0], 'best_effort')
        self.current = self._subscribe(*self._chosen)

    def look(self) -> None:
        """Go over to what is published now; call it once or twice a second."""
        with self._lock:
            choice = self._choice(*self._chosen)
            if self._ended or choice == self._chosen:
                return
            try:
                subscription = self._subscribe(*choice)
            except ConfigError as error:
                self._problems.report(self._problem, str(error))
                return
            self.current.destroy()
            self.current, self._chosen = subscription, choice
        self._node.get_logger().info(f'subscribed to {self.describe()}')

    def describe(self) -> str:
        """Say what is subscribed."""
        return f'{self.current.topic} ({self._chosen[1]})'

    def ask(self, question: Callable[[RawSubscription], Any], otherwise: Any) -> Any:
        """Return what a question about the subscription gives, `otherwise` when it has ended."""
        with self._lock:
            return otherwise if self._ended else question(self.current)

    def destroy(self) -> None:
        """End the subscription."""
        with self._lock:
            self._ended = True
            self.current.destroy()

    def _choice(self, way: Way, reliability: str) -> tuple[Way, str]:
        """Return way and reliability to use; those given where nobody publishes."""
        offers = {way: [info.qos_profile.reliability for info in
                        self._node.get_publishers_info_by_topic(
                            self._node.resolve_topic_name(way.topic))
                        if info.topic_type == type_name(way.message_type)]
                  for way in self._ways}
        way = next((way for way in self._ways if offers[way]), way)
        if self._reliability != AUTO:
            return way, self._reliability
        if offers[way]:
            all_reliable = set(offers[way]) == {QoSReliabilityPolicy.RELIABLE}
            reliability = 'reliable' if all_reliable else 'best_effort'
        return way, reliability

    def _subscribe(self, way: Way, reliability: str) -> DepthSubscription:
        qos = QoSProfile(depth=self._queue, reliability=QoSReliabilityPolicy[reliability.upper()])
        return DepthSubscription(self._node, way.message_type, way.topic, way.handler, qos,
                                 self._group, self._problems, self._problem)
