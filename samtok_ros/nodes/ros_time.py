# SPDX-License-Identifier: Apache-2.0
"""ROS time of a node: jumps backwards, and a simulated clock that never comes."""

import time
from collections.abc import Callable

from rclpy.clock import ClockChange, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from samtok_ros.nodes.health import Health, Level
from samtok_ros.runtime.problems import ProblemLog

_NO_CLOCK_AFTER_S = 3.0
_SOURCE_CHANGED = (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED)


class RosTime:
    """Watches the clock of a node; with use_sim_time it is what /clock says."""

    def __init__(self, node: Node, jumped_back: Callable[[int], None],
                 problems: ProblemLog) -> None:
        """Start to watch.

        Args:
            node: its clock is watched.
            jumped_back: called when time went backwards, or came from another source, with the
                newest stamp in nanoseconds that is not of the time before; must return at once.
            problems: told of a clock that does not come.
        """
        self._node = node
        self._clock = node.get_clock()
        self._jumped_back = jumped_back
        self._problems = problems
        self._jumps = 0
        self._zero_since_s: float | None = None
        # Kept, because the callback lives as long as its handle.
        self._handle = self._clock.create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1),
                          on_clock_change=True), post_callback=self._on_jump)

    def now_ns(self) -> int:
        """Return ROS time in nanoseconds; 0 while a simulated clock has not come."""
        return self._clock.now().nanoseconds

    def stop(self) -> None:
        """Watch no more."""
        self._handle.unregister()

    def health(self) -> Health:
        """Say where time comes from, and warn when it stands at zero; call it once a second."""
        simulated = self._clock.ros_time_is_active
        values = {'use_sim_time': simulated, 'now_s': f'{self.now_ns() / 1e9:.3f}',
                  'jumps_back': self._jumps}
        if not simulated:
            return Health(Level.OK, 'time of this machine', values)
        if not self._stands_at_zero():
            return Health(Level.OK, 'time of /clock', values)
        publishers = self._node.count_publishers('/clock')
        why = 'its publishers are silent' if publishers else 'nobody publishes it'
        text = (f'use_sim_time is set, but no /clock comes: {why}, and time stands at zero. Play '
                'the bag with --clock, unpause the simulator, or set use_sim_time to false')
        self._problems.report('no_clock', text)
        return Health(Level.WARN, text, values)

    def _stands_at_zero(self) -> bool:
        if self.now_ns():
            self._zero_since_s = None
            return False
        now_s = time.monotonic()
        self._zero_since_s = self._zero_since_s or now_s
        return now_s - self._zero_since_s >= _NO_CLOCK_AFTER_S

    def _on_jump(self, jump: TimeJump) -> None:
        self._jumps += 1
        changed = jump.clock_change in _SOURCE_CHANGED
        self._node.get_logger().info(
            'time comes from another source now' if changed else
            f'time jumped back by {-jump.delta.nanoseconds / 1e9:.3f} s')
        # Stamps of another source mean nothing here: none of them is kept.
        self._jumped_back(-1 if changed else self.now_ns())
