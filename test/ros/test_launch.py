# SPDX-License-Identifier: Apache-2.0
"""The launch files, run where `launch` is installed and read where it is not."""

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

from samtok_ros.bring_up.arguments import ARGUMENTS
from samtok_ros.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / 'launch'
NEEDS_LAUNCH = 'launch and launch_ros are not installed (they are not among the wheels)'
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

path, *arguments = sys.argv[1:]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    AnyLaunchDescriptionSource(path),
    launch_arguments=[tuple(argument.split(':=', 1)) for argument in arguments])]))
sys.exit(service.run())
"""


class Recorder(ModuleType):
    """Stands for a launch module: what is made of its names keeps its arguments and its kind."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {'__init__': lambda self, *args, **fields: self.__dict__.update(
            args=args, **fields)})


@pytest.fixture
def read(monkeypatch):
    """Return a launch file as a module; launch itself is played, whether it is there or not."""
    for name in ('launch', 'launch.actions', 'launch.event_handlers', 'launch.logging',
                 'launch.launch_description_sources', 'launch.substitutions', 'launch_ros',
                 'launch_ros.actions', 'launch_ros.parameter_descriptions',
                 'launch_ros.substitutions'):
        monkeypatch.setitem(sys.modules, name, Recorder(name))

    def read_file(name):
        spec = importlib.util.spec_from_file_location('launch_file', LAUNCH / name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return read_file


def give(module, values):
    """Let the launch configurations of a module have values."""
    module.LaunchConfiguration = lambda name: SimpleNamespace(perform=lambda _: values[name])


def kinds(actions):
    return [type(action).__name__ for action in actions]


# perception.launch.py

@pytest.fixture
def perception(read):
    return read('perception.launch.py')


def started(module, pushed=None, **changed):
    """Return namespace action and nodes that arguments lead to."""
    values = {argument.name: argument.default for argument in ARGUMENTS} | {
        'params_file': str(ROOT / 'config' / 'default.yaml')} | changed
    give(module, values)
    module.shared_file = lambda name: SimpleNamespace(perform=lambda _: f'/share/{name}')
    (group,) = module.start_nodes(SimpleNamespace(launch_configurations=pushed or {}))
    push, *nodes = group.args[0]
    return push, nodes


def test_arguments_when_declared_then_they_are_those_of_the_table(perception):
    *declared, start = perception.generate_launch_description().args[0]
    assert [argument.args[0] for argument in declared] == [a.name for a in ARGUMENTS]
    for action, argument in zip(declared, ARGUMENTS, strict=True):
        assert action.description == argument.description
        assert getattr(action, 'choices', []) == list(argument.choices)
        if not argument.is_shared_file:
            assert action.default_value == argument.default
    assert start.function is perception.start_nodes


@pytest.mark.parametrize('split, programs', [
    ('false', ['perception']), ('true', ['grounding', 'mask_tokenizer']),
    ('grounding', ['grounding'])])
def test_nodes_when_started_then_programs_remappings_and_end_are_as_asked(
        perception, split, programs):
    push, nodes = started(perception, split=split, image='/cam/image_raw', namespace='left',
                          log_level='warn')
    assert push.args == ('left',)
    assert [node.executable for node in nodes] == programs
    for node in nodes:
        assert node.remappings == [('image', '/cam/image_raw'),
                                   ('image/compressed', '/cam/image_raw/compressed')]
        assert node.parameters == [str(ROOT / 'config' / 'default.yaml'), {'autostart': True}]
        assert node.ros_arguments == [
            '--log-level', 'warn', '--enclave', f'/left/{node.executable}']
        assert type(node.on_exit).__name__ == 'Shutdown'
        assert not node.respawn


def test_nodes_when_they_respawn_then_their_end_does_not_end_all(perception):
    _, (node, viewer) = started(perception, respawn='true', rviz='true')
    assert (node.respawn, node.on_exit, node.respawn_delay) == (True, None, 2.0)
    assert (viewer.executable, viewer.respawn, viewer.on_exit) == ('rviz2', False, None)
    assert viewer.arguments == ['-d', '/share/config/rviz/samtok.rviz']


def test_nodes_when_a_manager_is_wanted_then_it_is_started_beside_them(perception):
    _, (node, manager) = started(perception, lifecycle_manager='true')
    assert node.parameters[1] == {'autostart': False}
    assert manager.package == 'nav2_lifecycle_manager'
    assert manager.parameters[0] == '/share/config/lifecycle_manager.yaml'


def test_nodes_when_the_parameter_file_is_wrong_then_nothing_is_started(perception, tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('/**:\n  ros__parameters: {max_rate_hz: 1}\n')
    with pytest.raises(ConfigError, match='Write 1.0'):
        started(perception, params_file=str(path))


def test_nodes_when_the_model_is_not_there_then_nothing_is_started(perception):
    with pytest.raises(CheckpointError, match='there is no such model'):
        started(perception, model='tabeltop')
    assert started(perception, model='tabeltop', backend='fake')


@pytest.mark.parametrize('namespace, pushed, section, is_told', [
    ('samtok', {}, 'samtok/grounding', False), ('samtok', {}, 'left/grounding', True),
    ('samtok', {'ros_namespace': '/left'}, 'left/samtok/grounding', False),
    ('samtok', {'ros_namespace': '/left'}, 'samtok/grounding', True),
    ('/right', {'ros_namespace': '/left'}, 'right/grounding', False)])
def test_nodes_when_a_section_is_for_another_namespace_then_a_warning_names_ours(
        perception, tmp_path, namespace, pushed, section, is_told):
    path, said = tmp_path / 'mine.yaml', []
    path.write_text(f'{section}:\n  ros__parameters: {{max_rate_hz: 1.0}}\n')
    perception.get_logger = lambda name: SimpleNamespace(warning=said.append)
    started(perception, pushed, params_file=str(path), namespace=namespace)
    assert ['is without effect' in text for text in said] == [True] * is_told


# The others

@pytest.fixture
def replay(read):
    return read('replay.launch.py')


def replayed(module, **changed):
    give(module, {'bag': '/bag', 'image': '/cam/image', 'goal': '', 'record': '', 'rate': '2.0',
                  'namespace': 'samtok', 'params_file': '/replay.yaml', 'depth': '',
                  'camera_info': ''} | changed)
    return module.start_replay(None)


def test_replay_when_described_then_its_nodes_take_every_image_in_the_time_of_the_bag(replay):
    *declared, nodes, start = replay.generate_launch_description().args[0]
    assert {argument.args[0] for argument in declared} == set(replay.ARGUMENTS)
    given = dict(nodes.launch_arguments)
    assert given.pop('use_sim_time') == 'true'
    assert {name: value.args[0] for name, value in given.items()} == {
        name: name for name in ('params_file', 'image', 'depth', 'camera_info', 'namespace')}
    assert start.function is replay.start_replay
    (file,) = (argument.default_value for argument in declared
               if argument.args[0] == 'params_file')
    assert file.args[0][1:] == ['config', 'replay.yaml']


def test_replay_when_started_then_one_comes_after_the_other_and_the_last_ends_all(replay):
    *handlers, first = replayed(replay, goal='the "red" mug')
    (waiter, goal, bag, idle) = (handler.args[0].target_action for handler in handlers)
    assert waiter is first
    assert (waiter.executable, waiter.arguments, waiter.namespace) == (
        'wait_until', ['active', 'grounding', 'mask_tokenizer'], '/samtok')
    assert goal.cmd[-3:] == ['/samtok/goal', 'samtok_ros/msg/Goal', '{"text": "the \\"red\\" mug"}']
    assert bag.cmd[:4] == ['ros2', 'bag', 'play', '/bag']
    assert idle.arguments[:3] == ['idle', 'grounding', 'mask_tokenizer']
    well, badly = (SimpleNamespace(returncode=code, process_name='x') for code in (0, 1))
    steps = [handler.args[0].on_exit for handler in handlers]
    assert [step(well, None) for step in steps[:-1]] == [[goal], [bag], [idle]]
    assert kinds(steps[-1](well, None)) == ['Shutdown']
    assert all(kinds(step(badly, None)) == ['Shutdown'] for step in steps)


def test_replay_when_it_plays_then_images_are_sent_so_that_none_is_lost(replay):
    import yaml

    actions = replayed(replay, depth='/cam/depth/image')
    (bag,) = (action.args[0].target_action for action in actions
              if kinds([action]) == ['RegisterEventHandler']
              and hasattr(action.args[0].target_action, 'cmd'))
    path = Path(bag.cmd[bag.cmd.index('--qos-profile-overrides-path') + 1])
    lossless = {'reliability': 'reliable', 'history': 'keep_all'}
    assert yaml.safe_load(path.read_text()) == dict.fromkeys((
        '/cam/image', '/cam/image/compressed', '/cam/depth/image',
        '/cam/depth/image/compressedDepth', '/cam/depth/camera_info'), lossless)
    path.unlink()
    waiter, *_ = (action.args[0].target_action for action in actions
                  if kinds([action]) == ['RegisterEventHandler'])
    assert waiter.arguments == ['active', 'grounding', 'mask_tokenizer', 'lifting']
    assert bag.cmd[bag.cmd.index('--rate') + 1] == '2.0'
    assert '--clock-topics-all' in bag.cmd


def test_replay_when_it_records_then_it_records_what_comes_out(replay):
    from samtok_ros.interface.ros_names import TOPICS

    recorder, *_ = replayed(replay, record='/out', namespace='/left')
    assert recorder.cmd[:5] == ['ros2', 'bag', 'record', '--output', '/out']
    out = {f'/left/{topic.name}' for topic in TOPICS if topic.writers and topic.name[0] != '/'}
    assert set(recorder.cmd[6:]) == out


def test_realsense_when_read_then_depth_is_aligned_and_its_colour_images_are_ours(read):
    *_, camera, nodes = read('camera_realsense.launch.py').generate_launch_description().args[0]
    arguments = dict(camera.launch_arguments)
    assert arguments['align_depth.enable'] == arguments['enable_color'] == 'true'
    for name, place in (('image', '/color/image_raw'),
                        ('depth', '/aligned_depth_to_color/image_raw')):
        topic = dict(nodes.launch_arguments)[name]
        assert [part if isinstance(part, str) else part.args[0] for part in topic] == [
            '/', 'camera_namespace', '/', 'camera_name', place]


def test_xml_when_read_then_it_starts_the_same_program_with_the_same_remappings(perception):
    node = ElementTree.parse(LAUNCH / 'minimal.launch.xml').getroot().find('node')
    _, (ours,) = started(perception)
    assert (node.get('pkg'), node.get('exec'), node.get('namespace')) == (
        ours.package, ours.executable, 'samtok')
    assert [remap.get('from') for remap in node.findall('remap')] == [
        old for old, _ in ours.remappings]
    assert {p.get('name'): p.get('value') for p in node.findall('param') if p.get('name')} == {
        'autostart': 'true'}


@pytest.mark.parametrize('path', sorted(LAUNCH.glob('*.py')), ids=lambda path: path.name)
def test_launch_file_when_read_then_it_runs_nothing_and_evaluates_nothing(path):
    tree = ast.parse(path.read_text(encoding='utf-8'))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {'eval', 'exec', 'subprocess', 'open', 'PythonExpression'}


# With launch itself

@pytest.fixture
def launched(world, tmp_path):
    """Run a launch file in the domain of `world`; Ctrl-C ends it at the latest with the test."""
    for package in ('launch', 'launch_ros'):
        pytest.importorskip(package, reason=NEEDS_LAUNCH)
    processes = []

    def run(name, *arguments):
        log = tmp_path / 'launch.log'
        with log.open('wb') as output:
            process = subprocess.Popen(
                [sys.executable, '-P', '-c', RUN, str(LAUNCH / name), *arguments], cwd=tmp_path,
                env={**os.environ, 'ROS_DOMAIN_ID': str(world.domain), 'OMP_NUM_THREADS': '1'},
                stdout=output, stderr=output)
        process.log = log.read_text
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, process.log()
        assert 'Traceback' not in process.log(), process.log()


@pytest.mark.parametrize('name, arguments', [
    ('perception.launch.py', ['backend:=fake']),
    ('perception.launch.py', ['backend:=fake', 'split:=true', 'respawn:=true']),
    ('camera_realsense.launch.py', ['backend:=fake'])])
def test_launch_when_run_for_real_then_the_nodes_answer_and_end_cleanly(
        world, launched, name, arguments):
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
    from harness import Scene

    topic = 'image'
    if name.startswith('camera_realsense'):
        topic = '/camera/camera/color/image_raw'
        try:
            get_package_share_directory('realsense2_camera')
        except PackageNotFoundError:
            pytest.skip('realsense2_camera is not installed')
    launched(name, *arguments)
    scene = Scene(world, image_topic=topic, split='split:=true' in arguments)
    scene.set_goal('one mug')
    scene.show()
    scene.masks_of()


def test_replay_when_run_for_real_then_each_image_of_the_bag_is_answered(world, launched):
    from harness import DEADLINE_S

    from samtok_ros.msg import RegionMasks

    if shutil.which('ros2') is None:
        pytest.skip('the command ros2 is not installed')
    masks = world.peer.listen(RegionMasks, 'masks')
    bag = ROOT / 'samtok_ros' / 'demo' / 'data' / 'camera'
    process = launched('replay.launch.py', f'bag:={bag}', 'image:=/camera/color/image_raw',
                       'goal:=one mug', 'backend:=fake', 'rate:=10.0')
    assert process.wait(DEADLINE_S) == 0
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for m in masks.messages if m.complete}
    assert len(stamps) == 100


def test_show_args_when_asked_for_then_launch_prints_every_argument():
    pytest.importorskip('launch', reason=NEEDS_LAUNCH)
    pytest.importorskip('ros2launch', reason='ros2launch is not installed')
    if shutil.which('ros2') is None:
        pytest.skip('the command ros2 is not installed')
    done = subprocess.run(['ros2', 'launch', str(LAUNCH / 'perception.launch.py'), '--show-args'],
                          capture_output=True, text=True, timeout=60, check=True)
    for argument in ARGUMENTS:
        assert f"'{argument.name}'" in done.stdout
