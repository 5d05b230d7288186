# SPDX-License-Identifier: Apache-2.0
"""Camera images and a goal in plain words in; mask words, masks and a target mask out.

    ros2 launch samtok_ros perception.launch.py image:=/camera/color/image_raw
    ros2 topic pub --once /samtok/goal samtok_ros/msg/Goal "{text: the red mug}"

`ros2 launch samtok_ros perception.launch.py --show-args` explains every argument. What is not given
here stays as the parameter file says.
"""

from launch.actions import DeclareLaunchArgument, GroupAction, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

SWITCH = ['true', 'false']
FROM_FILE = 'as the parameter file says'

ARGUMENTS = {
    'namespace': {'default_value': 'samtok',
                  'description': 'namespace of both nodes and all their topics'},
    'params_file': {'description': 'parameter file; config/replay.yaml is the one for bags'},
    'image': {'default_value': 'image',
              'description': 'image topic of the camera, without /compressed'},
    'transport': {'default_value': '', 'choices': ['', 'raw', 'compressed'],
                  'description': f'raw or compressed images; empty: {FROM_FILE}'},
    'model': {'default_value': '',
              'description': f'tabletop, a model directory, or owner/name; empty: {FROM_FILE}'},
    'backend': {'default_value': '', 'choices': ['', 'torch', 'fake'],
                'description': f'what runs the model; empty: {FROM_FILE}'},
    'device': {'default_value': '', 'choices': ['', 'auto', 'cpu', 'cuda'],
               'description': f'where it runs; empty: {FROM_FILE}'},
    'split': {'default_value': 'false', 'choices': SWITCH,
              'description': 'two processes, of which each can run on a machine of its own'},
    'use_sim_time': {'default_value': 'false', 'choices': SWITCH,
                     'description': 'take the time from /clock, as with ros2 bag play --clock'},
    'autostart': {'default_value': 'true', 'choices': SWITCH,
                  'description': 'configure and activate; false leaves it to a lifecycle manager'},
    'respawn': {'default_value': 'false', 'choices': SWITCH,
                'description': 'start a process again that has died, instead of ending the launch'},
    'log_level': {'default_value': 'info',
                  'choices': ['debug', 'info', 'warn', 'error', 'fatal'],
                  'description': 'least severe log lines to show'},
}

PARAMETER_OF_ARGUMENT = {'model': 'model.name', 'backend': 'model.backend',
                         'device': 'model.device', 'transport': 'input.transport'}


def changed_parameters(values: dict[str, str]) -> dict[str, str | bool]:
    """Return the parameters that arguments change; an empty argument leaves the file's value."""
    changed = {parameter: values[argument]
               for argument, parameter in PARAMETER_OF_ARGUMENT.items() if values[argument]}
    changed['autostart'] = values['autostart'] == 'true'
    if values['use_sim_time'] == 'true':
        changed['use_sim_time'] = True
    return changed


def start_nodes(context: LaunchContext) -> list[GroupAction]:
    """Start one process, or two when they are split."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    respawn = values['respawn'] == 'true'
    programs = ['grounding', 'mask_tokenizer'] if values['split'] == 'true' else ['perception']
    image = values['image']
    # No name is given: the program perception holds two nodes, and each has its own.
    nodes = [Node(
        package='samtok_ros', executable=program,
        parameters=[values['params_file'], changed_parameters(values)],
        remappings=[('image', image), ('image/compressed', f'{image}/compressed')],
        ros_arguments=['--log-level', values['log_level']],
        output='screen', emulate_tty=True, respawn=respawn, respawn_delay=2.0,
        on_exit=None if respawn else Shutdown(reason=f'{program} has ended'),
    ) for program in programs]
    return [GroupAction([PushRosNamespace(values['namespace']), *nodes])]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the nodes."""
    default_file = PathJoinSubstitution(
        [FindPackageShare('samtok_ros'), 'config', 'default.yaml'])
    return LaunchDescription([
        *(DeclareLaunchArgument(name, **{'default_value': default_file, **facts})
          for name, facts in ARGUMENTS.items()),
        OpaqueFunction(function=start_nodes),
    ])
