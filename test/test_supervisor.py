# SPDX-License-Identifier: Apache-2.0
"""Programs that live and end together; small shell scripts play them."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from samtok_ros.bring_up import supervisor
from samtok_ros.bring_up.supervisor import Command, Supervisor

READY = 'echo ready; while :; do sleep 0.02; done'
GOOD = f'trap "echo bye; exit 0" INT; {READY}'
BAD_END = f'trap "exit 3" INT; {READY}'
DEAF = f'trap "" INT TERM; {READY}'
DEAF_TO_CTRL_C = f'trap "" INT; trap "exit 0" TERM; {READY}'


def script(name, text, needed=True):
    return Command(name, ('/bin/sh', '-c', text), needed)


class Screen:
    """Collects lines, and acts once when enough of them match: the finger on Ctrl-C."""

    def __init__(self, pattern, count=1, act=lambda: os.kill(os.getpid(), signal.SIGINT)):
        self.lines = []
        self._wanted = (re.compile(pattern), count)
        self._act = act
        self._lock = threading.Lock()
        self._done = False

    def __call__(self, line):
        pattern, count = self._wanted
        with self._lock:
            self.lines.append(line)
            hits = sum(bool(pattern.search(line)) for line in self.lines)
            due = hits >= count and not self._done
            self._done |= due
        if due:
            self._act()

    def text(self):
        return '\n'.join(self.lines)


@pytest.fixture
def quick(monkeypatch):
    """Lose patience fast with programs that do not want to end."""
    monkeypatch.setattr(supervisor, '_ENDING', tuple(
        (number, 0.2) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)))


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_programs_when_asked_to_end_then_each_is_asked_once_and_all_is_well(number):
    screen = Screen('ready', 2, lambda: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert Supervisor([script('one', GOOD), script('two', GOOD)], screen).run() == 0
    assert signal.getsignal(number) is before
    assert screen.lines.count('[one] bye') == screen.lines.count('[two] bye') == 1
    assert f'{number.name}: ending' in screen.lines


def test_program_when_it_dies_then_the_others_end_and_the_reason_is_said():
    screen = Screen('never')
    programs = [script('one', GOOD), script('two', 'echo oh no >&2; exit 7')]
    assert Supervisor(programs, screen).run() == 1
    assert '[two] oh no' in screen.lines
    assert 'two has ended (exit status 7): ending the others' in screen.lines


def test_program_when_it_is_killed_then_the_signal_is_named():
    screen = Screen('never')
    assert Supervisor([script('one', 'kill -SEGV $$')], screen).run() == 1
    assert 'one has ended (SIGSEGV)' in screen.lines


def test_program_when_it_ends_well_unasked_then_so_do_the_others():
    screen = Screen('never')
    assert Supervisor([script('one', GOOD), script('two', 'exit 0')], screen).run() == 0
    assert 'two has ended (exit status 0): ending the others' in screen.lines


def test_program_when_it_is_not_needed_then_its_end_ends_nothing():
    screen = Screen(r'viewer has ended \(exit status 1\)$')
    programs = [script('node', GOOD), script('viewer', 'exit 1', needed=False)]
    assert Supervisor(programs, screen).run() == 0
    assert '[node] bye' in screen.lines


def test_program_when_it_respawns_then_it_comes_again_and_the_others_stay(tmp_path):
    dead = tmp_path / 'dead'
    twice = f'test -e {dead} || {{ touch {dead}; exit 7; }}; {GOOD}'
    screen = Screen('ready', 2)
    programs = [script('one', twice), script('two', GOOD)]
    assert Supervisor(programs, screen, respawn_delay_s=0.01).run() == 0
    assert 'one has ended (exit status 7): starting it again in 0.01 s' in screen.lines
    assert len([line for line in screen.lines if line.startswith('one is started')]) == 2
    assert len([line for line in screen.lines if line.startswith('two is started')]) == 1


def test_programs_when_one_waits_to_come_again_then_the_end_does_not_wait_for_it():
    screen = Screen('starting it again')
    assert Supervisor([script('one', 'exit 7')], screen, respawn_delay_s=1000.0).run() == 0
    assert len([line for line in screen.lines if line.startswith('one is started')]) == 1


def test_program_when_it_ends_badly_after_ctrl_c_then_the_status_says_so():
    screen = Screen('ready')
    assert Supervisor([script('one', BAD_END)], screen).run() == 1
    assert 'one did not end well (exit status 3)' in screen.lines


def test_program_when_it_hears_no_ctrl_c_then_it_is_told_more_firmly(quick):
    screen = Screen('ready')
    assert Supervisor([script('one', DEAF_TO_CTRL_C)], screen).run() == 0
    assert 'one still runs: sending SIGTERM' in screen.lines
    screen = Screen('ready')
    assert Supervisor([script('two', DEAF)], screen).run() == 1
    assert 'two still runs: sending SIGKILL' in screen.lines
    assert 'two did not end well (SIGKILL)' in screen.lines


def test_ctrl_c_when_pressed_again_then_nobody_waits_any_longer():
    lines = []

    def press(line):
        lines.append(line)
        if re.search('ready|SIGINT: ending|sending SIGTERM', line):
            os.kill(os.getpid(), signal.SIGINT)

    assert Supervisor([script('one', DEAF)], press).run() == 1
    assert 'one did not end well (SIGKILL)' in lines


def test_program_when_it_cannot_be_started_then_those_that_run_end(tmp_path):
    screen = Screen('never')
    programs = [script('one', GOOD), Command('two', (tmp_path / 'nothing',))]
    with pytest.raises(FileNotFoundError):
        Supervisor(programs, screen).run()
    assert 'one is started' in screen.text()


def test_lines_when_nobody_reads_them_any_more_then_the_programs_end():
    def broken(line):
        if 'ready' in line:
            raise BrokenPipeError

    assert Supervisor([script('one', GOOD)], broken).run() == 0


def test_child_when_its_parent_is_killed_then_it_is_asked_to_end(tmp_path):
    if not sys.platform.startswith('linux'):
        pytest.skip('only Linux tells a child that its parent has died')
    trace = tmp_path / 'trace'
    text = f'trap "echo bye > {trace}; exit 0" INT; {READY}'
    code = ('import sys\nfrom samtok_ros.bring_up.supervisor import Command, Supervisor\n'
            'Supervisor([Command("one", ("/bin/sh", "-c", sys.argv[1]))], '
            'lambda line: print(line, flush=True)).run()\n')
    with subprocess.Popen([sys.executable, '-P', '-c', code, text], stdout=subprocess.PIPE,
                          text=True, cwd=tmp_path) as parent:
        for line in parent.stdout:
            if 'ready' in line:
                break
        parent.kill()
    deadline = time.monotonic() + 30.0
    while not (trace.exists() and trace.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert trace.read_text() == 'bye\n'
