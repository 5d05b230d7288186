# SPDX-License-Identifier: Apache-2.0
"""One program in a child process whose lines are shown under its name."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_SET_DEATH_SIGNAL = 1
# Loaded here: between fork and exec nothing may take a lock.
_LIBC = ctypes.CDLL(None)


class Child:
    """A running program; whoever started it is told when it has ended.

    Args:
        name: shown in front of each of its lines.
        command: program and arguments.
        say: takes one line at a time, from any thread.
        on_end: called with this object from another thread, once, after its last line was said.
    """

    def __init__(self, name: str, command: Sequence[str | Path], say: Callable[[str], None],
                 on_end: Callable[['Child'], None]) -> None:
        self.name = name
        self._say = say
        self._on_end = on_end
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace', env=_environment(),
            # A group of its own: Ctrl-C in the terminal reaches it through us alone, once.
            start_new_session=True, preexec_fn=end_with_parent)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative after a signal; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; without effect when it has ended."""
        self._process.send_signal(number)

    def _read(self) -> None:
        for line in self._process.stdout:
            self._say(f'[{self.name}] {line.rstrip()}')

    def _wait(self) -> None:
        self._process.wait()
        # A program that it has started in turn may keep the pipe open for ever.
        self._reader.join(timeout=1.0)
        self._on_end(self)


def ending_text(status: int) -> str:
    """Say how a process has ended."""
    if status >= 0:
        return f'exit status {status}'
    return signal.Signals(-status).name


def end_with_parent() -> None:
    """In a child: hear Ctrl-C, and let the kernel send it when the parent was killed (Linux)."""
    # What a shell starts with & is told to ignore Ctrl-C, and its children with it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == 'linux':
        _LIBC.prctl(_SET_DEATH_SIGNAL, signal.SIGINT)


def _environment() -> dict[str, str]:
    # Lines as they are written, and in colour where people see them.
    colour = '1' if sys.stdout.isatty() else '0'
    return {'RCUTILS_COLORIZED_OUTPUT': colour, **os.environ, 'PYTHONUNBUFFERED': '1'}
