# SPDX-License-Identifier: Apache-2.0
"""Camera images and a goal in plain words in; mask words, masks and a target mask out.

    ros2 launch samtok_ros perception.launch.py image:=/camera/color/image_raw
    ros2 topic pub --once /samtok/goal samtok_ros/msg/Goal "{text: the red mug}"

`ros2 launch samtok_ros perception.launch.py --show-args` explains every argument. What is not given
here stays as the parameter file says. `samtok up` starts the same without launch.
"""

import posixpath
from pathlib import Path

from launch.actions import DeclareLaunchArgument, GroupAction, OpaqueFunction, Shutdown
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from samtok_ros.bring_up.arguments import ARGUMENTS, Argument
from samtok_ros.bring_up.parameter_file import check_parameter_file
from samtok_ros.bring_up.programs import RESPAWN_DELAY_S, Program, check_model, programs_to_start


def shared_file(name: str) -> PathJoinSubstitution:
    """Return where a file of this package is installed."""
    return PathJoinSubstitution([FindPackageShare('samtok_ros'), *name.split('/')])


def declare(argument: Argument) -> DeclareLaunchArgument:
    """Declare one argument."""
    default = shared_file(argument.default) if argument.is_shared_file else argument.default
    facts = {'choices': list(argument.choices)} if argument.choices else {}
    return DeclareLaunchArgument(argument.name, default_value=default,
                                 description=argument.description, **facts)


def start_nodes(context: LaunchContext) -> list[GroupAction]:
    """Start one process, or two when they are split, and what was asked for beside them."""
    values = {argument.name: LaunchConfiguration(argument.name).perform(context)
              for argument in ARGUMENTS}
    # As PushRosNamespace joins them.
    namespace = posixpath.join(context.launch_configurations.get('ros_namespace', ''),
                               values['namespace'])
    for warning in check_parameter_file(Path(values['params_file']), namespace):
        get_logger('samtok_ros').warning(warning)
    programs = programs_to_start(values, lambda name: shared_file(name).perform(context))
    check_model(values)
    # Pushed, so that whoever includes this file can push another namespace in front.
    return [GroupAction([PushRosNamespace(values['namespace']),
                         *(node_of(program, values) for program in programs)])]


def node_of(program: Program, values: dict[str, str]) -> Node:
    """Return the action that starts a program."""
    respawn = program.needed and values['respawn'] == 'true'
    # Typed, or launch would read a model called 7 as a number.
    parameters = {name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
                  for name, value in program.parameters.items()}
    ros_arguments = ['--log-level', values['log_level']]
    if program.enclave:
        ros_arguments += ['--enclave', program.enclave]
    # No name is given: the program perception holds two nodes, and each has its own.
    return Node(
        package=program.package, executable=program.executable, arguments=list(program.arguments),
        parameters=[*program.parameter_files, *([parameters] if parameters else [])],
        remappings=list(program.remappings), ros_arguments=ros_arguments,
        output='screen', emulate_tty=True, respawn=respawn, respawn_delay=RESPAWN_DELAY_S,
        on_exit=Shutdown(reason=f'{program.executable} has ended')
        if program.needed and not respawn else None)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    return LaunchDescription([*map(declare, ARGUMENTS), OpaqueFunction(function=start_nodes)])
