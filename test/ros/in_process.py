# SPDX-License-Identifier: Apache-2.0
"""Both nodes in the process of the test, spun as the program does it."""

from contextlib import contextmanager

import rclpy
from harness import FAKE
from rclpy.signals import SignalHandlerOptions

from samtok_ros.nodes.perception import make_nodes
from samtok_ros.nodes.spin import SpinThread
from samtok_ros.runtime.memory import keep_large_blocks_apart


@contextmanager
def running_nodes(domain, parameters=None, make=make_nodes):
    """Run nodes by name; at the end nothing of them may have failed and all of it must end."""
    arguments = ['--ros-args']
    for name, value in (FAKE if parameters is None else parameters).items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ['-p', f'{name}:={text}']
    keep_large_blocks_apart()
    rclpy.init(args=arguments, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    nodes = make()
    spinning = SpinThread(on_end=lambda: None)
    for node in nodes:
        spinning.executor.add_node(node)
    spinning.start()
    try:
        yield {node.get_name(): node for node in nodes}
    finally:
        for node in nodes:
            node.interrupt()
        assert spinning.finish(30)
        for node in reversed(nodes):
            node.close()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
        assert not spinning.failed


def receive(node, topic, data):
    """Hand bytes to a node as the middleware does; what its handler raises comes out here."""
    found = [s for s in node.subscriptions if s.topic_name == f'/samtok/{topic}']
    assert len(found) == 1, [s.topic_name for s in node.subscriptions]
    found[0].callback(data)
