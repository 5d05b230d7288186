# SPDX-License-Identifier: Apache-2.0
"""`samtok up`: starts the nodes as `ros2 launch samtok_ros perception.launch.py` does."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from samtok_ros.bring_up.arguments import ARGUMENTS, Argument


def add_parser(commands) -> None:
    """Add the subcommand; its options are the arguments of the launch file."""
    parser = commands.add_parser(
        'up', help='start the nodes, where launch is not installed',
        description='Start the same nodes with the same arguments as ros2 launch samtok_ros '
        'perception.launch.py. Ctrl-C ends them; when one of them dies, the others end too.')
    for argument in ARGUMENTS:
        _add_option(parser, argument)
    parser.set_defaults(run=run)


def _add_option(parser: argparse.ArgumentParser, argument: Argument) -> None:
    flag = f'--{argument.name.replace("_", "-")}'
    text = argument.description.replace('%', '%%')
    if argument.is_switch:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction,
                            default=argument.default == 'true',
                            help=f'{text} (default: {argument.default})')
        return
    # A file that ships with the package is looked for when it is needed, not to print the help.
    options = {'default': None if argument.is_shared_file else argument.default,
               'metavar': argument.name.upper()}
    if argument.choices:
        options['choices'] = argument.choices
        text += f' [{", ".join(filter(None, argument.choices))}]'
    if 'true' in argument.choices:
        options |= {'nargs': '?', 'const': 'true'}
    default = f' (default: {argument.default})' if argument.default else ''
    parser.add_argument(flag, help=text + default, **options)


def run(arguments: argparse.Namespace) -> int:
    """Start the nodes and wait for their end; return the exit status.

    Raises:
        ConfigError: an argument or the parameter file is wrong, or a program is not installed.
        CheckpointError: the model is not on this machine.
    """
    from samtok_ros.bring_up.installed import find_program, find_shared
    from samtok_ros.bring_up.parameter_file import check_parameter_file
    from samtok_ros.bring_up.programs import (
        RESPAWN_DELAY_S,
        check_model,
        command_line,
        programs_to_start,
    )
    from samtok_ros.bring_up.supervisor import Command, Supervisor

    values = {argument.name: _value(argument, getattr(arguments, argument.name), find_shared)
              for argument in ARGUMENTS}
    programs = programs_to_start(values, lambda name: str(find_shared(name)))
    for warning in check_parameter_file(Path(values['params_file']), values['namespace']):
        print(f'samtok: warning: {warning}', file=sys.stderr)
    check_model(values)
    commands = [Command(program.executable, command_line(program, values, find_program),
                        program.needed) for program in programs]
    return Supervisor(commands, _say, RESPAWN_DELAY_S if arguments.respawn else None).run()


def _value(argument: Argument, given: str | bool | None,
           find_shared: Callable[[str], Path]) -> str:
    if given is None:
        return str(find_shared(argument.default))
    return str(given).lower() if argument.is_switch else given


def _say(line: str) -> None:
    # One write: lines of several programs come from several threads.
    sys.stdout.write(f'{line}\n')
    sys.stdout.flush()
