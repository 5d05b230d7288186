# SPDX-License-Identifier: Apache-2.0
"""`samtok goal` and `samtok watch` without a graph: wrong input, and ROS that is not there."""

import importlib

import pytest

from samtok_ros.cli.main import main


def failure(capsys, *arguments):
    """Run a command that must fail; return its one line."""
    assert main([str(argument) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.count('\n') == 1
    assert shown.err.startswith('samtok: error: ')
    return shown.err


@pytest.mark.parametrize(('arguments', 'text'), [
    (('goal',), 'a goal or --clear is needed: got none'),
    (('goal', 'the mug', '--clear'), 'a goal or --clear is needed: got both'),
    (('goal', 'the mug', '--out', 'a.gif'), "got '.gif'"),
    (('goal', 'the mug', '--out', 'no/such/a.png'), 'there is no folder no/such'),
    (('watch', '--out', __file__), 'is a file'),
])
def test_command_when_input_is_bad_then_one_line_and_status_2(arguments, text, capsys):
    assert text in failure(capsys, *arguments)


@pytest.mark.parametrize('arguments', [
    ['goal', 'the mug', '--wait', '0'], ['goal', 'the mug', '--wait', 'inf'],
    ['watch', '--count', '0'], ['watch', 'the mug']])
def test_command_when_options_are_wrong_then_usage_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert 'usage: samtok' in capsys.readouterr().err


@pytest.mark.parametrize('arguments', [('goal', 'the mug'), ('goal', '--clear'), ('watch',)])
def test_command_when_ros_is_not_there_then_it_says_what_to_do(arguments, capsys, monkeypatch):
    def no_ros(name):
        raise ModuleNotFoundError("No module named 'rclpy'")

    monkeypatch.setattr(importlib, 'import_module', no_ros)
    line = failure(capsys, *arguments)
    assert 'ROS 2 or the messages of samtok_ros are not here' in line
    assert "No module named 'rclpy'" in line
    assert 'make setup' in line


@pytest.mark.parametrize('order', [
    ('--wait', '1', 'the mug'), ('the mug', '--wait', '1'), ('--json', 'the mug', '--wait', '1')])
def test_goal_when_options_stand_before_it_then_it_is_read_all_the_same(order, monkeypatch, capsys):
    asked = []

    class Part:
        @staticmethod
        def ask_goal(namespace, text, wait_s, say, *, with_picture):
            asked.append((namespace, text, wait_s, with_picture))
            raise OSError('that will do')

    monkeypatch.setattr(importlib, 'import_module', lambda name: Part)
    assert main(['goal', *order]) == 2
    assert asked == [('samtok', 'the mug', 1.0, False)]
    assert 'that will do' in capsys.readouterr().err
