# SPDX-License-Identifier: Apache-2.0
"""The demo: start the nodes, replay a camera bag to them, score and picture what they answer."""

import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.bring_up.installed import find_program, find_shared
from samtok_ros.demo.bag_file import open_bag
from samtok_ros.demo.camera_bag import COLOUR_INFO_TOPIC, COLOUR_TOPIC, DEPTH_TOPIC
from samtok_ros.demo.camera_views import read_views
from samtok_ros.demo.goals import DemoGoal, load_goals
from samtok_ros.demo.make_bag import CAMERA_BAG, DATA_DIR, GOALS_FILE, TRUTH_FILE
from samtok_ros.demo.processes import ChildProcess, isolated_environment
from samtok_ros.demo.replay_plan import ReplayPlan
from samtok_ros.demo.report import (
    OVERLAYS_DIR,
    REPORT_FILE,
    SHEET_FILE,
    picture_stamp,
    write_pictures,
    write_report,
)
from samtok_ros.demo.results import Results, read_results
from samtok_ros.demo.scoring import DemoScore, score_demo
from samtok_ros.demo.truth import FrameTruth, load_truth
from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.model_directory import resolve_model

logger = logging.getLogger(__name__)

RESULT_BAG = 'result'
_PLAN_FILE, _PARAMETERS_FILE, _ROS_LOG_DIR = 'replay.json', 'parameters.yaml', 'log'
_REPLAY_LOG = 'replay.log'
_POLL_S = 0.2
_FINISH_WAIT_S = 60.0
_LIVE_QUEUE = 5
# Program, what runs in it, and its log.
_PROGRAMS = (('perception', 'the nodes', 'nodes.log'),
             ('lifting', 'the lifting node', 'lifting.log'))


@dataclass(frozen=True)
class DemoSettings:
    """What the demo shows.

    Attributes:
        out: folder for all that it writes.
        bag: folder that samtok make-bag has made; None for the one that ships.
        model: as in the parameter model.name.
        backend: as in the parameter model.backend.
        device: as in the parameter model.device.
        dtype: as in the parameter model.dtype.
        every_frame: process every image in order (config/replay.yaml), which gives the same words
            each time, instead of the newest one, as on a robot.
        rate: speed of the bag; 1.0 is real time.
    """

    out: Path
    bag: Path | None = None
    model: str = 'tabletop'
    backend: str = 'torch'
    device: str = 'auto'
    dtype: str = 'auto'
    every_frame: bool = False
    rate: float = 1.0

    @property
    def source(self) -> Path:
        """Folder of the camera bag, its truth and its goals."""
        return DATA_DIR if self.bag is None else self.bag


def run_demo(settings: DemoSettings) -> DemoScore:
    """Run the demo and write its pictures, its report and the bag of results.

    Raises:
        ConfigError: bag, truth or nodes are missing, the folder holds things of the same names that
            no demo wrote, or a node refused to work.
        CheckpointError: there is no such model.
        DeviceError: something did not come in time.
    """
    started_s = time.monotonic()
    if settings.backend != 'fake':
        resolve_model(settings.model)  # before anything is started for nothing
    goals = load_goals(settings.source / GOALS_FILE)
    truth = load_truth(settings.source / TRUTH_FILE)
    with open_bag(settings.source / CAMERA_BAG):
        pass
    _prepare_folder(settings.out)
    _replay(settings, goals)
    results = read_results(settings.out / RESULT_BAG)
    score = _write_scored(settings, goals, truth, results, started_s)
    logger.info('scored: %s', settings.out)
    return score


def _prepare_folder(out: Path) -> None:
    """Make the folder, without what an earlier demo left in it.

    The plan of the replay is the first that a demo writes, and stays. Where there is none, things
    of these names are somebody else's, such as the log/ of colcon.
    """
    ours = (_PLAN_FILE, RESULT_BAG, OVERLAYS_DIR, _ROS_LOG_DIR, REPORT_FILE, SHEET_FILE,
            _PARAMETERS_FILE, _REPLAY_LOG, *(log for *_, log in _PROGRAMS))
    there = [name for name in ours if os.path.lexists(out / name)]
    if there and not _is_of_a_demo(out):
        raise ConfigError(f'{out} holds things that the demo would replace',
                          expected='a new folder, or that of an earlier demo',
                          got=', '.join(there),
                          fix='name another folder with --out, or remove them')
    out.mkdir(parents=True, exist_ok=True)
    for name in (RESULT_BAG, OVERLAYS_DIR, _ROS_LOG_DIR):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (REPORT_FILE, SHEET_FILE):
        (out / name).unlink(missing_ok=True)


def _is_of_a_demo(out: Path) -> bool:
    try:
        ReplayPlan.load(out / _PLAN_FILE)
    except ConfigError:
        return False
    return True


