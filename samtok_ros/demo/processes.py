# SPDX-License-Identifier: Apache-2.0
"""Programs of ours in child processes: started alone on this machine, ended cleanly."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from samtok_ros.bring_up.child import end_with_parent
from samtok_ros.errors import DeviceError

_STOP_WAIT_S = 20.0
_MOST_DOMAINS = 100


def isolated_environment() -> dict[str, str]:
    """Return an environment in which ROS hears nobody but what is started with it, on this host."""
    return {**os.environ, 'ROS_DOMAIN_ID': str(_free_domain()),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST', 'RCUTILS_COLORIZED_OUTPUT': '0',
            'RCUTILS_LOGGING_BUFFERED_STREAM': '0', 'PYTHONUNBUFFERED': '1'}


def _free_domain() -> int:
    """Return a domain in which no participant runs on this machine."""
    first = os.getpid()
    for domain in (1 + (first + offset) % _MOST_DOMAINS for offset in range(_MOST_DOMAINS)):
        # Where the first participant of the domain listens, as DDS prescribes.
        port = 7400 + 250 * domain + 10
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', port))
            except OSError:
                continue
        return domain
    raise DeviceError('every ROS domain of this machine is in use', fix='end other ROS programs')


class ChildProcess:
    """A program that writes into a log file and ends at the latest with this object.

    Args:
        name: for messages.
        command: program and arguments.
        log: file for all that it says.
        environment: its environment variables.
    """

    def __init__(self, name: str, command: Sequence[str | Path], log: Path,
                 environment: dict[str, str]) -> None:
        self.name = name
        self.log = log
        with log.open('wb') as output:
            self._process = subprocess.Popen(
                [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=environment, cwd=log.parent,
                # A group of its own: Ctrl-C in the terminal reaches it through us alone.
                start_new_session=True, preexec_fn=end_with_parent)

    def __enter__(self) -> 'ChildProcess':
        """Do nothing: it runs already."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it, however."""
        try:
            self.stop()
        except DeviceError:
            if exception[0] is None:
                raise

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end and return its exit status, None after the time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C does, and return its exit status.

        Raises:
            DeviceError: it did not end and was killed.
        """
        if self.status is None:
            self._process.send_signal(signal.SIGINT)
        status = self.wait(_STOP_WAIT_S)
        if status is None:
            self._process.kill()
            self._process.wait()
            raise DeviceError(f'{self.name} did not end within {_STOP_WAIT_S:.0f} s and was killed',
                              got=self.last_lines())
        return status

    def last_lines(self, count: int = 6) -> str:
        """Return the end of what it said, lines joined by ' | '."""
        lines = [line.strip() for line in self._lines() if line.strip()]
        return ' | '.join(lines[-count:]) or 'nothing was said'

    def _lines(self) -> Iterator[str]:
        yield from self.log.read_text(encoding='utf-8', errors='replace').splitlines()
