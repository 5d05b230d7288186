# SPDX-License-Identifier: Apache-2.0
"""The lifting node: masks, depth and calibration of one stamp in; points, box and quality out."""

import threading
import time
import traceback
from collections.abc import Mapping

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType

from samtok_ros.errors import ImageError, SamtokError
from samtok_ros.lifting.target import LiftStatus
from samtok_ros.nodes.health import Health
from samtok_ros.nodes.lifting_health import lifting_health
from samtok_ros.nodes.lifting_inputs import INACTIVE, LiftingInputs, Takers
from samtok_ros.nodes.lifting_outputs import LiftingOutputs
from samtok_ros.nodes.managed_node import ManagedNode
from samtok_ros.nodes.parts import output_health
from samtok_ros.nodes.spin import run
from samtok_ros.runtime.item_thread import ItemThread
from samtok_ros.runtime.lifting_pairs import LiftingPairs
from samtok_ros.runtime.lifting_records import Calibration, DepthImage, MaskSet, Outcome, Pair
from samtok_ros.runtime.lifting_work import (
    InOrder,
    lift_others,
    lift_pair,
    scene_without,
    withdrawn,
)
from samtok_ros.runtime.mailbox import NewestItems

_EXPIRY_PERIOD_S = 0.05


class LiftingNode(ManagedNode):
    """Lifts the target of each complete mask message with the depth image of its own stamp."""

    idle_health = ('lifting', 'nothing is lifted')

    def __init__(self) -> None:
        """Create the node unconfigured.

        Raises:
            ConfigError: a parameter override is wrong.
        """
        super().__init__('lifting')
        self._pairs = LiftingPairs(self._on_pair, self._why_no_depth, self._why_no_calibration)
        self._in_order = InOrder(self.settings.depth.keep_s)
        self._thread: ItemThread[tuple[int, Pair]] | None = None
        self._publishing = threading.Lock()
        self._epoch = 0
        self._inputs: LiftingInputs | None = None
        self._outputs: LiftingOutputs | None = None
        self._last: Outcome | None = None
        self._last_masks_s = 0.0
        self.create_timer(_EXPIRY_PERIOD_S, self._look_at_the_clock,
                          callback_group=MutuallyExclusiveCallbackGroup(),
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    def set_up(self) -> None:
        """Create the outputs."""
        self._last = None
        self._pairs.configure(self.settings)
        self._thread = ItemThread('samtok_lifting', NewestItems(self.settings.queue), self._lift,
                                  self._not_lifted)
        self._outputs = LiftingOutputs(self)

    def begin(self) -> None:
        """Take masks, depth images and calibrations."""
        self._thread.open()
        self._inputs = LiftingInputs(self, Takers(self._on_masks, self._on_depth,
                                                  self._on_calibration))
        self.get_logger().info(self._inputs.describe())

    def end(self) -> None:
        """Take no more; the last target must not outlive us on its latched topics."""
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        self._epoch += 1
        if self._thread is not None and not self._thread.close():
            self.get_logger().warning('a target is still being lifted')
        self._pairs.forget_after(-1)
        self._in_order.forget()
        self._withdraw('the lifting node was deactivated')

    def tear_down(self) -> None:
        """Free the outputs."""
        self._thread = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None

    def settings_changed(self) -> None:
        """See ManagedNode."""
        self._pairs.change_settings(self.settings)

    def time_jumped(self, newest_ns: int) -> None:
        """See ManagedNode."""
        self._begin_anew(newest_ns)

    def parts_health(self) -> Mapping[str, Health]:
        """See ManagedNode."""
        inputs, outputs, thread = self._inputs, self._outputs, self._thread
        if outputs is None:
            return {}  # Cleaned up at this moment, in another thread.
        return {
            'input': (INACTIVE if inputs is None
                      else inputs.health(self._pairs.has_calibration)),
            'lifting': lifting_health(self.statistics, self.problems, self._last, {
                'masks_waiting_for_depth': self._pairs.waiting,
                'masks_waiting': len(thread.items) if thread else 0,
                'depth_images_kept': len(self._pairs.depth),
                'depth_megabytes': f'{self._pairs.depth.nbytes / 1e6:.1f}'}),
            'output': output_health(self.statistics, self.problems, *outputs.all),
        }

    def _on_masks(self, masks: MaskSet) -> None:
        self._last_masks_s = time.monotonic()
        if self._in_order.is_news(masks):
            self._pairs.put_masks(masks)
        else:
            self.statistics.count('answers_overtaken')

    def _on_depth(self, depth: DepthImage) -> None:
        if self._pairs.put_depth(depth):
            self._begin_anew(depth.stamp_ns)

    def _on_calibration(self, calibration: Calibration) -> None:
        self._pairs.put_calibration(calibration)

    def _on_pair(self, pair: Pair) -> None:
        thread = self._thread
        if thread is not None and not thread.put((self._epoch, pair)):
            self.statistics.count('masks_left_out')

    def _lift(self, item: tuple[int, Pair]) -> None:
        """Lift and publish, in the thread for it."""
        epoch, pair = item
        with self.statistics.measure('lift'):
            outcome = lift_pair(pair, self.settings)
        with self._publishing:
            if epoch != self._epoch:
                return  # Time has jumped back meanwhile, or the node was deactivated.
            self._publish(outcome)
        for is_wanted, lift, what in (
                (self._outputs.wants_detections, self._lift_others, 'the other regions'),
                (self._outputs.wants_scene, self._lift_scene, 'the scene')):
            try:
                if is_wanted:
                    lift(pair, outcome)
            except Exception as error:  # The target is good all the same.
                self._report(f'{what} could not be lifted', error)

    def _lift_others(self, pair: Pair, outcome: Outcome) -> None:
        with self.statistics.measure('lift_others'):
            found = list(lift_others(pair, outcome, self.settings))
        self._outputs.publish_detections(outcome, found)

    def _lift_scene(self, pair: Pair, outcome: Outcome) -> None:
        try:
            with self.statistics.measure('lift_scene'):
                points_m = scene_without(pair, outcome.target,
                                         self.settings.scene.target_margin_px)
        except ImageError:
            return  # The target was refused for the same reason, which is told.
        self._outputs.publish_scene(outcome, points_m)
        self.statistics.tick('scenes_out')

    def _publish(self, outcome: Outcome) -> None:
        self._last = outcome
        if outcome.status == LiftStatus.REFUSED and outcome.target is not None:
            self.problems.report('target_refused', f'target is not lifted: {outcome.message}')
        self._outputs.publish(outcome)
        self.statistics.tick('targets_out')
        self.statistics.count(f'status_{outcome.status.name}')
        self.statistics.add_duration(
            'age', (self.ros_now_ns() - outcome.masks.stamp_ns) / 1e9)

    def _not_lifted(self, error: Exception) -> None:
        self._report('a target could not be lifted', error)
        self._withdraw('a later target could not be lifted, for a reason that is in the log')

    def _report(self, text: str, error: Exception) -> None:
        detail = '' if isinstance(error, SamtokError) else ''.join(
            traceback.format_exception(error))
        self.problems.report('exception', f'{text}: {error!r}', detail)

    def _begin_anew(self, newest_ns: int) -> None:
        """Forget the time before a jump back."""
        self._epoch += 1
        self._pairs.forget_after(newest_ns)
        if (inputs := self._inputs) is not None:
            inputs.time_jumped()
        self._in_order.forget()
        if self._thread is not None:
            self._thread.items.clear()
        self._withdraw('time jumped back: the target is of a time that is gone')

    def _look_at_the_clock(self) -> None:
        self._pairs.close_expired()
        after_s = self.settings.withdraw_after_s
        if after_s and self.is_active and time.monotonic() - self._last_masks_s > after_s:
            self._withdraw(f'no masks have come for {after_s:g} s')

    def _withdraw(self, why: str) -> None:
        """Replace a target that people may still read from the latched topics by nothing."""
        with self._publishing:
            last, outputs = self._last, self._outputs
            if last is None or last.status != LiftStatus.OK or outputs is None:
                return
            self._last = withdrawn(last.masks, why)
            outputs.publish(self._last)
            self.statistics.count('targets_withdrawn')

    def _why_no_depth(self) -> str:
        return '' if self._inputs is None else self._inputs.why_no_depth()

    def _why_no_calibration(self) -> str:
        return '' if self._inputs is None else self._inputs.why_no_calibration()


def main() -> int:
    """Run the node until it is told to stop; return the exit status."""
    return run(lambda: [LiftingNode()])
