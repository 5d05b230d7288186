# SPDX-License-Identifier: Apache-2.0
"""Outputs of the nodes: QoS profiles, and publishers that report what they cannot send."""

from collections.abc import Callable, Iterator
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.exceptions import InvalidHandle
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from samtok_ros.nodes.middleware_errors import check_depth, checked_overrides
from samtok_ros.nodes.peer_names import PeersToReport, full_name
from samtok_ros.runtime.problems import ProblemLog

_OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY,
                QoSPolicyKind.DURABILITY)


def results_qos() -> QoSProfile:
    """Words and masks: small, must not be lost; a burst of streamed ones fits in."""
    return QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)


def latched_qos() -> QoSProfile:
    """The newest one, also for those who come later."""
    return QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE,
                      durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def picture_qos() -> QoSProfile:
    """Large and for people: the newest one."""
    return QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)


class OutputPublisher:
    """A lifecycle publisher for one output."""

    def __init__(
        self, node: LifecycleNodeMixin, message_type: type, topic: str, qos: QoSProfile,
        problems: ProblemLog,
    ) -> None:
        """Create the publisher; QoS can be overridden by parameters.

        Raises:
            ConfigError: the QoS overrides cannot be used.
        """
        # Resolved name; events of the publisher may ask for it before it is here.
        self.topic = node.resolve_topic_name(topic)
        self._node = node
        self._problems = problems
        self._qos = qos
        self._to_report = PeersToReport()
        with checked_overrides(f'publish {topic}'):
            self._publisher = node.create_lifecycle_publisher(
                message_type, topic, qos,
                event_callbacks=PublisherEventCallbacks(
                    incompatible_qos=lambda _: self.report_incompatible()),
                qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE, callback=check_depth))

    @property
    def subscribers(self) -> int:
        """Subscriptions that are matched now; none when the publisher is ended."""
        try:
            return self._publisher.get_subscription_count()
        except InvalidHandle:
            return 0

    def publish(self, message: Any) -> None:
        """Publish; a message that cannot be sent is reported."""
        try:
            self._publisher.publish(message)
        except Exception as error:  # Whatever the middleware raises; the node goes on.
            self._problems.report('publish_failed', f'{self.topic}: {error}')

    def destroy(self) -> None:
        """End it; the generic call would leave it among the managed entities."""
        self._node.destroy_lifecycle_publisher(self._publisher)

    def report_incompatible(self) -> None:
        """Report subscriptions that we cannot reach, each once; call it once a second."""
        infos = self._node.get_subscriptions_info_by_topic(self.topic)
        names = self._to_report.pick(info for info in infos if self._lacks(info.qos_profile))
        if names:
            lacking = sorted({policy for info in infos if full_name(info) in names
                              for policy in self._lacks(info.qos_profile)})
            self._problems.report(
                'bad_output_qos', f'subscription of {", ".join(names)} on {self.topic} asks for '
                f'{" and ".join(lacking)} that is not offered: nothing arrives there. Ask for less '
                f'there, or set qos_overrides.{self.topic}.publisher.{lacking[0]} here')

    def _lacks(self, wanted: QoSProfile) -> list[str]:
        """Return the policies in which a subscription wants more than there is."""
        ours = self._qos
        lacks = {
            'durability': wanted.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
            and ours.durability == QoSDurabilityPolicy.VOLATILE,
            'reliability': wanted.reliability == QoSReliabilityPolicy.RELIABLE
            and ours.reliability == QoSReliabilityPolicy.BEST_EFFORT}
        return [policy for policy, is_lacking in lacks.items() if is_lacking]


class OutputSet:
    """Publishers that are made and ended together; when one cannot be made, those before it end."""

    def __init__(
        self, create: Callable[[type, str, QoSProfile], OutputPublisher],
    ) -> None:
        """Begin with none.

        Args:
            create: makes a publisher, such as ManagedNode.create_output.
        """
        self._create = create
        self._made: list[OutputPublisher] = []

    def __iter__(self) -> Iterator[OutputPublisher]:
        """Go through the publishers in the order in which they were made."""
        return iter(self._made)

    def add(self, message_type: type, topic: str, qos: QoSProfile) -> OutputPublisher:
        """Create one more publisher.

        Raises:
            ConfigError: its QoS overrides cannot be used; all of the set are ended.
        """
        try:
            output = self._create(message_type, topic, qos)
        except BaseException:
            self.destroy()
            raise
        self._made.append(output)
        return output

    def destroy(self) -> None:
        """End the publishers."""
        for output in self._made:
            output.destroy()
