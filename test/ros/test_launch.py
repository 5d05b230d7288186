# SPDX-License-Identifier: Apache-2.0
"""The launch files, run where `launch` is installed and read where it is not."""

import ast
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from samtok_ros.config import SETTINGS_OF_NODE
from samtok_ros.config_fields import setting_fields

LAUNCH_FILE = Path(__file__).resolve().parents[2] / 'launch' / 'perception.launch.py'
NEEDS_LAUNCH = 'launch and launch_ros are not installed (they are not among the wheels)'


class Recorder(ModuleType):
    """Stands for a launch module: calls of its names are kept as (name, arguments)."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {'__init__': lambda self, *args, **fields: self.__dict__.update(
            args=args, **fields)})


@pytest.fixture
def launch_file(monkeypatch):
    """The launch file as a module; launch itself is played where it is not installed."""
    names = ('launch', 'launch.actions', 'launch.substitutions', 'launch_ros',
             'launch_ros.actions', 'launch_ros.substitutions')
    for name in names:
        monkeypatch.setitem(sys.modules, name, Recorder(name))
    spec = importlib.util.spec_from_file_location('perception_launch', LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defaults(launch_file, **changed):
    values = {name: facts.get('default_value', '/params.yaml')
              for name, facts in launch_file.ARGUMENTS.items()}
    return {**values, **changed}


def started(launch_file, **changed):
    values = defaults(launch_file, **changed)
    launch_file.LaunchConfiguration = lambda name: type('Value', (), {
        'perform': lambda self, context: values[name]})()
    (group,) = launch_file.start_nodes(None)
    push, *nodes = group.args[0]
    return push, nodes


def test_arguments_when_declared_then_each_has_description_and_default(launch_file):
    *declared, start = launch_file.generate_launch_description().args[0]
    assert {argument.args[0] for argument in declared} == set(launch_file.ARGUMENTS)
    for argument in declared:
        assert argument.description
        assert argument.default_value is not None
        if getattr(argument, 'choices', None):
            assert argument.default_value in argument.choices
    assert start.function is launch_file.start_nodes


def test_arguments_when_not_given_then_the_file_is_not_overridden(launch_file):
    assert launch_file.changed_parameters(defaults(launch_file)) == {'autostart': True}


def test_arguments_when_given_then_they_are_parameters_of_both_nodes(launch_file):
    changed = launch_file.changed_parameters(defaults(
        launch_file, model='/m', backend='fake', device='cpu', transport='compressed',
        use_sim_time='true', autostart='false'))
    for settings in SETTINGS_OF_NODE.values():
        names = {field.name for field in setting_fields(settings)}
        assert set(changed) - {'use_sim_time'} <= names
    assert changed['autostart'] is False
    assert changed['use_sim_time'] is True


def test_choices_when_they_mirror_a_setting_then_they_are_its_choices(launch_file):
    fields = {field.name: field for field in setting_fields(SETTINGS_OF_NODE['grounding'])}
    for argument, parameter in launch_file.PARAMETER_OF_ARGUMENT.items():
        choices = launch_file.ARGUMENTS[argument].get('choices')
        if choices:
            assert tuple(choices) == ('', *fields[parameter].choices)


@pytest.mark.parametrize('split, programs', [
    ('false', ['perception']), ('true', ['grounding', 'mask_tokenizer'])])
def test_nodes_when_started_then_programs_remappings_and_end_are_as_asked(
        launch_file, split, programs):
    push, nodes = started(launch_file, split=split, image='/cam/image_raw', namespace='left')
    assert push.args == ('left',)
    assert [node.executable for node in nodes] == programs
    for node in nodes:
        assert node.remappings == [('image', '/cam/image_raw'),
                                   ('image/compressed', '/cam/image_raw/compressed')]
        assert node.parameters[0] == '/params.yaml'
        assert node.on_exit is not None
    _, (again,) = started(launch_file, respawn='true')
    assert again.respawn
    assert again.on_exit is None


def test_launch_file_when_read_then_it_runs_nothing_and_evaluates_nothing():
    tree = ast.parse(LAUNCH_FILE.read_text(encoding='utf-8'))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {'eval', 'exec', 'subprocess', 'open', 'PythonExpression'}


def test_launch_when_run_for_real_then_the_nodes_come_up_and_end_cleanly(tmp_path):
    pytest.importorskip('launch', reason=NEEDS_LAUNCH)
    pytest.importorskip('launch_ros', reason=NEEDS_LAUNCH)
    from harness import Scene, World, own_domain

    with own_domain() as domain:
        world = World(domain, tmp_path)
        code = ('import sys; from launch import LaunchService; '
                'from launch.launch_description_sources import AnyLaunchDescriptionSource; '
                'from launch.actions import IncludeLaunchDescription; '
                'from launch import LaunchDescription; s = LaunchService(); '
                's.include_launch_description(LaunchDescription([IncludeLaunchDescription('
                'AnyLaunchDescriptionSource(sys.argv[1]), '
                'launch_arguments=[("backend", "fake")])])); sys.exit(s.run())')
        process = subprocess.Popen([sys.executable, '-c', code, str(LAUNCH_FILE)], cwd=tmp_path,
                                   env={**os.environ, 'ROS_DOMAIN_ID': str(domain)})
        try:
            scene = Scene(world)
            scene.set_goal('one mug')
            scene.show()
            scene.masks_of()
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(60)
            world.close()
        assert status == 0


def test_show_args_when_asked_for_then_launch_prints_every_argument():
    pytest.importorskip('launch', reason=NEEDS_LAUNCH)
    pytest.importorskip('ros2launch', reason='ros2launch is not installed')
    done = subprocess.run(['ros2', 'launch', str(LAUNCH_FILE), '--show-args'],
                          capture_output=True, text=True, timeout=60, check=True)
    assert "'namespace'" in done.stdout
