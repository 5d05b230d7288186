# SPDX-License-Identifier: Apache-2.0
"""Outputs of the nodes: QoS profiles, and publishers that report what they cannot send."""

from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNodeMixin
from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

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
        """Create the publisher; QoS can be overridden by parameters."""
        self._node = node
        self._problems = problems
        self._publisher = node.create_lifecycle_publisher(
            message_type, topic, qos,
            event_callbacks=PublisherEventCallbacks(incompatible_qos=self._on_incompatible),
            qos_overriding_options=QoSOverridingOptions(_OVERRIDABLE))

    @property
    def topic(self) -> str:
        """Resolved name of the topic."""
        return self._publisher.topic_name

    @property
    def subscribers(self) -> int:
        """Subscriptions that are matched now."""
        return self._publisher.get_subscription_count()

    def publish(self, message: Any) -> None:
        """Publish; a message that cannot be sent is reported."""
        try:
            self._publisher.publish(message)
        except Exception as error:  # Whatever the middleware raises; the node goes on.
            self._problems.report('publish_failed', f'{self.topic}: {error}')

    def destroy(self) -> None:
        """End it; the generic call would leave it among the managed entities."""
        self._node.destroy_lifecycle_publisher(self._publisher)

    def _on_incompatible(self, event: Any) -> None:
        policy = QoSPolicyKind(event.last_policy_kind).name.lower()
        names = [f'{info.node_namespace.rstrip("/")}/{info.node_name}'
                 for info in self._node.get_subscriptions_info_by_topic(self.topic)]
        self._problems.report(
            'incompatible_qos', f'a subscription on {self.topic} (one of {", ".join(names)}) asks '
            f'for a {policy} that we do not offer: nothing arrives there')
