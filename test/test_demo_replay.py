# SPDX-License-Identifier: Apache-2.0
"""The clock of a replay, its plan, and child processes; the replay itself is in test/ros/."""

import os
import signal
import sys

import pytest

from samtok_ros.demo.processes import ChildProcess, isolated_environment
from samtok_ros.demo.replay_clock import ReplayClock
from samtok_ros.demo.replay_plan import ReplayPlan
from samtok_ros.demo.run_demo import DemoSettings, run_demo
from samtok_ros.errors import CheckpointError, ConfigError, DeviceError

START_NS = 5_000_000_000


class SteadyTime:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def steady():
    return SteadyTime()


def test_clock_when_it_runs_then_it_shows_bag_time_at_its_rate(steady):
    clock = ReplayClock(START_NS, 2.0, steady)
    steady.seconds += 7
    assert clock.now_ns() == START_NS, 'not started yet'
    clock.run()
    steady.seconds += 1.5
    assert clock.now_ns() == START_NS + 3_000_000_000
    assert clock.wait_s(START_NS + 4_000_000_000) == pytest.approx(0.5)
    assert clock.wait_s(START_NS) == 0.0


def test_clock_when_held_then_bag_time_stands_still_and_goes_on(steady):
    clock = ReplayClock(START_NS, 1.0, steady)
    clock.run()
    steady.seconds += 1
    clock.hold()
    steady.seconds += 10
    assert clock.now_ns() == START_NS + 1_000_000_000
    clock.run()
    clock.run()
    steady.seconds += 1
    assert clock.now_ns() == START_NS + 2_000_000_000


def test_age_when_an_image_is_shown_late_then_it_counts_from_when_it_was_due(steady):
    clock = ReplayClock(START_NS, 1.0, steady)
    clock.run()
    steady.seconds += 0.25
    clock.mark(START_NS + 200_000_000)
    assert clock.age_s(START_NS + 200_000_000) == pytest.approx(0.05)
    clock.hold()
    steady.seconds += 3
    assert clock.age_s(START_NS + 200_000_000) == pytest.approx(3.05)
    assert clock.age_s(START_NS) is None


def test_plan_when_read_back_then_it_is_the_same(tmp_path):
    plan = ReplayPlan('bag', 'goals', 'result', every_frame=True, rate=2.5)
    plan.save(tmp_path / 'plan.json')
    assert ReplayPlan.load(tmp_path / 'plan.json') == plan


@pytest.mark.parametrize('text', ['', '[]', '{"bag": 1}', '{"unknown": 1}'])
def test_plan_when_damaged_then_it_is_said(tmp_path, text):
    (tmp_path / 'plan.json').write_text(text)
    with pytest.raises(ConfigError, match='no plan of a replay'):
        ReplayPlan.load(tmp_path / 'plan.json')


def test_plan_when_the_rate_is_not_above_zero_then_it_is_refused():
    with pytest.raises(ConfigError, match='rate of a replay is out of range'):
        ReplayPlan('bag', 'goals', 'result', rate=0.0)


# Processes

def child(tmp_path, code):
    return ChildProcess('the child', [sys.executable, '-u', '-c', code], tmp_path / 'child.log',
                        dict(os.environ))


def wait_for_line(process, text):
    for _ in range(600):
        if text in process.log.read_text():
            return
        assert process.wait(0.1) is None, process.last_lines()
    raise AssertionError(process.last_lines())


def test_child_when_stopped_then_it_gets_an_interrupt_and_its_status_comes_back(tmp_path):
    with child(tmp_path, 'import time\ntry:\n  print("up")\n  time.sleep(60)\n'
               'except KeyboardInterrupt:\n  print("down")\n  raise SystemExit(3)') as process:
        wait_for_line(process, 'up')
        assert process.status is None
        assert process.wait(0.01) is None
        assert process.stop() == 3
        assert process.stop() == 3, 'may be called again'
    assert process.last_lines(1) == 'down'


def test_child_when_we_were_told_to_ignore_interrupts_then_it_hears_them_all_the_same(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what ends in &
    try:
        with child(tmp_path, 'import time\nprint("up")\ntime.sleep(60)') as process:
            wait_for_line(process, 'up')
            process.stop()
    finally:
        signal.signal(signal.SIGINT, before)


def test_child_when_it_will_not_end_then_it_is_killed_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr('samtok_ros.demo.processes._STOP_WAIT_S', 0.5)
    process = child(tmp_path, 'import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n'
                    'print("deaf")\ntime.sleep(60)')
    wait_for_line(process, 'deaf')
    with pytest.raises(DeviceError, match='the child did not end within .* and was killed'):
        process.stop()
    assert process.status == -signal.SIGKILL


def test_environment_when_isolated_then_ros_stays_on_this_machine():
    environment = isolated_environment()
    assert 1 <= int(environment['ROS_DOMAIN_ID']) <= 100
    assert environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'


def test_domain_when_another_one_is_in_use_then_it_is_not_taken():
    import socket

    taken = int(isolated_environment()['ROS_DOMAIN_ID'])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('', 7400 + 250 * taken + 10))
        assert int(isolated_environment()['ROS_DOMAIN_ID']) != taken


# Before anything is started

def test_demo_when_the_model_is_not_there_then_it_says_so_at_once(tmp_path):
    with pytest.raises(CheckpointError, match='no such model'):
        run_demo(DemoSettings(tmp_path / 'out', model='no model of this name'))
    assert not (tmp_path / 'out').exists()


def test_demo_when_the_bag_is_not_there_then_it_says_so_at_once(tmp_path):
    with pytest.raises(ConfigError, match='is no bag for the demo.*samtok make-bag'):
        run_demo(DemoSettings(tmp_path / 'out', bag=tmp_path, backend='fake'))


@pytest.mark.parametrize('name', ['log', 'parameters.yaml', 'replay.json'])
def test_demo_when_the_folder_holds_things_of_others_then_it_keeps_them(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'latest').touch()
    with pytest.raises(ConfigError, match=f'holds things that the demo would replace.* got {name}'):
        run_demo(DemoSettings(tmp_path, backend='fake'))
    assert (tmp_path / name / 'latest').exists()


def test_demo_when_run_again_then_only_what_the_first_run_left_goes(tmp_path, monkeypatch):
    def interrupted(what, command, log, environment):
        log.touch()
        (tmp_path / 'out' / 'log').mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr('samtok_ros.demo.run_demo.ChildProcess', interrupted)
    monkeypatch.setattr('samtok_ros.demo.run_demo.find_program', str)
    monkeypatch.setattr('samtok_ros.demo.run_demo.find_shared', str)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run_demo(DemoSettings(tmp_path / 'out', backend='fake'))
        (tmp_path / 'out' / 'notes.txt').touch()
