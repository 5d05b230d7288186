# SPDX-License-Identifier: Apache-2.0
"""Run nodes in a process and end it cleanly."""

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor

from samtok_ros.errors import SamtokError
from samtok_ros.nodes.command_line import start_ros
from samtok_ros.nodes.managed_node import ManagedNode
from samtok_ros.runtime.memory import keep_large_blocks_apart

_THREADS = 6
"""A goal, two questions and a call to the mask tokenizer may hold one each while they wait."""

_LOOK_UP_S = 0.2
_MOST_TORN_ROUNDS = 20
"""One after the other; more than a transition can cause."""
_SETTLE_S = 0.3
_GRACE_S = 4.0
"""Launch asks again five seconds after it asked, and kills what is still there after five more."""
_ONLY_WAIT = (__name__, 'samtok_ros.runtime.worker', 'samtok_ros.runtime.item_thread')
"""Modules whose functions do no work of their own: whoever is in them waits for somebody."""


class SpinThread(threading.Thread):
    """Spins an executor, and can wait for its callbacks; Jazzy's executor cannot."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        super().__init__(name='samtok_spin', daemon=True)
        self.executor = MultiThreadedExecutor(num_threads=_THREADS)
        self.failed = False
        self._ending = False
        self._torn_rounds = 0
        self._on_end = on_end

    def run(self) -> None:
        """Spin until the end; an exception in a callback is a bug and ends the process."""
        try:
            while not self._ending and self.executor.context.ok():
                self._spin_once()
        except ExternalShutdownException:
            pass
        except Exception:
            self.failed = True
            rclpy.logging.get_logger('samtok_ros').fatal(traceback.format_exc())
        finally:
            self._on_end()

    def _spin_once(self) -> None:
        try:
            self.executor.spin_once(_LOOK_UP_S)
        except InvalidHandle:
            # rclpy collects what it waits for while a transition in another thread destroys some
            # of it, and forgives that of subscriptions but not of their events. Nothing was taken
            # yet, so the next round finds what this one would have.
            self._torn_rounds += 1
            if self._torn_rounds > _MOST_TORN_ROUNDS:
                raise
        else:
            self._torn_rounds = 0

    def settle(self, timeout_s: float) -> None:
        """Let callbacks that are under way end, those that send the results of goals among them."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s and any(
                not task.done() for task, *_ in list(self.executor._tasks)):
            time.sleep(0.01)

    def finish(self, timeout_s: float | None = None) -> bool:
        """Take no more callbacks and wait for those that run; False when some run on.

        Args:
            timeout_s: how long to wait, None for as long as it takes.
        """
        # The executor must not be shut down under the feet of the thread that spins it.
        self._ending = True
        self.join()
        pool = self.executor._executor
        waiter = threading.Thread(target=pool.shutdown, daemon=True)
        waiter.start()
        waiter.join(timeout_s)
        self.executor.shutdown()
        return not waiter.is_alive()


def run(make_nodes: Callable[[], list[ManagedNode]]) -> int:
    """Create nodes and spin them until SIGINT, SIGTERM or a shutdown from outside.

    Returns:
        The exit status: 0 after an end that was asked for, 1 when a setting is wrong or a callback
        failed.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    keep_large_blocks_apart()
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    try:
        start_ros()
        nodes = make_nodes()
    except SamtokError as error:
        rclpy.logging.get_logger('samtok_ros').fatal(str(error))
        rclpy.try_shutdown()
        return 1
    spinning = SpinThread(on_end=asked.set)
    for node in nodes:
        spinning.executor.add_node(node)
    spinning.start()
    # Not without a time: the system may give the signal to another thread, and Python answers it
    # only when this one moves.
    while not asked.wait(_LOOK_UP_S):
        pass
    _end(spinning, nodes)
    return int(spinning.failed)


def _end(spinning: SpinThread, nodes: list[ManagedNode]) -> None:
    # Loading a model, or one step of it, cannot be interrupted, and there is nothing to be saved.
    too_late = threading.Timer(_GRACE_S, _leave, [spinning])
    too_late.daemon = True
    too_late.start()
    try:
        for node in nodes:
            node.interrupt()
        spinning.settle(_SETTLE_S)
        spinning.finish()
        for node in reversed(nodes):
            node.close()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown()
    finally:
        too_late.cancel()


def _leave(spinning: SpinThread) -> None:
    """End the process as it is, and say what of it did not end."""
    rclpy.logging.get_logger('samtok_ros').warning(
        f'the process ends, although this still runs after {_GRACE_S:g} s: '
        + (', '.join(_what_runs()) or 'the end of its nodes'))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(spinning.failed))


def _what_runs() -> Iterator[str]:
    """Name the threads that do something, each with the function of ours that it is in."""
    frames = sys._current_frames()
    for thread in threading.enumerate():
        frame = frames.get(thread.ident)
        while frame and not frame.f_globals.get('__name__', '').startswith('samtok_ros.'):
            frame = frame.f_back
        if frame and frame.f_globals['__name__'] not in _ONLY_WAIT:
            yield f'{thread.name} in {frame.f_globals["__name__"]}.{frame.f_code.co_name}'
