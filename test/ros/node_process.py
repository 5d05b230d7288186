# SPDX-License-Identifier: Apache-2.0
"""One of our programs in a child process."""

import os
import signal
import subprocess
from pathlib import Path

from ament_index_python.packages import get_package_prefix
from waiting import DEADLINE_S, wait_until


class NodeProcess:
    """One of our programs in a child process, as `ros2 run` would start it."""

    def __init__(self, program, parameters, ros_args, domain, log_path):
        path = Path(get_package_prefix('samtok_ros'), 'lib', 'samtok_ros', program)
        command = [str(path), '--ros-args', *ros_args]
        for name, value in parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ['-p', f'{name}:={text}']
        self._log_path = log_path
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain), 'RCUTILS_COLORIZED_OUTPUT': '0',
                       'RCUTILS_LOGGING_BUFFERED_STREAM': '0', 'OMP_NUM_THREADS': '1',
                       'PYTHONFAULTHANDLER': '1'}  # a crash leaves its traceback in the log
        with log_path.open('wb') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log,
                                            env=environment, cwd=log_path.parent)

    def log(self):
        return self._log_path.read_text(errors='replace')

    def wait_for_log(self, text, count=1):
        wait_until(lambda: self.log().count(text) >= count,
                   lambda: f'{text!r} in the log:\n{self.log()}')

    def wait_for_exit(self, timeout_s=DEADLINE_S):
        return self.process.wait(timeout_s)

    def stop(self, number=signal.SIGINT):
        """Ask the process to end; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait_for_exit()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
