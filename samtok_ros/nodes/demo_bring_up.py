# SPDX-License-Identifier: Apache-2.0
"""Bring lifecycle nodes to work, and wait until topics are connected: what a launch file does."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.node import Node

from samtok_ros.errors import ConfigError, DeviceError

_POLL_S = 0.02


def wait_until(condition: Callable[[], Any], what: Callable[[], str], timeout_s: float) -> None:
    """Wait for a condition.

    Args:
        condition: asked again and again.
        what: says what was waited for; asked when the time is over.
        timeout_s: how long.
    Raises:
        DeviceError: it did not come true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise DeviceError(f'not within {timeout_s:.0f} s: {what()}',
                              fix='try again when the machine is less busy')
        time.sleep(_POLL_S)


def start_nodes(node: Node, names: Sequence[str], timeout_s: float) -> None:
    """Configure all nodes, then activate them in the same order.

    Args:
        node: spun in another thread.
        names: of lifecycle nodes in the namespace of `node`.
        timeout_s: for all of it.
    Raises:
        ConfigError: a node refused; its log says why.
        DeviceError: a node did not answer in time.
    """
    steps = (('configure', Transition.TRANSITION_CONFIGURE),
             ('activate', Transition.TRANSITION_ACTIVATE))
    deadline = time.monotonic() + timeout_s
    for step, number in steps:
        for name in names:
            _change_state(node, name, step, number, deadline)


def _change_state(node: Node, name: str, step: str, number: int, deadline: float) -> None:
    client = node.create_client(ChangeState, f'{name}/change_state')
    try:
        wait_until(client.service_is_ready, lambda: f'node {name} is there',
                   deadline - time.monotonic())
        request = ChangeState.Request()
        request.transition.id = number
        future = client.call_async(request)
        wait_until(future.done, lambda: f'node {name} has answered to {step}',
                   deadline - time.monotonic())
        if not future.result().success:
            raise ConfigError(f'node {name} failed to {step}', fix='read why in its log')
    finally:
        node.destroy_client(client)


class Diagnostics:
    """The last diagnostic values of every part of every node."""

    def __init__(self, node: Node) -> None:
        self.values: dict[str, Mapping[str, str]] = {}
        self._name_space = node.get_namespace().strip('/')
        self._subscription = node.create_subscription(
            DiagnosticArray, '/diagnostics', self._on_message, 100)

    def value(self, node: str, part: str, name: str) -> str:
        """Return a value, '' as long as it is not known."""
        return self.values.get(f'{self._name_space}/{node}: {part}', {}).get(name, '')

    def _on_message(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.values[status.name] = {item.key: item.value for item in status.values}
