# SPDX-License-Identifier: Apache-2.0
"""A node that talks to running nodes for a moment, such as that of `samtok goal`."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from samtok_ros.bring_up.programs import check_name
from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.interface.ros_names import GROUNDING, NODES
from samtok_ros.nodes.command_line import start_ros
from samtok_ros.nodes.conversions import stamp_to_ns
from samtok_ros.nodes.health import Level
from samtok_ros.nodes.wait_until import AllActive

Say = Callable[[str], None]

_LOOK_S = 0.1
_PATIENCE_S = 10.0
"""Discovery of what is there takes a second, on a busy machine several."""

_REST_S = 2.0
"""With autostart a node leaves a state at once."""

_SAY_AFTER_S = 2.0
_TIME_WAIT_S = 3.0
_SILENT_AFTER_S = 5.0
_NOT_THERE = 'not there'
_RESTING = ('unconfigured', 'inactive', 'finalized')
_STATE_SERVICE = f'/{GROUNDING}/get_state'
_Found = TypeVar('_Found')


@dataclass(frozen=True)
class PartStatus:
    """What diagnostics say about one part of a node.

    Attributes:
        level: how bad it is.
        message: one line; for anything but OK it says what to do.
        values: facts by name.
    """

    level: int
    message: str
    values: Mapping[str, str]


class HealthView:
    """The newest diagnostics of our nodes in a namespace."""

    def __init__(self, node: Node) -> None:
        """Listen, in the namespace of a node."""
        self._place = node.get_namespace().strip('/')
        self._parts: dict[str, dict[str, PartStatus]] = {}
        self._heard_s: dict[str, float] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_message, 100)

    def value(self, node: str, part: str, name: str) -> str:
        """Return a value, '' as long as it is not known."""
        found = self._parts.get(f'{self._place}/{node}', {}).get(part)
        return found.values.get(name, '') if found else ''

    @property
    def is_empty(self) -> bool:
        """Whether nothing was heard so far."""
        return not self._parts

    def forget(self) -> None:
        """Forget what was heard so far: what comes next is newer than this moment."""
        self._parts.clear()

    def worst(self) -> tuple[Level, Mapping[str, str]]:
        """Return the worst level, and what the parts that are so bad say, by name; none for OK."""
        parts = dict(self._all())
        level = max((status.level for status in parts.values()), default=Level.OK)
        bad = {} if level == Level.OK else {
            name: status.message for name, status in parts.items() if status.level == level}
        return Level(min(level, Level.ERROR)), bad

    def _all(self) -> Iterator[tuple[str, PartStatus]]:
        for node, parts in self._parts.items():
            silent_s = time.monotonic() - self._heard_s[node]
            if silent_s > _SILENT_AFTER_S:
                yield node, PartStatus(Level.ERROR, 'is silent: has it ended?', {})
            else:
                yield from ((f'{node}: {part}', status) for part, status in parts.items())

    def _on_message(self, message: DiagnosticArray) -> None:
        # A message is of one node and has all its parts; those it lacks are no more.
        parts: dict[str, dict[str, PartStatus]] = {}
        for status in message.status:
            node, _, part = status.name.partition(': ')
            if node in {f'{self._place}/{name}' for name in NODES}:
                parts.setdefault(node, {})[part] = PartStatus(
                    status.level[0], status.message, {v.key: v.value for v in status.values})
        self._parts.update(parts)
        self._heard_s.update(dict.fromkeys(parts, time.monotonic()))


class PerceptionClient:
    """A node beside the nodes, spun by whoever waits; use it in a with statement."""

    def __init__(self, name: str, namespace: str) -> None:
        """Start ROS for this process.

        Args:
            name: of the node.
            namespace: of the nodes to talk to.
        Raises:
            ConfigError: the namespace is no ROS name, or ROS does not start.
        """
        check_name('namespace', namespace)
        start_ros([name])
        self.node = rclpy.create_node(name, namespace=f'/{namespace.strip("/")}',
                                      enable_rosout=False, start_parameter_services=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.health = HealthView(self.node)

    def __enter__(self) -> 'PerceptionClient':
        """Do nothing: it is there already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def spin(self) -> None:
        """Handle what has come, or wait a moment for it."""
        self._executor.spin_once(timeout_sec=_LOOK_S)
        self._follow_their_clock()

    def wait_for(self, condition: Callable[[], _Found], until_s: float) -> _Found:
        """Spin until a condition is true, or until a time of the monotonic clock; return it."""
        while not (found := condition()) and time.monotonic() < until_s:
            self.spin()
        return found

    def age_s(self, stamp: Time) -> float:
        """Return how long ago a stamp is, in the time that the nodes go by."""
        return (self.node.get_clock().now().nanoseconds - stamp_to_ns(stamp)) / 1e9

    def learn_time(self) -> None:
        """Wait a moment until diagnostics say what time the nodes go by, and until that is here."""
        until_s = time.monotonic() + _TIME_WAIT_S
        self.wait_for(lambda: self.health.value(GROUNDING, 'time', 'use_sim_time'), until_s)
        self.spin()
        self.wait_for(lambda: self.node.get_clock().now().nanoseconds, until_s)

    def meet(
        self, names: Sequence[str], topic: str, until_s: float, say: Say, *, active: bool,
    ) -> None:
        """Wait until nodes have answered: then they know all that was created here before.

        What is sent before both ends know each other is lost, and one sees one's own end only. Ends
        are announced in order, so who answers the newest client knows the older ones.

        Args:
            names: of the nodes.
            topic: that they are needed for.
            until_s: time of the monotonic clock; nodes that do nothing about it are given up
                earlier.
            say: told what is waited for.
            active: whether they must be active too.
        Raises:
            ConfigError: a node is not active and does not get there.
            DeviceError: a node is not there.
        """
        states = AllActive(self.node, names)
        said = ''
        say_from_s = time.monotonic() + _SAY_AFTER_S
        given_up_s = time.monotonic() + _PATIENCE_S
        while missing := [text for text in states.missing() if active or text.endswith(_NOT_THERE)]:
            now_s = time.monotonic()
            if not all(text.endswith((_NOT_THERE, *_RESTING)) for text in missing):
                given_up_s = now_s + _PATIENCE_S
            elif all(text.endswith(_RESTING) for text in missing):
                given_up_s = min(given_up_s, now_s + _REST_S)
            if now_s > say_from_s and said != (said := ', '.join(missing)):
                say(f'waiting: {said}')
            if now_s > min(given_up_s, until_s):
                raise self._not_ready(missing, topic)
            self.spin()

    def connect(self, topic: str, count_peers: Callable[[], int], until_s: float) -> None:
        """Wait until somebody is at the other end of a topic.

        Raises:
            DeviceError: nobody comes.
        """
        if not self.wait_for(count_peers, min(until_s, time.monotonic() + _PATIENCE_S)):
            raise self._nobody(topic)

    def _not_ready(self, missing: Sequence[str], topic: str) -> ConfigError | DeviceError:
        place = self.node.get_namespace()
        if f'{GROUNDING} is {_NOT_THERE}' in missing and place not in self._places():
            return self._nobody(topic)
        return ConfigError(
            f'the nodes in {place} are not ready', expected='all of them active',
            got=', '.join(missing), fix='start them with samtok up, which activates them, or with '
            'the parameter autostart; their logs say why one could not be activated')

    def _nobody(self, topic: str) -> DeviceError:
        """Return an error: nobody is at the other end of a topic, and who is there instead."""
        wanted = self.node.resolve_topic_name(topic)
        relative = wanted.removeprefix(self.node.get_namespace())
        places = sorted(self._places())
        names = [name for name, _ in self.node.get_topic_names_and_types()
                 if name.endswith(relative) and name != wanted]
        there = sorted({*(f'{place}{relative}' for place in places), *names})
        domain = self.node.context.get_domain_id()
        fix = f'give --namespace {places[0].strip("/")}' if places else (
            'start the nodes with samtok up, and look whether they run with the same ROS_DOMAIN_ID')
        return DeviceError(
            f'nobody is there for {wanted} in ROS domain {domain} (ROS_DOMAIN_ID is '
            f'{os.environ.get("ROS_DOMAIN_ID") or "not set"})',
            expected=f'a running perception in the namespace {self.node.get_namespace()}',
            got=', '.join(there) or 'no such topic in any namespace', fix=fix)

    def _places(self) -> set[str]:
        """Return the namespaces with a grounding node."""
        # The names alone are there as soon as somebody asks for them, such as we do.
        return {name.removesuffix(_STATE_SERVICE)
                for name, _ in self.node.get_service_names_and_types()
                if name.endswith(_STATE_SERVICE) and self.node.count_services(name)}

    def _follow_their_clock(self) -> None:
        """Go by simulated time when the nodes do: ages mean nothing otherwise."""
        clock = self.node.get_clock()
        if (not clock.ros_time_is_active
                and self.health.value(GROUNDING, 'time', 'use_sim_time') == 'True'):
            self.node.set_parameters([Parameter('use_sim_time', value=True)])
