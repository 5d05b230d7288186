# SPDX-License-Identifier: Apache-2.0
"""The end of a process: clean where it can be, and in any case before launch loses patience."""

import os
import subprocess
import sys

import pytest
from harness import own_domain
from waiting import DEADLINE_S

PROGRAM = """
import os, signal, sys, threading, time
from rclpy.node import Node
from samtok_ros.nodes.spin import run

MODE = sys.argv[1]


class OneOfOurs(Node):
    def __init__(self):
        super().__init__('one_of_ours')
        self.timer = self.create_timer(0.1, self.tick)

    def tick(self):
        self.timer.cancel()
        if 'fails' in MODE:
            raise ZeroDivisionError('a bug')
        os.kill(os.getpid(), signal.SIGINT)

    def interrupt(self):
        pass

    def close(self):
        if 'hangs' in MODE:
            threading.Event().wait()
        print('closed')


sys.exit(run(lambda: [OneOfOurs()]))
"""


@pytest.fixture
def ended(tmp_path):
    """Return a function that runs a program to its end, and returns exit status and log."""
    script = tmp_path / 'program.py'
    script.write_text(PROGRAM)

    def end(mode):
        with own_domain() as domain:
            done = subprocess.run(
                [sys.executable, '-P', str(script), mode], cwd=tmp_path, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE_S, check=False,
                env={**os.environ, 'ROS_DOMAIN_ID': str(domain), 'PYTHONUNBUFFERED': '1'})
        return done.returncode, done.stdout

    return end


def test_process_when_its_nodes_end_then_it_ends_after_them(ended):
    status, log = ended('')
    assert (status, 'closed' in log, 'still runs' in log) == (0, True, False), log


@pytest.mark.parametrize('mode, expected', [('hangs', 0), ('fails and hangs', 1)])
def test_process_when_a_node_does_not_end_then_it_ends_all_the_same_and_says_so(
        ended, mode, expected):
    status, log = ended(mode)
    assert status == expected, log
    assert 'closed' not in log
    assert log.count('the process ends, although this still runs after 4 s') == 1
