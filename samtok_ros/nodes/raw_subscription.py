# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that survive damaged messages and say why nothing arrives."""

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.bounds import check_bounds
from samtok_ros.nodes.middleware_errors import check_depth, checked_overrides, first_line
from samtok_ros.runtime.problems import ProblemLog

_LOOKS_FOR_A_NAME = 5


class RawSubscription:
    """Takes messages as bytes and reads them itself.

    The middleware drops a message it cannot read without a word to us; here it is counted and
    reported. Everything a handler raises on purpose ends as a report as well, so that no message
    can stop the node.
    """

    reliability_setting = 'input.reliability'
    """The parameter that chooses its reliability, for advice."""

    overridable = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY)
    """What qos_overrides may change."""

    def __init__(
        self, node: Node, message_type: type, topic: str, handler: Callable[[Any], None],
        qos: QoSProfile, group: CallbackGroup, problems: ProblemLog, problem: str,
    ) -> None:
        """Subscribe.

        Args:
            node: it belongs to.
            message_type: of the topic.
            topic: relative name.
            handler: takes a message; must return at once, may raise a SamtokError.
            qos: default; history, depth and reliability can be overridden by parameters.
            group: callback group of the handler.
            problems: told of damaged and refused messages and of QoS that does not fit.
            problem: kind under which they are counted; those of QoS have _qos behind it.
        Raises:
            ConfigError: the QoS overrides cannot be used.
        """
        # Resolved name; events of the subscription may ask for it before that is here.
        self.topic = node.resolve_topic_name(topic)
        self._node = node
        self._type = message_type
        self._handler = handler
        self._problems = problems
        self._problem = problem
        self.qos = qos
        self.lost = 0
        """Messages that were sent to us and lost on the way, where the middleware counts them."""
        self._reported: set[str] = set()
        self._policy = 'reliability'
        self._looks = 0
        with checked_overrides(f'subscribe to {topic}'):
            self.subscription = node.create_subscription(
                message_type, topic, self._on_bytes, qos, callback_group=group, raw=True,
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=self._on_incompatible, message_lost=self._on_lost),
                qos_overriding_options=QoSOverridingOptions(
                    self.overridable, callback=_check_bounds))

    @property
    def matched(self) -> int:
        """Publishers that the middleware has connected us to."""
        return self.subscription.get_publisher_count()

    def destroy(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self.subscription)

    def publishers(self) -> list[str]:
        """Name the publishers on the topic with their QoS, those that cannot reach us marked."""
        lines = []
        for info in self._infos():
            profile = info.qos_profile
            line = f'{_full_name(info)} ({profile.reliability.name.lower()})'
            if self._cannot_hear(profile):
                line += ' INCOMPATIBLE'
            if info.topic_type != type_name(self._type):
                line += f' OF TYPE {info.topic_type}'
            lines.append(line)
        return lines

    def why_silent(self) -> str:
        """Say why nothing comes from the publishers on the topic, '' when there are none."""
        infos = self._infos()
        fitting = [info for info in infos if info.topic_type == type_name(self._type)]
        deaf_to = [info for info in fitting if self._cannot_hear(info.qos_profile)]
        if not infos:
            return ''
        if not fitting:
            return (f'{_names(infos)} publishes {infos[0].topic_type} on {self.topic}, not '
                    f'{type_name(self._type)}: remap it to the topic that is meant')
        if len(deaf_to) == len(fitting):
            return (f'the QoS of {_names(deaf_to)} on {self.topic} does not fit: it offers '
                    f'{self._policy} BEST_EFFORT, we ask for RELIABLE. Set '
                    f'{self.reliability_setting} to best_effort')
        if self.lost:
            return (f'all that {_names(fitting)} sends on {self.topic} is lost on the way '
                    f'({self.lost} messages): send compressed or smaller images, raise the '
                    f'socket buffers, or set {self.reliability_setting} to reliable')
        return f'{_names(fitting)} on {self.topic} sends nothing'

    def report_incompatible(self) -> None:
        """Report publishers that cannot reach us, each once; call it once a second.

        The middleware's event says at once that there is one, but often not yet which: names of
        nodes come a little later than their publishers.
        """
        culprits = {_full_name(info) for info in self._infos()
                    if self._cannot_hear(info.qos_profile)} - self._reported
        named = {name for name in culprits if 'UNKNOWN' not in name}
        self._looks = self._looks + 1 if culprits else 0
        if named or self._looks >= _LOOKS_FOR_A_NAME:
            self._reported |= named or culprits
            self._problems.report(
                f'{self._problem}_qos', f'publisher {", ".join(sorted(named or culprits))} on '
                f'{self.topic} offers incompatible {self._policy}: nothing arrives from it')

    def _on_bytes(self, data: bytes) -> None:
        try:
            message = deserialize_message(data, self._type)
        except Exception as error:  # Whatever the middleware's reader raises on damaged bytes.
            self._problems.report(self._problem, f'message on {self.topic} cannot be read and is '
                                  f'dropped: {len(data)} bytes, {first_line(error)}')
            return
        try:
            check_bounds(message)
            self._handler(message)
        except SamtokError as error:
            self._problems.report(self._problem,
                                  f'message on {self.topic} is refused{_stamp(message)}: {error}')

    def _on_incompatible(self, event: Any) -> None:
        self._policy = QoSPolicyKind(event.last_policy_kind).name.lower()
        self.report_incompatible()

    def _on_lost(self, event: Any) -> None:
        self.lost = event.total_count

    def _infos(self) -> list[Any]:
        return self._node.get_publishers_info_by_topic(self.topic)

    def _cannot_hear(self, offered: QoSProfile) -> bool:
        return (self.qos.reliability == QoSReliabilityPolicy.RELIABLE
                and offered.reliability == QoSReliabilityPolicy.BEST_EFFORT)


def type_name(message_type: type) -> str:
    """Return the name of a message type as the graph shows it, sensor_msgs/msg/Image."""
    package, kind = message_type.__module__.split('.')[:2]
    return f'{package}/{kind}/{message_type.__name__}'


def _check_bounds(qos: QoSProfile) -> SetParametersResult:
    if qos.history == QoSHistoryPolicy.KEEP_ALL:
        return SetParametersResult(successful=False, reason='keep_all would fill the memory')
    return check_depth(qos)


def _names(infos: list[Any]) -> str:
    return ', '.join(sorted({_full_name(info) for info in infos}))


def _full_name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


def _stamp(message: Any) -> str:
    header = getattr(message, 'header', None)
    return f' (stamp {header.stamp.sec}.{header.stamp.nanosec:09})' if header else ''
