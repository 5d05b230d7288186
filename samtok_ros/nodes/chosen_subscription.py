# SPDX-License-Identifier: Apache-2.0
"""A subscription that goes by what is published: raw or compressed, reliable or best effort."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy

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
        latched: what was sent before we came is wanted too, where all publishers keep it.
    """

    message_type: type
    topic: str
    handler: Callable[[Any], None]
    latched: bool = False


class _Choice(NamedTuple):
    """What is subscribed: a way, and the names of two QoS values."""

    way: Way
    reliability: str = 'best_effort'
    durability: str = 'volatile'


class ChosenSubscription:
    """Subscribes in the first way that somebody publishes, with the QoS that all of them offer.

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
        self._chosen = self._choice(_Choice(self._ways[0]))
        self.current = self._subscribe(self._chosen)

    def look(self) -> None:
        """Go over to what is published now; call it once or twice a second."""
        with self._lock:
            choice = self._choice(self._chosen)
            if self._ended or choice == self._chosen:
                return
            try:
                subscription = self._subscribe(choice)
            except ConfigError as error:
                self._problems.report(self._problem, str(error))
                return
            self.current.destroy()
            self.current, self._chosen = subscription, choice
        self._node.get_logger().info(f'subscribed to {self.describe()}')

    def describe(self) -> str:
        """Say what is subscribed."""
        latched = ', transient local' if self.is_latched else ''
        return f'{self.current.topic} ({self._chosen.reliability}{latched})'

    @property
    def is_latched(self) -> bool:
        """True where one message, sent before we came or once for all, is enough."""
        return self._chosen.durability == 'transient_local'

    def listen_again(self) -> None:
        """Be given once more what publishers keep, where they do: it was forgotten here."""
        with self._lock:
            if self._ended or not self.is_latched:
                return
            before, self.current = self.current, self._subscribe(self._chosen)
            before.destroy()

    def ask(self, question: Callable[[RawSubscription], Any], otherwise: Any) -> Any:
        """Return what a question about the subscription gives, `otherwise` when it has ended."""
        with self._lock:
            return otherwise if self._ended else question(self.current)

    def destroy(self) -> None:
        """End the subscription."""
        with self._lock:
            self._ended = True
            self.current.destroy()

    def _choice(self, now: _Choice) -> _Choice:
        """Return what to subscribe; what is now where nobody publishes."""
        offers = {way: [info.qos_profile for info in self._node.get_publishers_info_by_topic(
                            self._node.resolve_topic_name(way.topic))
                        if info.topic_type == type_name(way.message_type)]
                  for way in self._ways}
        way = next((way for way in self._ways if offers[way]), now.way)
        choice = now._replace(way=way)
        if offers[way]:
            all_reliable = {one.reliability for one in offers[way]} == {
                QoSReliabilityPolicy.RELIABLE}
            all_keep = {one.durability for one in offers[way]} == {
                QoSDurabilityPolicy.TRANSIENT_LOCAL}
            choice = _Choice(way, 'reliable' if all_reliable else 'best_effort',
                             'transient_local' if way.latched and all_keep else 'volatile')
        return choice if self._reliability == AUTO else choice._replace(
            reliability=self._reliability)

    def _subscribe(self, choice: _Choice) -> DepthSubscription:
        qos = QoSProfile(depth=self._queue,
                         reliability=QoSReliabilityPolicy[choice.reliability.upper()],
                         durability=QoSDurabilityPolicy[choice.durability.upper()])
        way = choice.way
        return DepthSubscription(self._node, way.message_type, way.topic, way.handler, qos,
                                 self._group, self._problems, self._problem)
