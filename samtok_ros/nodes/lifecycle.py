# SPDX-License-Identifier: Apache-2.0
"""What the lifecycle nodes with a model have in common: images, and the worker they share."""

import time
import traceback
from collections.abc import Callable

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.health import Health
from samtok_ros.nodes.image_input import INACTIVE, ImageInput
from samtok_ros.nodes.managed_node import ManagedNode
from samtok_ros.runtime.frame_cache import Frame, stamp_text
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.shared import SharedRuntime, SharedSettings
from samtok_ros.runtime.worker import Priority

_STEP_LOG_S = 5.0


class PerceptionNode(ManagedNode):
    """A lifecycle node that loads a model on configure and works in the shared worker."""

    def __init__(self, name: str, runtime: SharedRuntime) -> None:
        """Create the node unconfigured.

        Args:
            name: of the node.
            runtime: shared with the other nodes of the process.
        Raises:
            ConfigError: a parameter override is wrong.
        """
        # Before the base: it may ask for what belongs to the runtime at once.
        self.runtime = runtime
        self._kind = name
        super().__init__(name)
        runtime.worker.report_to(self._on_worker_error)
        runtime.listen_to_steps_back(self._stamps_stepped_back)

    def join(self) -> None:
        """See ManagedNode."""
        shared = SharedSettings(self.settings.model, self.settings.input, self.settings.cache)
        self.runtime.join(self._kind, shared)

    def leave(self) -> None:
        """See ManagedNode."""
        self.runtime.leave(self._kind)

    def time_jumped(self, newest_ns: int) -> None:
        """See ManagedNode."""
        if not self.settings.input.every_frame:
            self.runtime.frames.forget_after(newest_ns)
            self.time_jumped_back(newest_ns)

    def time_jumped_back(self, newest_ns: int) -> None:
        """Forget what belongs to the time after a jump backwards: a bag or simulator began anew.

        Images from that time are forgotten already. Not called with input.every_frame, where a bag
        that is played again is just more images.

        Args:
            newest_ns: newest stamp that is not of that time.
        """

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run a model once before it is needed, where it will run later: in the worker's thread."""
        if self.settings.model.warm_up:
            start_s = time.perf_counter()
            self.runtime.worker.call(Priority.SERVICE, run)
            self.get_logger().info(f'warmed up in {time.perf_counter() - start_s:.1f} s')

    def take_images(self, on_frame: Callable[[Frame], None]) -> ImageInput:
        """Subscribe to images as the settings say."""
        return ImageInput(self, self.settings.input, on_frame, self.inputs, self.problems,
                          self.statistics, self.reporter.soon)

    def worker_state(self) -> str:
        """Return 'idle' when the models of this process have nothing left to do, else 'busy'."""
        return 'idle' if self.runtime.worker.is_idle else 'busy'

    def input_health(self, images: ImageInput | None) -> Health:
        """Return the status of the image input."""
        return INACTIVE if images is None else images.health()

    def note_age(self, result: FrameResult) -> None:
        """Measure how old an image is when its result goes out: what a planner feels."""
        self.statistics.add_duration('age', (self.ros_now_ns() - result.stamp_ns) / 1e9)

    def _stamps_stepped_back(self, stamp_ns: int) -> None:
        """Forget as after a jump of ROS time: without /clock nothing else tells of it."""
        if not self.settings.input.every_frame:
            # Two cameras on one topic would say it with every image.
            self.get_logger().info(f'stamps of the images step back to {stamp_text(stamp_ns)}',
                                   throttle_duration_sec=_STEP_LOG_S)
            self.time_jumped(stamp_ns)

    def _on_worker_error(self, error: Exception) -> None:
        known = isinstance(error, SamtokError)
        self.problems.report(
            'exception', f'a step failed and was given up: {error if known else repr(error)}',
            '' if known else ''.join(traceback.format_exception(error)))
