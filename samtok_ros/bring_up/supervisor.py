# SPDX-License-Identifier: Apache-2.0
"""Programs that live and end together, as under `ros2 launch`."""

import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.bring_up.child import Child, ending_text

_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What launch does, with more time: a node may be in the middle of loading a model.
_ENDING = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))


# A signal that comes just before a wait begins does not end the wait: look again now and then.
_LOOK_UP_S = 0.2


@dataclass(frozen=True)
class Command:
    """A program to run.

    Attributes:
        name: shown in front of its lines.
        command: program and arguments.
        needed: its end ends all others, unless it is started again; a viewer is not needed.
    """

    name: str
    command: tuple[str | Path, ...]
    needed: bool = True


class Supervisor:
    """Runs programs until somebody asks for the end, or one that is needed has ended.

    Args:
        commands: what to run, in the order of starting.
        say: takes one line at a time, from any thread.
        respawn_delay_s: time after which a needed program that has ended is started again; None:
            its end is the end of all.
    """

    def __init__(self, commands: Sequence[Command], say: Callable[[str], None],
                 respawn_delay_s: float | None = None) -> None:
        self._commands = tuple(commands)
        self._show = say
        self._is_heard = True
        self._respawn_delay_s = respawn_delay_s
        # Holds a child that has ended, or the number of a signal that asks for the end.
        self._events: queue.SimpleQueue[Child | int] = queue.SimpleQueue()
        self._running: dict[Child, Command] = {}
        self._due: list[tuple[float, Command]] = []

    def run(self) -> int:
        """Start everything and wait for the end; must be called in the main thread.

        Returns:
            Exit status: 0 when the end was asked for and every needed program ended with 0, else 1.
        """
        with self._listening_to_signals():
            try:
                for command in self._commands:
                    self._start(command)
                failed = self._watch()
            finally:
                ended_well = self._end()
        return int(failed or not ended_well)

    def _say(self, line: str) -> None:
        try:
            self._show(line)
        except OSError:
            # Whoever read our lines, such as `head`, has gone: nobody watches any more.
            if self._is_heard:
                self._events.put(signal.SIGTERM)
            self._is_heard = False

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, lambda number, _: self._events.put(number))
                  for number in _ASKED_TO_END}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, command: Command) -> None:
        child = Child(command.name, command.command, self._say, self._events.put)
        self._running[child] = command
        self._say(f'{command.name} is started, process {child.pid}')

    def _watch(self) -> bool:
        """Wait until all must end; True when that is because of a failure."""
        while True:
            event = self._event_before(self._due[0][0] if self._due else float('inf'))
            if isinstance(event, int):
                self._say(f'{signal.Signals(event).name}: ending')
                return False
            if event is None:
                self._start(self._due.pop(0)[1])
            elif self._has_ended_for_good(event):
                return event.status != 0

    def _event_before(self, deadline_s: float) -> Child | int | None:
        """Wait for an event; None when none has come until then."""
        while (left_s := deadline_s - time.monotonic()) > 0:
            try:
                return self._events.get(timeout=min(left_s, _LOOK_UP_S))
            except queue.Empty:
                continue
        return None

    def _has_ended_for_good(self, child: Child) -> bool:
        command = self._running.pop(child)
        text = f'{command.name} has ended ({ending_text(child.status)})'
        if not command.needed:
            self._say(text)
            return False
        if self._respawn_delay_s is None:
            self._say(f'{text}: ending the others' if self._running else text)
            return True
        self._say(f'{text}: starting it again in {self._respawn_delay_s:g} s')
        self._due.append((time.monotonic() + self._respawn_delay_s, command))
        return False

    def _end(self) -> bool:
        """End what runs, more and more firmly; True when every needed program ended with 0."""
        ended_well = True
        for number, wait_s in _ENDING:
            if not self._running:
                break
            for child in self._running:
                if number != signal.SIGINT:
                    self._say(f'{child.name} still runs: sending {number.name}')
                child.send(number)
            ended_well &= self._wait_for_all(wait_s)
        return ended_well

    def _wait_for_all(self, wait_s: float) -> bool:
        """Wait for the end of all, or for another signal; True when no needed one failed."""
        deadline = time.monotonic() + wait_s
        ended_well = True
        while self._running:
            event = self._event_before(deadline)
            if event is None or isinstance(event, int):
                break
            command = self._running.pop(event)
            if event.status and command.needed:
                self._say(f'{command.name} did not end well ({ending_text(event.status)})')
                ended_well = False
        return ended_well
