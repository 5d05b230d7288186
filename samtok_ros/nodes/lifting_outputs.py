# SPDX-License-Identifier: Apache-2.0
"""What the lifting node publishes; every output has the stamp and frame of its image."""

from collections.abc import Iterable

import numpy as np
from sensor_msgs.msg import PointCloud2
from visualization_msgs.msg import MarkerArray

from samtok_ros.lifting.target import LiftedTarget, LiftStatus
from samtok_ros.msg import LiftedTarget as LiftedTargetMessage
from samtok_ros.nodes.cloud_messages import flat_cloud, organised_cloud
from samtok_ros.nodes.conversions import header_of
from samtok_ros.nodes.lifted_messages import (
    Ages,
    outcome_to_markers,
    outcome_to_message,
    to_detections_3d,
)
from samtok_ros.nodes.managed_node import ManagedNode
from samtok_ros.nodes.publishers import (
    OutputPublisher,
    OutputSet,
    latched_qos,
    picture_qos,
    results_qos,
)
from samtok_ros.nodes.vision_messages import vision_types
from samtok_ros.runtime.lifting_records import MaskedThing, Outcome

_NOTHING = np.empty((0, 3), np.float32)


class LiftingOutputs:
    """The publishers of the lifting node, from configure to cleanup."""

    def __init__(self, node: ManagedNode) -> None:
        """Create the publishers; silent while the node is inactive.

        Raises:
            ConfigError: QoS overrides of one cannot be used.
        """
        self._node = node
        self._outputs = OutputSet(node.create_output)
        self._points = self._outputs.add(PointCloud2, 'target/points', latched_qos())
        self._box = self._outputs.add(LiftedTargetMessage, 'target/box', latched_qos())
        self._markers = self._outputs.add(MarkerArray, 'markers', latched_qos())
        self._scene: OutputPublisher | None = None
        self._detections: OutputPublisher | None = None
        self._vision = vision_types()
        if node.settings.scene.enabled:
            self._scene = self._outputs.add(PointCloud2, 'scene/points', picture_qos())
        if self._vision is not None:
            self._detections = self._outputs.add(self._vision.Detection3DArray, 'detections_3d',
                                                 results_qos())

    @property
    def all(self) -> tuple[OutputPublisher, ...]:
        """The publishers that there are."""
        return tuple(self._outputs)

    @property
    def wants_scene(self) -> bool:
        """True while somebody listens to the scene."""
        return self._scene is not None and self._scene.subscribers > 0

    @property
    def wants_detections(self) -> bool:
        """True while somebody listens to the boxes of all regions."""
        return self._detections is not None and self._detections.subscribers > 0

    def destroy(self) -> None:
        """End the publishers."""
        self._outputs.destroy()

    def publish(self, outcome: Outcome) -> None:
        """Publish what became of the target; the points only where they can be used."""
        header = header_of(outcome.masks)
        is_good = outcome.status == LiftStatus.OK
        points_m = outcome.lifted.surface.points_m if is_good else _NOTHING
        self._points.publish(flat_cloud(header, points_m))
        now_ns = self._node.ros_now_ns()
        self._box.publish(outcome_to_message(outcome, Ages.of(outcome.masks, now_ns)))
        self._markers.publish(outcome_to_markers(outcome))

    def publish_scene(self, outcome: Outcome, points_m: np.ndarray) -> None:
        """Publish (H, W, 3) points of everything but the target."""
        self._scene.publish(organised_cloud(header_of(outcome.masks), points_m))

    def publish_detections(
        self, outcome: Outcome, found: Iterable[tuple[MaskedThing, LiftedTarget]],
    ) -> None:
        """Publish the boxes of all regions."""
        self._detections.publish(to_detections_3d(outcome.masks, found, self._vision))
