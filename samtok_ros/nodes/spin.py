# SPDX-License-Identifier: Apache-2.0
"""Run nodes in a process and end it cleanly."""

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.lifecycle import PerceptionNode

_THREADS = 4
_LOOK_UP_S = 0.2
_GRACE_S = 4.0
"""Launch kills what is still there five seconds after it asked."""


class SpinThread(threading.Thread):
    """Spins an executor, and can wait for its callbacks; Jazzy's executor cannot."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        super().__init__(name='samtok_spin', daemon=True)
        self.executor = MultiThreadedExecutor(num_threads=_THREADS)
        self.failed = False
        self._ending = False
        self._on_end = on_end

    def run(self) -> None:
        """Spin until the end; an exception in a callback is a bug and ends the process."""
        try:
            while not self._ending and self.executor.context.ok():
                self.executor.spin_once(_LOOK_UP_S)
        except ExternalShutdownException:
            pass
        except Exception:
            self.failed = True
            rclpy.logging.get_logger('samtok_ros').fatal(traceback.format_exc())
        finally:
            self._on_end()

    def finish(self, timeout_s: float) -> bool:
        """Take no more callbacks and wait for those that run; False when some run on."""
        # The executor must not be shut down under the feet of the thread that spins it.
        self._ending = True
        self.join()
        pool = self.executor._executor
        waiter = threading.Thread(target=pool.shutdown, daemon=True)
        waiter.start()
        waiter.join(timeout_s)
        self.executor.shutdown()
        return not waiter.is_alive()


def run(make_nodes: Callable[[], list[PerceptionNode]]) -> int:
    """Create nodes and spin them until SIGINT, SIGTERM or a shutdown from outside.

    Returns:
        The exit status: 0 after an end that was asked for, 1 when a setting is wrong or a callback
        failed.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    # rclpy's own handlers take the context away while the worker still publishes.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    try:
        nodes = make_nodes()
    except SamtokError as error:
        rclpy.logging.get_logger('samtok_ros').fatal(str(error))
        rclpy.try_shutdown()
        return 1
    spinning = SpinThread(on_end=asked.set)
    for node in nodes:
        spinning.executor.add_node(node)
    spinning.start()
    asked.wait()
    if not spinning.finish(_GRACE_S):
        # Loading a model cannot be interrupted, and there is nothing to be saved.
        sys.stderr.flush()
        os._exit(0)
    _close(nodes)
    return int(spinning.failed)


def _close(nodes: list[PerceptionNode]) -> None:
    for node in reversed(nodes):
        node.close()
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown()
