# SPDX-License-Identifier: Apache-2.0
"""What a node says about a command line or a parameter file that cannot be used."""

import harness
import pytest
import rclpy
from rclpy.context import Context

from samtok_ros.bring_up.parameter_file import check_parameter_file
from samtok_ros.errors import ConfigError
from samtok_ros.nodes.command_line import parameter_files, start_ros


@pytest.mark.parametrize('arguments, files', [
    ('--ros-args --params-file a.yaml -p x:=1 --params-file b.yaml', ['a.yaml', 'b.yaml']),
    ('--params-file a.yaml --ros-args -- --params-file b.yaml', []),
    ('--ros-args -r a:=b -- --ros-args --params-file b.yaml', ['b.yaml']),
    ('--ros-args --params-file', []),
])
def test_parameter_files_when_listed_then_they_are_those_that_ros_reads(arguments, files):
    assert [str(path) for path in parameter_files(['node', *arguments.split()])] == files


@pytest.mark.parametrize('text, message', [
    ('/**/grounding:\n  ros_parameters: {max_rate_hz: 1.0}\n', 'has no ros__parameters'),
    ('/**/grounding:\n  ros__parameters: {max_rate_hz: 1}\n', 'Write 1.0'),
    ('a: [1\n', 'is not YAML'),
])
def test_start_when_a_parameter_file_is_wrong_then_one_line_says_what_to_write(
        tmp_path, text, message):
    path = tmp_path / 'mine.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        start_ros(['node', '--ros-args', '--params-file', str(path)])
    assert '\n' not in str(error.value)
    assert 'mine.yaml' in str(error.value)


def test_sections_when_ros_reads_them_then_those_that_reach_no_node_are_those_we_tell_of(tmp_path):
    sections = ('lifting', '/lifting', 'samtok/lifting', '/left/lifting', '/**/lifting',
                '**/lifting', '/*/lifting', '/*/*/lifting', '/samtok/*/lifting',
                '/samtok/**/lifting', '/left/*/lifting', '/**/eye/lifting')
    with harness.own_domain() as domain:
        for number, section in enumerate(sections):
            path = tmp_path / f'{number}.yaml'
            path.write_text(f'"{section}":\n  ros__parameters: {{queue: 2}}\n')
            context = Context()
            rclpy.init(args=['--ros-args', '--params-file', str(path)], context=context,
                       domain_id=domain)
            for namespace in ('/samtok', '/left/eye'):
                node = rclpy.create_node(
                    'lifting', namespace=namespace, context=context,
                    start_parameter_services=False,
                    automatically_declare_parameters_from_overrides=True)
                is_told = bool(check_parameter_file(path, namespace))
                assert is_told is not node.has_parameter('queue'), (section, namespace)
                node.destroy_node()
            context.shutdown()


@pytest.mark.parametrize('arguments, message', [
    (['--params-fil', 'a.yaml'], 'ROS does not start: got .*--params-fil'),
    (['-p', 'a:=[1'], "parameter override rule: '-p a:=\\[1'"),
    (['-r', '__ns:=a//b'], "remap rule: '-r __ns:=a//b'"),
    (['--log-level', 'loud'], "log level: '--log-level loud'"),
])
def test_start_when_an_argument_is_wrong_then_one_line_names_it(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        start_ros(['node', '--ros-args', *arguments])
    assert '\n' not in str(error.value)
    assert '.c:' not in str(error.value)