def _replay(settings: DemoSettings, goals: tuple[DemoGoal, ...]) -> None:
    """Run the nodes in two processes and the replay in another, and end them all."""
    out = settings.out.absolute()
    plan = ReplayPlan(str((settings.source / CAMERA_BAG).absolute()),
                      str((settings.source / GOALS_FILE).absolute()), str(out / RESULT_BAG),
                      settings.every_frame, settings.rate)
    plan.save(out / _PLAN_FILE)
    (out / _PARAMETERS_FILE).write_text(_parameters(settings), encoding='utf-8')
    environment = isolated_environment() | {'ROS_LOG_DIR': str(out / _ROS_LOG_DIR)}
    # -P: the folder we are in must not hide the installed package, which has the messages.
    replay_command = [sys.executable, '-P', '-m', 'samtok_ros.nodes.demo_replay', out / _PLAN_FILE]
    logger.info('starting the nodes: %s, %s', settings.model, settings.backend)
    with ExitStack() as stack:
        programs = [stack.enter_context(ChildProcess(
            f'the process of {what}', _command(program, settings, out), out / log, environment))
            for program, what, log in _PROGRAMS]
        replay = stack.enter_context(ChildProcess('the replay', replay_command,
                                                  out / _REPLAY_LOG, environment))
        # Beyond its own deadlines nothing should take longer.
        longest_s = (plan.start_wait_s + plan.answer_wait_s * len(goals)
                     + _bag_seconds(goals) / plan.rate + _FINISH_WAIT_S)
        _watch(replay, programs, longest_s)
        for program in programs:
            if program.stop() != 0:
                raise DeviceError(f'{program.name} did not end cleanly', expected='exit status 0',
                                  got=f'{program.status}, {program.last_lines()}',
                                  fix=f'read {program.log}')


def _watch(replay: ChildProcess, programs: Sequence[ChildProcess], longest_s: float) -> None:
    """Wait for the end of the replay, or for the first sign that it will not come."""
    deadline = time.monotonic() + longest_s
    while replay.wait(_POLL_S) is None:
        for program in programs:
            if program.status is not None:
                raise ConfigError(f'{program.name} ended while it was needed',
                                  got=f'exit status {program.status}, {program.last_lines()}',
                                  fix=f'read {program.log}')
        if time.monotonic() > deadline:
            raise DeviceError(f'the replay did not end within {longest_s:.0f} s',
                              got=f'{replay.last_lines()}, {_said(programs)}',
                              fix='try again when the machine is less busy')
    if replay.status != 0:
        logs = ', '.join(str(process.log) for process in (replay, *programs))
        raise ConfigError('the replay failed', got=f'{replay.last_lines(2)}, {_said(programs)}',
                          fix=f'read {logs}')


def _said(programs: Sequence[ChildProcess]) -> str:
    return ', '.join(f'from {program.name}: {program.last_lines()}' for program in programs)


def _command(program: str, settings: DemoSettings, out: Path) -> list[str | Path]:
    config = 'config/replay.yaml' if settings.every_frame else 'config/default.yaml'
    # The topics of the camera are given as for any camera.
    remaps = {'image': COLOUR_TOPIC, 'depth': DEPTH_TOPIC, 'camera_info': COLOUR_INFO_TOPIC}
    # The later file wins.
    return [find_program(program), '--ros-args', '--params-file', find_shared(config),
            '--params-file', out / _PARAMETERS_FILE,
            *(part for name, topic in remaps.items() for part in ('-r', f'{name}:={topic}'))]


def _parameters(settings: DemoSettings) -> str:
    """Write what differs from the configuration file, for each node."""
    # As in the bag: raw images of this size crowd out small messages between two processes.
    images: dict[str, object] = {'transport': 'compressed'}
    depth = dict(images)
    if not settings.every_frame:
        # On a busy machine best effort loses images all the same.
        images |= {'reliability': 'reliable', 'depth': _LIVE_QUEUE}
        depth |= {'reliability': 'reliable', 'queue': _LIVE_QUEUE}
    perception = {
        'use_sim_time': True, 'input': images,
        'model': {'name': settings.model, 'backend': settings.backend, 'device': settings.device,
                  'dtype': settings.dtype}}
    # From scene to scene the bag changes its camera.
    lifting = {'use_sim_time': True, 'depth': depth, 'camera': {'stamp': 'exact'}}
    nodes = {'grounding': perception, 'mask_tokenizer': perception, 'lifting': lifting}
    # JSON is YAML without anchors, which the parser of ROS does not read.
    return json.dumps({f'/**/{node}': {'ros__parameters': parameters}
                       for node, parameters in nodes.items()}, indent=1) + '\n'


def _bag_seconds(goals: tuple[DemoGoal, ...]) -> float:
    return (goals[-1].end_ns - goals[0].start_ns) / 1e9


def _write_scored(settings: DemoSettings, goals: tuple[DemoGoal, ...],
                  truth: Mapping[int, FrameTruth], results: Results,
                  started_s: float) -> DemoScore:
    bag = settings.source / CAMERA_BAG
    score = score_demo(goals, results, truth,
                       read_views(bag, {target.stamp_ns for target in results.lifted}))
    write_pictures(settings.out, score, read_views(
        bag, {picture_stamp(goal) for goal in score.goals}))
    tokenizer_ids = {answer.tokenizer_id for answer in results.answers}
    write_report(settings.out, score, {
        'model': settings.model, 'backend': settings.backend,
        'tokenizer_id': ', '.join(sorted(tokenizer_ids)), 'bag': str(settings.source),
        'every_frame': settings.every_frame, 'rate': settings.rate,
        'machine': f'{platform.machine()}, {_cores()} cores',
        'seconds': round(time.monotonic() - started_s, 1)})
    return score


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
