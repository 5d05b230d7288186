# SPDX-License-Identifier: Apache-2.0
"""A program that waits until the nodes are active, or until they have nothing left to do.

For scripts and launch files; exit status 0 means that it has come true.

    ros2 run samtok_ros wait_until active --ros-args -r __ns:=/samtok
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Protocol

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

from samtok_ros.errors import ConfigError, DeviceError, SamtokError
from samtok_ros.interface.ros_names import BOTH
from samtok_ros.nodes.managed_node import NAMESPACE
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

_LOOK_S = 0.1
_PATIENCE_S = 2.0
_INTERRUPTED = 130
# Two reports: what one node has just sent may not have reached the other one at the first.
_REPORTS_IN_A_ROW = 2
_NOTHING_LEFT = {'grounding': {'worker': 'idle', 'frames_waiting': '0'},
                 'mask_tokenizer': {'worker': 'idle', 'words_waiting': '0'},
                 'lifting': {'masks_waiting': '0', 'masks_waiting_for_depth': '0'}}
_BUSY_PART = {'lifting': 'lifting'}


class Condition(Protocol):
    """Something to wait for."""

    def missing(self) -> list[str]:
        """Look again and return what is still missing; empty when it has come true."""


class AllActive:
    """Every node is in the lifecycle state active."""

    def __init__(self, node: Node, names: Sequence[str]) -> None:
        """Ask the nodes of these names in the namespace of `node`."""
        self._clients = {name: node.create_client(GetState, f'{name}/get_state') for name in names}
        self._answers: dict[str, tuple[float, Future]] = {}
        self._states = dict.fromkeys(names, 'not there')

    def missing(self) -> list[str]:
        """See Condition.

        Raises:
            ConfigError: a node tried to come up and could not.
        """
        for name, client in self._clients.items():
            asked_s, answer = self._answers.get(name, (0.0, None))
            if answer is not None and answer.done():
                self._note(name, answer.result().current_state.label)
            # A node that was killed takes requests for a while, and answers none.
            is_over = answer is None or answer.done() or time.monotonic() > asked_s + _PATIENCE_S
            if is_over and client.service_is_ready():
                self._answers[name] = time.monotonic(), client.call_async(GetState.Request())
        return [f'{name} is {state}' for name, state in self._states.items() if state != 'active']

    def _note(self, name: str, state: str) -> None:
        if (self._states[name], state) in (('configuring', 'unconfigured'),
                                           ('activating', 'inactive')):
            raise ConfigError(f'node {name} could not leave the state {state}',
                              fix='read why in its log')
        self._states[name] = state


class AllIdle:
    """No node has anything left to do, as diagnostics say."""

    def __init__(self, node: Node, names: Sequence[str]) -> None:
        """Listen to the nodes of these names in the namespace of `node`."""
        prefix = node.get_namespace().strip('/')
        self._names = {f'{prefix}/{name}: {_BUSY_PART.get(name, "inference")}': name
                       for name in names}
        self._in_a_row = dict.fromkeys(names, 0)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 100)

    def missing(self) -> list[str]:
        """See Condition."""
        return [f'{name} is busy, or not heard of' for name, count in self._in_a_row.items()
                if count < _REPORTS_IN_A_ROW]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = self._names.get(status.name)
            if name is not None:
                values = {value.key: value.value for value in status.values}
                idle = _NOTHING_LEFT[name].items() <= values.items()
                self._in_a_row[name] = self._in_a_row[name] + 1 if idle else 0


_CONDITIONS = {'active': AllActive, 'idle': AllIdle}


def wait_for(node: Node, condition: Condition, timeout_s: float) -> None:
    """Spin a node until a condition has come true.

    Raises:
        ConfigError: it never will.
        DeviceError: it has not in time.
    """
    deadline = time.monotonic() + timeout_s
    while missing := condition.missing():
        if time.monotonic() > deadline:
            raise DeviceError(f'not within {timeout_s:.0f} s', got=', '.join(missing),
                              fix='read the log of the nodes, or raise --timeout')
        rclpy.spin_once(node, timeout_sec=_LOOK_S)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='wait_until', description='Wait until the nodes of a namespace are active (they take '
        'images) or idle (nothing is left to do).')
    parser.add_argument('condition', choices=tuple(_CONDITIONS))
    parser.add_argument('nodes', nargs='*', metavar='NODE', help='nodes to wait for; without any, '
                        f'{" and ".join(BOTH)}')
    parser.add_argument('--timeout', type=float, default=600.0, metavar='S',
                        help='give up after this many seconds (default: %(default)s)')
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.nodes) - set(SETTINGS_OF_NODE):
        parser.error(f'no such node: {", ".join(sorted(unknown))}')
    return arguments


def main() -> int:
    """Wait as the command line says; return the exit status."""
    arguments = _parse(remove_ros_args(sys.argv)[1:])
    rclpy.init(args=sys.argv)
    node = rclpy.create_node('wait_until', namespace=NAMESPACE)
    try:
        condition = _CONDITIONS[arguments.condition](node, arguments.nodes or BOTH)
        wait_for(node, condition, arguments.timeout)
    except SamtokError as error:
        node.get_logger().error(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return _INTERRUPTED
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
