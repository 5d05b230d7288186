# SPDX-License-Identifier: Apache-2.0
"""Examples as a user has them: started as programs, or their functions taken out of the file."""

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'


class Example:
    """An example that runs in a process of its own."""

    def __init__(self, process, log):
        self.process = process
        self._log = log

    @property
    def log(self):
        return self._log.read_text()

    @property
    def has_ended(self):
        return self.process.poll() is not None


@contextmanager
def running_example(world, name, *arguments):
    """Start an example; it must end without a traceback when it is asked to."""
    path = world.folder / f'{Path(name).name}.log'
    with path.open('wb') as log:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / f'{name}.py'), *map(str, arguments)],
            stdout=log, stderr=log, cwd=world.folder,
            env={**os.environ, 'ROS_DOMAIN_ID': str(world.domain),
                 'RCUTILS_LOGGING_BUFFERED_STREAM': '0', 'OMP_NUM_THREADS': '1'})
    try:
        yield Example(process, path)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert 'Traceback' not in path.read_text(), path.read_text()


def load_example(name):
    """Import an example by its path, as if it were run; name is relative to examples/."""
    path = EXAMPLES / f'{name}.py'
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
