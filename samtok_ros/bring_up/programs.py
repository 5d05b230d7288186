# SPDX-License-Identifier: Apache-2.0
"""Arguments -> the programs to start: the same graph, whoever starts it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from samtok_ros.bring_up.arguments import changed_parameters, check_arguments
from samtok_ros.bring_up.installed import PACKAGE
from samtok_ros.errors import ConfigError
from samtok_ros.interface.ros_names import BOTH, GROUNDING, LIFTING
from samtok_ros.model_directory import resolve_model

DEFAULT_NAMESPACE = 'samtok'
RESPAWN_DELAY_S = 2.0
SHOWN_TOPICS = ('overlay', 'overlay/compressed', 'target/mask', 'target/points', 'markers')
"""Topics that config/rviz/samtok.rviz shows, and the base names of those with a transport."""

_NODES_OF_PROGRAM = {'perception': BOTH}
_MANAGER_FILE, _RVIZ_FILE = 'config/lifecycle_manager.yaml', 'config/rviz/samtok.rviz'
_NAME = re.compile(r'/?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')


@dataclass(frozen=True)
class Program:
    """One program and what it is told.

    Attributes:
        package: ROS package that it belongs to.
        executable: its name in there.
        arguments: its own arguments.
        parameter_files: paths, a later one wins.
        parameters: win over the files.
        remappings: pairs of names, from and to.
        enclave: where SROS 2 finds its keys; '' for programs that are not ours.
        needed: its end is the end of all; a viewer is not needed.
    """

    package: str
    executable: str
    arguments: tuple[str, ...] = ()
    parameter_files: tuple[str, ...] = ()
    parameters: Mapping[str, str | bool | list[str]] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    enclave: str = ''
    needed: bool = True


def programs_to_start(values: Mapping[str, str], shared: Callable[[str], str]) -> list[Program]:
    """Return what to start.

    Args:
        values: of all arguments, by name.
        shared: returns the path of a file of this package from its path below the share folder.
    Raises:
        ConfigError: a value is wrong.
    """
    check_arguments(values)
    for argument in ('namespace', 'image'):
        check_name(f'argument {argument}', values[argument])
    namespace = values['namespace'].strip('/')
    parts = _parts(values)
    programs = [Program(
        PACKAGE, part, parameter_files=(values['params_file'],),
        parameters=changed_parameters(values, _NODES_OF_PROGRAM.get(part, (part,))),
        remappings=_remappings(part, values), enclave=f'/{namespace}/{part}') for part in parts]
    if values['lifecycle_manager'] == 'true':
        # Who listens comes first: words that come before the mask tokenizer is active are lost.
        nodes = [node for part in reversed(parts)
                 for node in reversed(_NODES_OF_PROGRAM.get(part, (part,)))]
        programs.append(Program(
            'nav2_lifecycle_manager', 'lifecycle_manager', parameter_files=(shared(_MANAGER_FILE),),
            parameters={'node_names': nodes, 'autostart': values['autostart'] == 'true'}))
    if values['rviz'] == 'true':
        programs.append(Program(
            'rviz2', 'rviz2', arguments=('-d', shared(_RVIZ_FILE)), needed=False,
            remappings=tuple((f'/{DEFAULT_NAMESPACE}/{topic}', f'/{namespace}/{topic}')
                             for topic in SHOWN_TOPICS if namespace != DEFAULT_NAMESPACE)))
    return programs


def check_model(values: Mapping[str, str]) -> None:
    """Look for a model that an argument names: nodes would start, and stay unconfigured.

    Args:
        values: of all arguments, by name.
    Raises:
        CheckpointError: it is not on this machine.
    """
    if values['model'] and values['backend'] != 'fake':
        resolve_model(values['model'])


def _parts(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the programs of ours to start; lifting where there is depth to lift with."""
    split = values['split']
    parts = {'false': ('perception',), 'true': BOTH}.get(split, (split,))
    if split == LIFTING and not values['depth']:
        raise ConfigError('argument depth is needed to start lifting', got="''",
                          fix='give the depth topic that is aligned to the colour image')
    return (*parts, LIFTING) if values['depth'] and split not in (GROUNDING, LIFTING) else parts


def _remappings(part: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the topics of the camera that a program reads."""
    if part != LIFTING:
        image = values['image']
        return ('image', image), ('image/compressed', f'{image}/compressed')
    topics = depth_topics(values['depth'], values['camera_info'])
    return tuple(zip(('depth', 'depth/compressedDepth', 'camera_info'), topics, strict=True))


def depth_topics(depth: str, camera_info: str = '') -> tuple[str, str, str]:
    """Return the topics of depth images, raw and compressed, and of their calibration.

    Args:
        depth: topic of the raw images.
        camera_info: topic of the calibration; '' for where drivers put it, beside the images.
    Raises:
        ConfigError: one of them is no ROS name.
    """
    check_name('argument depth', depth)
    info = camera_info or '/'.join([*depth.split('/')[:-1], 'camera_info'])
    check_name('argument camera_info', info)
    return depth, f'{depth}/compressedDepth', info


def check_name(what: str, name: str) -> None:
    """Check a namespace or the base name of a topic.

    Raises:
        ConfigError: ROS would refuse it, or it names one transport of a topic.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f'{what} is no ROS name', got=repr(name),
                          expected='letters, digits and _ between single /')
    for suffix, setting in (('/compressed', 'transport'), ('/compressedDepth', 'depth.transport')):
        if name.endswith(suffix):
            raise ConfigError(f'{what} names one transport of a topic', got=name,
                              fix=f'leave out {suffix}, and set {setting} to compressed')


def command_line(program: Program, values: Mapping[str, str],
                 find: Callable[[str, str], Path]) -> tuple[str | Path, ...]:
    """Return the command that starts a program, as `ros2 launch` would write it.

    Args:
        program: what to start.
        values: of all arguments, by name.
        find: returns the path of a program from its name and its package.
    Raises:
        ConfigError: the program is not installed.
    """
    command = [find(program.executable, program.package), *program.arguments, '--ros-args',
               '-r', f'__ns:=/{values["namespace"].strip("/")}']
    for path in program.parameter_files:
        command += ['--params-file', path]
    for name, value in program.parameters.items():
        # JSON is YAML: a text stays a text, also one that looks like a number.
        command += ['-p', f'{name}:={json.dumps(value)}']
    for old, new in program.remappings:
        command += ['-r', f'{old}:={new}']
    command += ['--log-level', values['log_level']]
    return (*command, '--enclave', program.enclave) if program.enclave else tuple(command)
