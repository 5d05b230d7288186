# SPDX-License-Identifier: Apache-2.0
"""Run nodes in a process and end it cleanly."""

import logging
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.lifecycle import PerceptionNode

_THREADS = 4


class JoiningExecutor(MultiThreadedExecutor):
    """An executor that leaves no thread behind.

    Jazzy's does not end its pool; the process would abort at exit with threads in the middleware.
    """

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Stop, and wait for callbacks that still run."""
        done = super().shutdown(timeout_sec)
        self._executor.shutdown(wait=True)
        return done


def run(make_nodes: Callable[[], list[PerceptionNode]]) -> int:
    """Create nodes and spin them until SIGINT, SIGTERM or a shutdown from outside.

    Returns:
        The exit status: 0 after a shutdown that was asked for, 1 when a setting is wrong.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    rclpy.init()
    try:
        nodes = make_nodes()
    except SamtokError as error:
        rclpy.logging.get_logger('samtok_ros').fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = JoiningExecutor(num_threads=_THREADS)
    try:
        for node in nodes:
            executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        for node in reversed(nodes):
            node.close()
        executor.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
