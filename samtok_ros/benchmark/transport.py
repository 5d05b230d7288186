# SPDX-License-Identifier: Apache-2.0
"""What images cost before a model sees them; measured with ROS in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence

from samtok_ros.demo.processes import isolated_environment
from samtok_ros.errors import ConfigError

_MODULE = 'samtok_ros.nodes.bench_transport'
_TIMEOUT_S = 600
_COLUMNS = ('what', 'size', 'sent', 'arrived', 'p50_ms', 'p95_ms', 'receiver_cpu_ms')


def run_transport_bench(images: int = 100) -> list[dict[str, object]]:
    """Return a row per way to fill, read and send an image.

    Args:
        images: sent for each form and size, at 30 per second.
    Raises:
        ConfigError: ROS 2 or our messages are not installed.
    """
    done = subprocess.run([sys.executable, '-P', '-m', _MODULE, str(images)], text=True,
                          env=isolated_environment(), capture_output=True, timeout=_TIMEOUT_S,
                          check=False)
    if done.returncode:
        raise ConfigError('the transport cannot be measured',
                          got=(done.stderr.strip().splitlines() or ['no reason'])[-1],
                          fix='install ROS 2 and this package: make setup')
    return json.loads(done.stdout)


def transport_table(rows: Sequence[dict[str, object]]) -> str:
    """Return the rows as a table for people."""
    cells = [_COLUMNS, *(tuple(_text(row.get(name, '')) for name in _COLUMNS) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
    return '\n'.join('  '.join(
        text.ljust(width) if column < 2 else text.rjust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells)


def _text(value: object) -> str:
    return f'{value:.3f}' if isinstance(value, float) else str(value)
