# SPDX-License-Identifier: Apache-2.0
"""Camera images in, frames out, and the reason when there are none."""

from collections.abc import Callable

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.config import InputSettings
from samtok_ros.nodes.conversions import compressed_to_frame, image_to_frame
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.statistics import Statistics

_WARN_AFTER_S = 1.0
_ERROR_AFTER_S = 5.0
_PROBLEM_WITHIN_S = 5.0


class ImageInput:
    """The image subscription of a node, raw or compressed."""

    def __init__(
        self, node: Node, settings: InputSettings, on_frame: Callable[[Frame], None],
        group: CallbackGroup, problems: ProblemLog, statistics: Statistics,
    ) -> None:
        """Subscribe.

        Args:
            node: it belongs to.
            settings: transport, QoS and limits.
            on_frame: called with each frame that can be used.
            group: callback group.
            problems: told of images that cannot be used.
            statistics: told of images that came.
        """
        self._node = node
        self._max_pixels = settings.max_megapixels * 1e6
        self._on_frame = on_frame
        self._problems = problems
        self._statistics = statistics
        self._last_format = ''
        compressed = settings.transport == 'compressed'
        self._other_topic = 'image' if compressed else 'image/compressed'
        qos = QoSProfile(depth=settings.depth,
                         reliability=QoSReliabilityPolicy[settings.reliability.upper()])
        self._subscription = RawSubscription(
            node, CompressedImage if compressed else Image,
            'image/compressed' if compressed else 'image',
            self._on_compressed if compressed else self._on_image, qos, group, problems,
            'bad_image')

    def destroy(self) -> None:
        """End the subscription."""
        self._subscription.destroy()

    def describe(self) -> str:
        """Say in one line what is subscribed, for the start-up summary."""
        qos = self._subscription.qos
        return (f'{self._subscription.topic} ({qos.reliability.name.lower()}, depth {qos.depth})')

    def health(self) -> Health:
        """Say whether images arrive, and if not, why."""
        self._subscription.report_incompatible()
        age = self._statistics.age_s('frames_in')
        values = {
            'topic': self._subscription.topic,
            'format': self._last_format,
            'rate_hz': f'{self._statistics.rate_hz("frames_in"):.1f}',
            'age_s': '' if age is None else f'{age:.2f}',
            'matched_publishers': self._subscription.matched,
            'publishers': ', '.join(self._subscription.publishers()) or 'none',
        }
        problem = self._problems.recent_of(('bad_image', 'incompatible_qos'), _PROBLEM_WITHIN_S)
        if age is None or age > _ERROR_AFTER_S:
            return Health(Level.ERROR, f'no image because {self._why_silent(problem)}', values)
        if problem:
            return Health(Level.ERROR, problem, values)
        if age > _WARN_AFTER_S:
            return Health(Level.WARN, f'no image for {age:.1f} s', values)
        return Health(Level.OK, 'images arrive', values)

    def _on_image(self, message: Image) -> None:
        frame = image_to_frame(message, self._max_pixels)
        self._last_format = f'{message.encoding} {message.width}x{message.height}'
        self._take(frame)

    def _on_compressed(self, message: CompressedImage) -> None:
        frame = compressed_to_frame(message, self._max_pixels)
        self._last_format = message.format
        self._take(frame)

    def _take(self, frame: Frame) -> None:
        self._statistics.tick('frames_in')
        self._on_frame(frame)

    def _why_silent(self, problem: str) -> str:
        topic = self._subscription.topic
        publishers = self._subscription.publishers()
        if problem:
            return problem
        if any('INCOMPATIBLE' in name for name in publishers):
            return (f'the QoS of {", ".join(publishers)} on {topic} does not fit: set '
                    'input.reliability to best_effort')
        if publishers:
            return f'{", ".join(publishers)} on {topic} sends nothing'
        other = self._node.resolve_topic_name(self._other_topic)
        if self._node.count_publishers(other):
            transport = 'raw' if self._other_topic == 'image' else 'compressed'
            return (f'nobody publishes {topic}, but somebody publishes {other}: set '
                    f'input.transport to {transport}')
        return f'nobody publishes {topic}: remap image to the topic of the camera'
