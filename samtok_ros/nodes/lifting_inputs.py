# SPDX-License-Identifier: Apache-2.0
"""What the lifting node subscribes to: masks, depth images and the calibration of the camera."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSDurabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from samtok_ros.msg import RegionMasks
from samtok_ros.nodes.chosen_subscription import AUTO, ChosenSubscription, Way
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.lifting_messages import (
    CalibrationReader,
    compressed_to_depth_image,
    image_to_depth,
    masks_to_set,
)
from samtok_ros.nodes.managed_node import ManagedNode
from samtok_ros.nodes.raw_subscription import RawSubscription
from samtok_ros.runtime.lifting_records import Calibration, DepthImage, MaskSet

INACTIVE = Health(Level.OK, 'inactive: nothing is taken')
_SILENT_AFTER_S = 5.0
_PROBLEM_WITHIN_S = 5.0
_LOOK_PERIOD_S = 0.5
_COMPRESSED = '/compressedDepth'
_BAD = ('bad_depth', 'bad_camera_info', 'bad_masks')
_PROBLEMS = (*_BAD, *(f'{kind}_qos' for kind in _BAD))
_MASKS_KEPT = 100


@dataclass(frozen=True)
class Takers:
    """Who takes what comes in; each must return at once.

    Attributes:
        masks: complete masks of an image.
        depth: a depth image.
        calibration: the calibration of the camera.
    """

    masks: Callable[[MaskSet], None]
    depth: Callable[[DepthImage], None]
    calibration: Callable[[Calibration], None]


class LiftingInputs:
    """The subscriptions of the lifting node, from activate to deactivate."""

    def __init__(self, node: ManagedNode, takers: Takers) -> None:
        """Subscribe.

        Raises:
            ConfigError: QoS overrides cannot be used.
        """
        self._node = node
        self._takers = takers
        self._max_pixels = node.settings.depth.max_megapixels * 1e6
        self._reader = CalibrationReader(node.settings.camera.rectified)
        self._form = ''
        depth = node.settings.depth
        ways = {'raw': Way(Image, 'depth', self._on_depth),
                'compressed': Way(CompressedImage, self._compressed_topic(), self._on_compressed)}
        chosen = ways.values() if depth.transport == AUTO else [ways[depth.transport]]
        with ExitStack() as made:
            # Undone from here when a later one cannot subscribe.
            self._masks = self._subscribe([Way(RegionMasks, 'masks', self._on_masks)], 'reliable',
                                          _MASKS_KEPT, 'bad_masks')
            made.callback(self._masks.destroy)
            self._depth = self._subscribe(chosen, depth.reliability, depth.queue, 'bad_depth')
            made.callback(self._depth.destroy)
            self._calibration = self._subscribe(
                [Way(CameraInfo, 'camera_info', self._on_calibration, latched=True)],
                depth.reliability, depth.queue, 'bad_camera_info')
            made.pop_all()
        # Wall time: publishers come and go whether or not a simulated clock runs.
        self._timer = node.create_timer(_LOOK_PERIOD_S, self._look, callback_group=node.inputs,
                                        clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """End the subscriptions."""
        self._node.destroy_timer(self._timer)
        for part in (self._masks, self._depth, self._calibration):
            part.destroy()

    def describe(self) -> str:
        """Say in one line what is subscribed."""
        return (f'masks from {self._masks.describe()}, depth from {self._depth.describe()}, '
                f'camera_info from {self._calibration.describe()}')

    def why_no_depth(self) -> str:
        """Say why no depth image comes."""
        return self._depth.ask(lambda one: _silence(
            one, 'remap depth to the depth images that are aligned to the colour camera'), '')

    def why_no_calibration(self) -> str:
        """Say why no calibration comes."""
        return self._calibration.ask(lambda one: _silence(
            one, 'remap camera_info to that of the camera'), '')

    def time_jumped(self) -> None:
        """Ask again for calibration that is sent once: that of the time before was forgotten."""
        self._calibration.listen_again()

    def health(self, has_calibration: bool) -> Health:
        """Say what comes in, and if something does not, why; call it once a second.

        Args:
            has_calibration: whether one is kept, which is enough where it is sent once.
        """
        values: dict[str, object] = {'depth_format': self._form}
        for name, part in (('masks', self._masks), ('depth', self._depth),
                           ('camera_info', self._calibration)):
            values |= part.ask(lambda one, name=name: self._values(name, one), {})
        problem = self._node.problems.recent_of(_PROBLEMS, _PROBLEM_WITHIN_S)
        if problem:
            return Health(Level.ERROR, problem, values)
        is_enough = self._calibration.is_latched and has_calibration
        for name, what, why, once in (
                ('depth_in', 'depth image', self.why_no_depth, False),
                ('camera_info_in', 'camera_info', self.why_no_calibration, is_enough)):
            age_s = self._node.statistics.age_s(name)
            if age_s is None or age_s > _SILENT_AFTER_S and not once:
                return Health(Level.WARN, f'no {what} comes: {why()}', values)
        if values.get('masks_matched_publishers') == 0:
            return Health(Level.WARN, f'nobody publishes {values["masks_topic"]}: start the mask '
                          'tokenizer in the same namespace', values)
        return Health(Level.OK, 'depth and camera_info arrive', values)

    def _values(self, name: str, subscription: RawSubscription) -> dict[str, object]:
        subscription.report_incompatible()
        statistics = self._node.statistics
        age_s = statistics.age_s(f'{name}_in')
        qos = subscription.qos
        latched = ('transient local, ' if qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
                   else '')
        return {
            f'{name}_topic': subscription.topic,
            f'{name}_in': statistics.total(f'{name}_in'),
            f'{name}_rate_hz': f'{statistics.rate_hz(f"{name}_in"):.1f}',
            f'{name}_age_s': '' if age_s is None else f'{age_s:.2f}',
            f'{name}_lost_on_the_way': subscription.lost,
            f'{name}_matched_publishers': subscription.matched,
            f'{name}_qos': f'{qos.reliability.name.lower()}, {latched}last {qos.depth}',
            f'{name}_publishers': ', '.join(subscription.publishers()) or 'none'}

    def _subscribe(self, ways: list[Way], reliability: str, queue: int,
                   problem: str) -> ChosenSubscription:
        node = self._node
        return ChosenSubscription(node, ways, reliability, queue, node.inputs, node.problems,
                                  problem)

    def _compressed_topic(self) -> str:
        """Return the topic of compressed depth images; it follows a remapped base topic."""
        node, own = self._node, f'depth{_COMPRESSED}'
        if node.resolve_topic_name(own) != node.resolve_topic_name(own, only_expand=True):
            return own
        return f'{node.resolve_topic_name("depth")}{_COMPRESSED}'

    def _look(self) -> None:
        self._depth.look()
        self._calibration.look()

    def _on_masks(self, message: RegionMasks) -> None:
        self._node.statistics.tick('masks_in')
        if message.complete:
            self._takers.masks(masks_to_set(message))

    def _on_depth(self, message: Image) -> None:
        depth = image_to_depth(message, self._max_pixels)
        self._take_depth(depth, message.encoding)

    def _on_compressed(self, message: CompressedImage) -> None:
        depth = compressed_to_depth_image(message, self._max_pixels)
        self._take_depth(depth, message.format)

    def _take_depth(self, depth: DepthImage, form: str) -> None:
        self._form = f'{form} {depth.size.width}x{depth.size.height}'
        self._node.statistics.tick('depth_in')
        self._takers.depth(depth)

    def _on_calibration(self, message: CameraInfo) -> None:
        calibration = self._reader.read(message)
        self._node.statistics.tick('camera_info_in')
        if calibration.refusal:
            topic = self._node.resolve_topic_name('camera_info')
            self._node.problems.report('bad_camera_info', f'{topic}: {calibration.refusal}')
        self._takers.calibration(calibration)


def _silence(subscription: RawSubscription, fix: str) -> str:
    """Say why nothing comes, and what to do."""
    return subscription.why_silent() or f'nobody publishes {subscription.topic}: {fix}'
