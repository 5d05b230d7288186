# SPDX-License-Identifier: Apache-2.0
"""What is started for which arguments, and the parameter file before anything is started."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from samtok_ros.bring_up.arguments import ARGUMENTS, changed_parameters
from samtok_ros.bring_up.installed import find_program, find_shared
from samtok_ros.bring_up.parameter_file import check_parameter_file
from samtok_ros.bring_up.programs import SHOWN_TOPICS, command_line, programs_to_start
from samtok_ros.cli.main import build_parser
from samtok_ros.errors import ConfigError
from samtok_ros.interface.ros_names import BOTH
from samtok_ros.settings.fields import build_settings, setting_fields, settings_values
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

ROOT = Path(__file__).resolve().parents[1]
FIELDS = {field.name: field for field in setting_fields(SETTINGS_OF_NODE['grounding'])}


def values_with(**changed):
    return {argument.name: argument.default for argument in ARGUMENTS} | changed


def programs(**changed):
    return programs_to_start(values_with(**changed), lambda name: f'/share/{name}')


# Arguments

def test_arguments_when_listed_then_each_is_described_and_its_default_is_allowed():
    assert len({argument.name for argument in ARGUMENTS}) == len(ARGUMENTS)
    for argument in ARGUMENTS:
        assert argument.description
        assert not argument.description.endswith('.')
        assert not argument.choices or argument.default in argument.choices
        assert not argument.is_shared_file or (ROOT / argument.default).is_file()


def test_arguments_when_they_set_a_parameter_then_both_nodes_have_it_with_these_choices():
    setters = {argument.name: argument for argument in ARGUMENTS if argument.parameter}
    assert set(setters) == {'transport', 'model', 'backend', 'device'}
    for node in BOTH:
        names = {field.name for field in setting_fields(SETTINGS_OF_NODE[node])}
        assert {argument.parameter for argument in setters.values()} <= names
    for argument in setters.values():
        choices = FIELDS[argument.parameter].choices
        assert argument.choices == (('', *choices) if choices else ())


def test_parameters_when_nothing_is_given_then_the_file_is_not_overridden():
    assert changed_parameters(values_with(), BOTH) == {'autostart': True}


def test_parameters_when_given_then_they_are_changed():
    assert changed_parameters(values_with(
        model='/m', backend='fake', device='cpu', transport='compressed', use_sim_time='true',
        autostart='false'), BOTH) == {
            'model.name': '/m', 'model.backend': 'fake', 'model.device': 'cpu',
            'input.transport': 'compressed', 'use_sim_time': True, 'autostart': False}


# Programs

@pytest.mark.parametrize('split, names', [
    ('false', ['perception']), ('true', ['grounding', 'mask_tokenizer']),
    ('grounding', ['grounding']), ('mask_tokenizer', ['mask_tokenizer'])])
def test_programs_when_split_then_each_node_has_its_own(split, names):
    started = programs(split=split, image='/cam/image_raw', namespace='left/eye')
    assert [program.executable for program in started] == names
    for program in started:
        assert program.remappings == (('image', '/cam/image_raw'),
                                      ('image/compressed', '/cam/image_raw/compressed'))
        assert program.parameter_files == ('config/default.yaml',)
        assert program.enclave == f'/left/eye/{program.executable}'
        assert program.needed


@pytest.mark.parametrize('split, names', [
    ('false', ['perception', 'lifting']), ('true', ['grounding', 'mask_tokenizer', 'lifting']),
    ('grounding', ['grounding']), ('mask_tokenizer', ['mask_tokenizer', 'lifting']),
    ('lifting', ['lifting'])])
def test_programs_when_there_is_depth_then_it_is_lifted_beside_the_mask_tokenizer(split, names):
    started = programs(split=split, depth='/cam/depth/image', backend='fake')
    assert [program.executable for program in started] == names
    for program in started:
        if program.executable == 'lifting':
            assert program.remappings == (
                ('depth', '/cam/depth/image'),
                ('depth/compressedDepth', '/cam/depth/image/compressedDepth'),
                ('camera_info', '/cam/depth/camera_info'))
            assert program.parameters == {'autostart': True}
        else:
            assert program.parameters == {'autostart': True, 'model.backend': 'fake'}


@pytest.mark.parametrize('depth, info, found', [
    ('depth', '', 'camera_info'), ('/cam/depth', '', '/cam/camera_info'),
    ('/cam/depth', '/cam/color/camera_info', '/cam/color/camera_info')])
def test_programs_when_no_camera_info_is_named_then_it_is_the_one_beside_the_depth(
        depth, info, found):
    *_, lifting = programs(depth=depth, camera_info=info)
    assert dict(lifting.remappings)['camera_info'] == found


def test_programs_when_a_manager_is_wanted_then_it_starts_them_and_nothing_else_does():
    node, manager = programs(lifecycle_manager='true')
    assert node.parameters['autostart'] is False
    assert (manager.package, manager.executable) == ('nav2_lifecycle_manager', 'lifecycle_manager')
    assert manager.parameters == {'node_names': ['mask_tokenizer', 'grounding'], 'autostart': True}
    assert manager.parameter_files == ('/share/config/lifecycle_manager.yaml',)
    *_, manager = programs(lifecycle_manager='true', depth='depth')
    assert manager.parameters['node_names'] == ['lifting', 'mask_tokenizer', 'grounding']
    *_, manager = programs(lifecycle_manager='true', split='grounding', autostart='false')
    assert manager.parameters == {'node_names': ['grounding'], 'autostart': False}


def test_programs_when_rviz_is_wanted_then_it_shows_the_topics_of_the_namespace():
    _, viewer = programs(rviz='true')
    assert viewer.arguments == ('-d', '/share/config/rviz/samtok.rviz')
    assert viewer.remappings == ()
    assert not viewer.needed
    _, viewer = programs(rviz='true', namespace='/left')
    assert dict(viewer.remappings) == {
        f'/samtok/{topic}': f'/left/{topic}' for topic in SHOWN_TOPICS}


@pytest.mark.parametrize('changed, text', [
    ({'namespace': ''}, 'argument namespace is no ROS name'),
    ({'namespace': 'left//eye'}, 'argument namespace is no ROS name'),
    ({'namespace': '2nd'}, 'argument namespace is no ROS name'),
    ({'image': ''}, 'argument image is no ROS name'),
    ({'image': '/cam/image raw'}, 'argument image is no ROS name'),
    ({'image': '/cam/image/compressed'}, 'Leave out /compressed, and set transport'),
    ({'depth': '/cam/compressedDepth'}, 'Leave out /compressedDepth, and set depth.transport'),
    ({'depth': 'depth', 'camera_info': '2nd'}, 'argument camera_info is no ROS name'),
    ({'split': 'lifting'}, 'argument depth is needed to start lifting'),
    ({'backend': 'onyx'}, "argument backend has an unknown value: expected '', 'torch'"),
    ({'split': 'yes'}, "got 'yes'"),
    ({'colour': 'red'}, 'unknown argument colour'),
])
def test_programs_when_a_value_is_wrong_then_it_is_named(changed, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        programs(**changed)


def test_command_line_when_written_then_it_is_what_launch_would_write():
    values = values_with(model='7', backend='fake', namespace='/left', log_level='warn',
                         params_file='/p.yaml')
    (program,) = programs_to_start(values, str)
    command = command_line(program, values, lambda name, package: Path('/lib', package, name))
    assert [str(part) for part in command] == [
        '/lib/samtok_ros/perception', '--ros-args', '-r', '__ns:=/left',
        '--params-file', '/p.yaml', '-p', 'model.name:="7"', '-p', 'model.backend:="fake"',
        '-p', 'autostart:=true', '-r', 'image:=image', '-r', 'image/compressed:=image/compressed',
        '--log-level', 'warn', '--enclave', '/left/perception']


def test_up_when_parsed_then_it_has_every_argument_with_its_default():
    parsed = vars(build_parser().parse_args(['up']))
    for argument in ARGUMENTS:
        shown = parsed[argument.name]
        if argument.is_shared_file:
            assert shown is None
        else:
            assert shown == (argument.default == 'true' if argument.is_switch else argument.default)
    parsed = build_parser().parse_args(
        ['up', '--split', '--no-autostart', '--respawn', '--image', '/cam', '--backend', 'fake'])
    assert (parsed.split, parsed.autostart, parsed.respawn) == ('true', False, True)


def test_config_files_when_an_argument_names_them_then_they_are_there():
    named = set(re.findall(r'config/[\w/.]+\w', ' '.join(a.description for a in ARGUMENTS)))
    assert len(named) == 3
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


# Installed files

def test_program_when_it_is_not_installed_then_the_way_out_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    with pytest.raises(ConfigError, match='perception is not installed.*make setup'):
        find_program('perception')
    with pytest.raises(ConfigError, match='rviz2 is not installed.*the ROS package rviz2'):
        find_program('rviz2', 'rviz2')


def test_shared_file_when_its_prefix_comes_later_then_it_is_found(monkeypatch, tmp_path):
    place = tmp_path / 'second' / 'share' / 'samtok_ros' / 'config'
    place.mkdir(parents=True)
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{tmp_path / "first"}:{tmp_path / "second"}')
    assert find_shared('config') == place


# Parameter file

@pytest.fixture
def parameter_file(tmp_path):
    def write(text):
        path = tmp_path / 'params.yaml'
        path.write_text(text, encoding='utf-8')
        return path

    return write


SECTION = '/**/grounding:\n  ros__parameters:\n    '


@pytest.mark.parametrize('text, message', [
    (f'{SECTION}max_rate_hz: 1\n', ': /**/grounding: max_rate_hz has the wrong type: '
     'expected double, got 1 (integer). Write 1.0.'),
    (f'{SECTION}limits: {{max_masks: 65}}\n', 'limits.max_masks is out of range: expected 1 to 64'),
    (f'{SECTION}limits.deadline_s: 5\n', 'limits.deadline_s has the wrong type'),
    ('/**:\n  ros__parameters: {overlay: {jpeg_quality: high}}\n', "expected integer, got 'high'"),
    ('samtok:\n  mask_tokenizer:\n    ros__parameters: {words: {wait_s: 2}}\n',
     'samtok/mask_tokenizer: words.wait_s has the wrong type'),
    ('grounding:\n  ros_parameters: {max_rate_hz: 1.0}\n',
     'grounding has no ros__parameters. Perhaps ros__parameters is meant.'),
    ('grounding:\n  ros__parameters: 7\n', 'ros__parameters of grounding holds no parameters'),
    ('grounding: 7\n', 'grounding holds no parameters: expected ros__parameters: below the name'),
    ('a: &a\n  b: *a\n', 'is not YAML that ROS reads: got the parser of ROS reads no aliases'),
    (f'{SECTION}a: !!int b\n', 'is not YAML'), (f'{SECTION}a: !!bool b\n', 'is not YAML'),
    (f'{SECTION}a: ' + '[' * 5000, 'is not YAML'),
    (f'{SECTION}model.name: 1e5\n', 'model.name has the wrong type: expected text, got 100000.0'),
    ('a: [1\n', 'is not YAML'), ('\t\n', 'is not YAML'), ('- 1\n', 'has no sections'),
    ('', 'has no sections'),
])
def test_parameter_file_when_wrong_then_one_line_says_what_to_write(parameter_file, text, message):
    with pytest.raises(ConfigError) as error:
        check_parameter_file(parameter_file(text))
    assert message in str(error.value)
    assert '\n' not in str(error.value)
    assert 'params.yaml' in str(error.value)


def test_parameter_file_when_it_is_not_there_then_it_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'cannot be read: got .*no\.yaml'):
        check_parameter_file(tmp_path / 'no.yaml')


def test_parameter_file_when_a_node_name_is_misspelt_then_there_is_a_guess(parameter_file):
    (warning,) = check_parameter_file(parameter_file(
        '/samtok/groundng:\n  ros__parameters: {max_rate_hz: 1}\n'
        '/arm/move_group:\n  ros__parameters: {speed: 1}\n'))
    assert 'the section /samtok/groundng is for no node' in warning
    assert warning.endswith('perhaps grounding is meant')


WRITTEN_FOR = {
    'lifting': '/', '/lifting': '/', '/samtok/lifting': '/samtok',
    'samtok/lifting': '/samtok', '/*/lifting': '/samtok', '/samtok/*/lifting': '',
    '/left/lifting': '', '/samtok/**/lifting': '/samtok', '/**/lifting': '/ /samtok /left/eye',
    '**/lifting': '/ /samtok /left/eye', '/left/*/lifting': '/left/eye',
    '/**/eye/lifting': '/left/eye'}


@pytest.mark.parametrize('section', sorted(WRITTEN_FOR))
@pytest.mark.parametrize('namespace', ['samtok', '/left/eye'])
def test_parameter_file_when_a_section_is_for_another_namespace_then_it_says_what_to_write(
        parameter_file, section, namespace):
    path = parameter_file(f'"{section}":\n  ros__parameters: {{queue: 2}}\n')
    ours = f'/{namespace.strip("/")}'
    told = [f'{path}: the section {section} is without effect, for the node is {ours}/lifting: '
            f'write /**/lifting or {ours}/lifting']
    is_ours = ours in WRITTEN_FOR[section].split()
    assert check_parameter_file(path, namespace) == ([] if is_ours else told)
    assert check_parameter_file(path) == []


def test_parameter_file_when_it_is_for_several_robots_then_their_sections_are_no_mistake(
        parameter_file):
    path = parameter_file(''.join(f'{name}:\n  ros__parameters: {{queue: 2}}\n' for name in (
        '/**/lifting', '/left/lifting', '/right/lifting', 'lifting')))
    (warning,) = check_parameter_file(path, 'left')
    assert 'the section lifting is without effect' in warning
    assert len(check_parameter_file(path, 'front')) == 3


def test_parameter_file_when_launch_wrote_it_then_its_tags_do_no_harm(parameter_file):
    assert check_parameter_file(parameter_file(
        '/**:\n  ros__parameters:\n    names: !!python/tuple\n    - a\n    - b\n'
        '    model.backend: !text fake\n')) == []


@pytest.mark.parametrize('line', [
    'max_rate_hz: 1e1', 'max_rate_hz: +1E+1', 'max_rate_hz: 1.5e1', 'limits.deadline_s: 5e-1',
    'limits.deadline_s: .5e1', 'model.name: 2024-13-45', 'model.name: 2024-01-02',
    'model.name: e1'])
def test_parameter_file_when_ros_reads_a_value_then_it_is_read_alike(parameter_file, line):
    assert check_parameter_file(parameter_file(f'{SECTION}{line}\n')) == []


@pytest.mark.parametrize('path', sorted((ROOT / 'config').glob('*.yaml')), ids=lambda p: p.name)
def test_parameter_file_when_it_is_ours_then_nothing_is_wrong(path):
    assert check_parameter_file(path) == []


def test_text_when_it_looks_like_a_number_then_ros_still_reads_a_text():
    rclpy_parameter = pytest.importorskip('rclpy.parameter', reason='ROS 2 is not installed')
    value = json.dumps('7')
    assert rclpy_parameter.get_parameter_value(value).string_value == '7'


@pytest.mark.parametrize('name', ['split.yaml', 'jetson.yaml'])
def test_parameter_file_when_it_holds_differences_then_each_value_is_one(name):
    tree = yaml.safe_load((ROOT / 'config' / name).read_text(encoding='utf-8'))
    shared = {}
    assert set(tree) == {'/**/grounding', '/**/mask_tokenizer'}
    for section, content in tree.items():
        settings_class = SETTINGS_OF_NODE[section.rpartition('/')[2]]
        values = {f'{group}.{key}': value
                  for group, part in content['ros__parameters'].items()
                  for key, value in part.items()}
        defaults = settings_values(settings_class())
        settings = build_settings(settings_class, values)
        assert [key for key, value in values.items() if value == defaults[key]] == []
        shared[section] = (settings.model, settings.input, settings.cache)
    if name == 'jetson.yaml':
        one, other = shared.values()
        assert one == other, 'in one process both nodes must agree on these'
