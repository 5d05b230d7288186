# SPDX-License-Identifier: Apache-2.0
"""Camera images in, frames out, and the reason when there are none."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.callback_groups import CallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.errors import ConfigError
from samtok_ros.image.raw_formats import RAW_FORMATS, check_can_convert
from samtok_ros.nodes.conversions import compressed_to_frame, image_to_frame
from samtok_ros.nodes.health import Health, Level
from samtok_ros.nodes.raw_subscription import RawSubscription, type_name
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.settings.shared import InputSettings

_WARN_AFTER_S = 1.0
_ERROR_AFTER_S = 5.0
_PROBLEM_WITHIN_S = 5.0
_AHEAD_S = 1.0
_LOOK_PERIOD_S = 0.5
_TOPICS_NAMED = 3
INACTIVE = Health(Level.OK, 'inactive: no images are taken')
_TYPE_OF = {'raw': Image, 'compressed': CompressedImage}
_OTHER = {'raw': 'compressed', 'compressed': 'raw'}


@dataclass(frozen=True)
class _Last:
    """What is known of the last image: its encoding or format, its size, its age on arrival."""

    form: str
    size: str
    stamp_age_s: float


class ImageInput:
    """The image subscription of a node: raw or compressed, one at a time."""

    def __init__(
        self, node: Node, settings: InputSettings, on_frame: Callable[[Frame], None],
        group: CallbackGroup, problems: ProblemLog, statistics: Statistics,
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        """Subscribe.

        Args:
            node: it belongs to.
            settings: transport, QoS and limits.
            on_frame: called with each frame that can be used.
            group: callback group.
            problems: told of images that cannot be used.
            statistics: told of images that came.
            on_news: called when the first image has come.
        Raises:
            ConfigError: the QoS overrides or the conversions cannot be used.
        """
        if settings.convert_raw_formats:
            check_can_convert()
        self._node = node
        self._lock = threading.Lock()
        self._settings = settings
        self._max_pixels = settings.max_megapixels * 1e6
        self._on_frame = on_frame
        self._group = group
        self._problems = problems
        self._statistics = statistics
        self._on_news = on_news
        self._ended = False
        self._last: _Last | None = None
        self._seen = (0, 0)
        self._lost_share = 0.0
        self._timer = None
        self._transport = 'raw' if settings.transport == 'auto' else settings.transport
        if settings.transport == 'auto':
            self._transport = self._wanted()
        self._subscription = self._subscribe(self._transport)
        # Last: where we cannot subscribe, nothing may stay behind that looks for publishers.
        if settings.transport == 'auto':
            # Wall time: publishers come and go whether or not a simulated clock runs.
            self._timer = node.create_timer(_LOOK_PERIOD_S, self._look, callback_group=group,
                                            clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy(self) -> None:
        """End the subscription."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        # With the lock: diagnostics and the look for publishers run in threads of their own.
        with self._lock:
            self._ended = True
            self._subscription.destroy()

    def describe(self) -> str:
        """Say in one line what is subscribed, for the start-up summary."""
        qos = self._subscription.qos
        return (f'{self._subscription.topic} ({self._transport}, {qos.reliability.name.lower()}, '
                f'last {qos.depth})')

    def health(self) -> Health:
        """Say whether images arrive, and if not, why; call it once a second."""
        with self._lock:
            return INACTIVE if self._ended else self._health()

    def _health(self) -> Health:
        self._subscription.report_incompatible()
        self._count_lost()
        age = self._statistics.age_s('frames_in')
        values = self._values(age)
        problem = self._problems.recent_of(('bad_image', 'bad_image_qos'), _PROBLEM_WITHIN_S)
        if age is None or age > _ERROR_AFTER_S:
            return Health(Level.ERROR, f'no image because {self._why_silent(problem)}', values)
        if problem:
            return Health(Level.ERROR, problem, values)
        if age > _WARN_AFTER_S:
            return Health(Level.WARN, f'no image for {age:.1f} s', values)
        return self._fresh_health(values)

    def _fresh_health(self, values: dict[str, object]) -> Health:
        last = self._last
        if self._lost_share > 0.5:
            return Health(Level.WARN, f'{self._lost_share:.0%} of the images are lost on the way: '
                          'send compressed or smaller images, raise the socket buffers, or set '
                          'input.reliability to reliable', values)
        if last and last.stamp_age_s < -_AHEAD_S:
            return Health(Level.WARN, f'images are stamped {-last.stamp_age_s:.1f} s ahead of our '
                          'clock: synchronise the clocks of the machines, or set use_sim_time for '
                          'a bag or simulator', values)
        if last and last.form in RAW_FORMATS:
            return Health(Level.WARN, f'images arrive as {last.form} and are converted on the CPU',
                          values)
        return Health(Level.OK, 'images arrive', values)

    def _values(self, age: float | None) -> dict[str, object]:
        last, chosen = self._last, self._settings.transport
        return {
            'topic': self._subscription.topic,
            'transport': f'{self._transport} (auto)' if chosen == 'auto' else chosen,
            'format': f'{last.form} {last.size}' if last else '',
            'rate_hz': f'{self._statistics.rate_hz("frames_in"):.1f}',
            'age_s': '' if age is None else f'{age:.2f}',
            'stamp_age_s': f'{last.stamp_age_s:.3f}' if last else '',
            'lost_on_the_way': self._subscription.lost,
            'matched_publishers': self._subscription.matched,
            'qos': f'{self._subscription.qos.reliability.name.lower()}, '
                   f'last {self._subscription.qos.depth}',
            'publishers': ', '.join(self._subscription.publishers()) or 'none',
        }

    def _subscribe(self, transport: str) -> RawSubscription:
        qos = QoSProfile(depth=self._settings.depth,
                         reliability=QoSReliabilityPolicy[self._settings.reliability.upper()])
        handler = self._on_compressed if transport == 'compressed' else self._on_image
        topic = 'image' if transport == 'raw' else self._topic(transport)
        return RawSubscription(self._node, _TYPE_OF[transport], topic, handler, qos, self._group,
                               self._problems, 'bad_image')

    def _topic(self, transport: str) -> str:
        """Return the resolved topic; compressed images follow a remapped base topic."""
        if transport == 'raw':
            return self._node.resolve_topic_name('image')
        own = self._node.resolve_topic_name('image/compressed')
        if own != self._node.resolve_topic_name('image/compressed', only_expand=True):
            return own
        return f'{self._node.resolve_topic_name("image")}/compressed'

    def _wanted(self) -> str:
        """Return the transport to read: raw where somebody publishes it."""
        with_publishers = [transport for transport in ('raw', 'compressed')
                           if self._has_publishers(transport)]
        return (with_publishers or [self._transport])[0]

    def _has_publishers(self, transport: str) -> bool:
        wanted = type_name(_TYPE_OF[transport])
        infos = self._node.get_publishers_info_by_topic(self._topic(transport))
        return any(info.topic_type == wanted for info in infos)

    def _look(self) -> None:
        """Go over to the other transport when it is the one with publishers."""
        with self._lock:
            wanted = self._wanted()
            if not self._ended and wanted != self._transport:
                self._go_over(wanted)

    def _go_over(self, wanted: str) -> None:
        try:
            subscription = self._subscribe(wanted)
        except ConfigError as error:
            self._problems.report('bad_image', str(error))
            return
        self._subscription.destroy()
        self._subscription, self._transport = subscription, wanted
        self._seen, self._lost_share = (self._statistics.total('frames_in'), 0), 0.0
        self._node.get_logger().info(f'images from {self.describe()}')

    def _on_image(self, message: Image) -> None:
        frame = image_to_frame(message, self._max_pixels, self._settings.convert_raw_formats)
        self._take(frame, message.encoding)

    def _on_compressed(self, message: CompressedImage) -> None:
        self._take(compressed_to_frame(message, self._max_pixels), message.format)

    def _take(self, frame: Frame, form: str) -> None:
        size = frame.size
        is_first = self._last is None
        age_ns = self._node.get_clock().now().nanoseconds - frame.stamp_ns
        self._last = _Last(form, f'{size.width}x{size.height}', age_ns / 1e9)
        self._statistics.tick('frames_in')
        self._on_frame(frame)
        if is_first:
            self._on_news()

    def _count_lost(self) -> None:
        """Work out how many of the images since the last look were lost on the way."""
        seen = (self._statistics.total('frames_in'), self._subscription.lost)
        came, lost = seen[0] - self._seen[0], seen[1] - self._seen[1]
        self._seen = seen
        if came + lost > 0:
            self._lost_share = max(0, lost) / (came + lost)

    def _why_silent(self, problem: str) -> str:
        if problem:
            return problem
        why = self._subscription.why_silent()
        if why:
            return why
        topic, other = self._subscription.topic, _OTHER[self._transport]
        if self._has_publishers(other):
            return (f'nobody publishes {topic}, but somebody publishes {self._topic(other)}: set '
                    f'input.transport to {other} or auto')
        return (f'nobody publishes {topic}: remap image to the topic of the camera'
                + self._perhaps())

    def _perhaps(self) -> str:
        """Name topics with images that somebody publishes."""
        names = {type_name(kind) for kind in _TYPE_OF.values()}
        found = [name for name, types in self._node.get_topic_names_and_types()
                 if names & set(types) and self._node.count_publishers(name)
                 and not name.startswith(f'{self._node.get_namespace().rstrip("/")}/')]
        return f', perhaps {" or ".join(sorted(found)[:_TOPICS_NAMED])}' if found else ''
