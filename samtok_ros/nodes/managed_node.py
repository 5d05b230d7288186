# SPDX-License-Identifier: Apache-2.0
"""What all lifecycle nodes have in common: transitions, settings, diagnostics, autostart."""

import threading
import time
import traceback
from collections.abc import Callable, Mapping

from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.health import Health, HealthReporter, Level
from samtok_ros.nodes.middleware_errors import first_line
from samtok_ros.nodes.parameters import (
    changed_settings,
    check_change,
    declare_parameters,
    unknown_overrides,
)
from samtok_ros.nodes.parts import memory_health, name_health
from samtok_ros.nodes.publishers import OutputPublisher
from samtok_ros.nodes.ros_time import RosTime
from samtok_ros.nodes.startup import summary
from samtok_ros.runtime.memory import explained, give_back
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.settings.fields import setting_fields
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

NAMESPACE = 'samtok'
INTERRUPT_S = 2.0


class ManagedNode(LifecycleNodeMixin, Node):
    """A lifecycle node with settings, diagnostics and readable transitions.

    Subclasses fill in `set_up`, `begin`, `end` and `tear_down`; these may raise a SamtokError,
    which ends the transition with one log line and leaves the node where it was.
    """

    idle_health: tuple[str, str] = ('model', 'no model is loaded')
    """Part and message of its diagnostics while it is not configured."""

    def __init__(self, name: str) -> None:
        """Create the node unconfigured: parameters and diagnostics only.

        Args:
            name: of the node; SETTINGS_OF_NODE has its settings.
        Raises:
            ConfigError: a parameter override is wrong.
        """
        # The default namespace; a remapping of __ns, as launch files set it, replaces it.
        Node.__init__(self, name, namespace=NAMESPACE)
        # Reentrant, or get_state would not answer while configure loads a model.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self.inputs = MutuallyExclusiveCallbackGroup()
        self.statistics = Statistics()
        self.problems = ProblemLog(self._warn, log_failure=self._log_failure)
        self.is_active = False
        self._ready = False
        self._ready_lock = threading.Lock()
        self.settings = declare_parameters(self, SETTINGS_OF_NODE[name])
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._apply_parameters)
        self._time = RosTime(self, self.time_jumped, self.problems)
        self.reporter = HealthReporter(self, self._health)
        self._start_timer = self.create_timer(
            0.0, self._start, callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME))

    def join(self) -> None:
        """Take part in what the nodes of the process share, before `set_up`."""

    def set_up(self) -> None:
        """Load what is needed and create publishers."""

    def begin(self) -> None:
        """Start to take input; must return at once."""

    def end(self) -> None:
        """Stop to take input and end what is running; may be called again."""

    def tear_down(self) -> None:
        """Undo `set_up`, as far as it came; may be called again."""

    def leave(self) -> None:
        """Undo `join`; may be called again."""

    def settings_changed(self) -> None:
        """Hand changed live settings on."""

    def time_jumped(self, newest_ns: int) -> None:
        """Forget what is newer than a stamp: ROS time went backwards, or has another source."""

    def interrupt(self) -> None:
        """End what callbacks of this node wait for: the process is about to end.

        Called while callbacks still run, so that those who wait for a result get it. Takes no
        longer than INTERRUPT_S.
        """

    def parts_health(self) -> Mapping[str, Health]:
        """Return the status of each part while the node is configured."""

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Set up; failure leaves the node unconfigured."""
        return self._transition('configure', lambda: self._configure(state))

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to work."""
        return self._transition('activate', lambda: self._activate(state))

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to work; an answer that is being spoken ends as cancelled."""
        return self._transition('deactivate', lambda: self._deactivate(state))

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free what was set up."""
        return self._transition('cleanup', self.close)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        return self._transition('shutdown', self.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, so that the node can be configured again."""
        return self._transition('error processing', self.close)

    def close(self) -> None:
        """Stop and free everything; may be called again."""
        self.is_active = False
        self.end()
        self._set_ready(False)
        self.tear_down()
        self.leave()
        give_back()

    def destroy_node(self) -> None:
        """Destroy what belongs to the node; it is gone from the graph when this returns."""
        super().destroy_node()
        # The machine keeps the middleware's node, which rclpy leaves to the garbage collector:
        # others would go on to see a node of this name.
        self._state_machine = None

    def _configure(self, state: LifecycleState) -> None:
        self.join()
        self.statistics.reset()
        start_s = time.perf_counter()
        try:
            self.set_up()
        except BaseException:
            self.close()
            raise
        super().on_configure(state)
        self._set_ready(True)
        self.get_logger().info(summary(self, time.perf_counter() - start_s))
        elsewhere = [field.name for settings in SETTINGS_OF_NODE.values()
                     for field in setting_fields(settings)]
        for text in unknown_overrides(self, elsewhere):
            self.get_logger().warning(text)

    def _activate(self, state: LifecycleState) -> None:
        # Publishers first: a frame may be done before this returns.
        super().on_activate(state)
        try:
            self.begin()
        except BaseException:
            self._deactivate(state)
            raise
        self.is_active = True

    def _deactivate(self, state: LifecycleState) -> None:
        self.is_active = False
        self.end()
        super().on_deactivate(state)

    def _transition(self, name: str, body: Callable[[], None]) -> TransitionCallbackReturn:
        # rclpy turns an exception in a transition into an error without any log line.
        try:
            body()
        except Exception as raised:
            error = explained(raised)
            if isinstance(error, SamtokError):
                self.get_logger().error(f'{name} failed: {error}')
                return TransitionCallbackReturn.FAILURE
            self.get_logger().error(f'{name} failed:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.ERROR
        self.get_logger().info(f'{name}: done')
        self.reporter.publish()
        return TransitionCallbackReturn.SUCCESS

    def ros_now_ns(self) -> int:
        """Return ROS time in nanoseconds; with use_sim_time it is 0 until /clock comes."""
        return self._time.now_ns()

    def create_output(self, message_type: type, topic: str, qos: QoSProfile) -> OutputPublisher:
        """Create a publisher that is silent while the node is inactive.

        Raises:
            ConfigError: its QoS overrides cannot be used.
        """
        return OutputPublisher(self, message_type, topic, qos, self.problems)

    def _health(self) -> Mapping[str, Health]:
        always = {'memory': memory_health(), 'name': name_health(self),
                  'time': self._time.health()}
        with self._ready_lock:
            if self._ready:
                return {**self.parts_health(), **always}
        state = self._state_machine.current_state[1]
        part, text = self.idle_health
        return {part: Health(Level.OK, f'{text}: the node is {state}'), **always}

    def _set_ready(self, ready: bool) -> None:
        # With the lock: diagnostics must not ask parts that are being taken apart.
        with self._ready_lock:
            self._ready = ready

    def _start(self) -> None:
        """Configure and activate by ourselves, or say how it is done."""
        self._start_timer.cancel()
        name = self.get_fully_qualified_name()
        if not self.settings.autostart:
            self.get_logger().info(
                f'unconfigured; to start: ros2 lifecycle set {name} configure, then activate, or '
                'set the parameter autostart to true')
            return
        try:
            if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except RuntimeError as error:
            # Somebody else drives it at the same time.
            self.get_logger().warning(f'autostart is left to others: {self._refusal(error)}')

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response,
    ) -> ChangeState.Response:
        """Refuse a transition that the state does not have; rclpy would end the process."""
        try:
            return self._change_state(request, response)
        except RuntimeError as error:
            asked = request.transition.label or request.transition.id
            self.get_logger().warning(f'transition {asked} is refused: {self._refusal(error)}')
            response.success = False
            return response

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text)
        self.reporter.soon()

    def _log_failure(self, text: str) -> None:
        self.get_logger().error(text)
        self.reporter.soon()

    def _refusal(self, error: RuntimeError) -> str:
        state = self._state_machine.current_state[1]
        return f'the node is {state} ({first_line(error)})'

    def _check_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        return check_change(self.settings, parameters)

    def _apply_parameters(self, parameters: list[Parameter]) -> None:
        self.settings = changed_settings(self.settings, parameters)
        self.settings_changed()
