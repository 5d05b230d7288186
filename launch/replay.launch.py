# SPDX-License-Identifier: Apache-2.0
"""Plays a bag to the nodes so that it gives the same words each time, and ends after its last one.

    ros2 launch samtok_ros replay.launch.py bag:=/bags/table image:=/camera/color/image_raw \
        goal:="the red mug" record:=/bags/table_masks

The bag starts when the nodes are active, each of its images is processed (config/replay.yaml), and
all ends when the nodes have nothing left to do. Arguments of perception.launch.py can be given too.
"""

import json
import tempfile

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription
from samtok_ros.bring_up.programs import depth_topics
from samtok_ros.interface.ros_names import BOTH, NODES, TOPICS

# Time for the player's publishers to find their subscriptions; what they send before is lost.
DISCOVERY_S = '3.0'
ACKNOWLEDGED_MS = '60000'
RECORDED = [topic.name for topic in TOPICS if topic.writers and not topic.name.startswith('/')]
SHARE = FindPackageShare('samtok_ros')

ARGUMENTS = {
    'bag': {'description': 'bag to play'},
    'image': {'description': 'image topic in the bag, without /compressed'},
    'depth': {'default_value': '', 'description': 'depth topic in the bag, as in '
              'perception.launch.py; empty: nothing is lifted to 3D'},
    'camera_info': {'default_value': '', 'description': 'as in perception.launch.py'},
    'goal': {'default_value': '', 'description': 'what to look for from the first image on; '
             'empty: the bag holds goals, or somebody else sends them'},
    'record': {'default_value': '', 'description': 'folder of a new bag for all that comes out; '
               'empty: nothing is recorded'},
    'rate': {'default_value': '1.0', 'description': 'speed of the bag'},
    'namespace': {'default_value': 'samtok', 'description': 'as in perception.launch.py'},
    'params_file': {'default_value': PathJoinSubstitution([SHARE, 'config', 'replay.yaml']),
                    'description': 'parameter file'},
}


def quality_file(image: str, depth: str, camera_info: str) -> str:
    """Write a file that lets the player send images reliably, whatever the camera did."""
    lossless = {'reliability': 'reliable', 'history': 'keep_all'}
    of_depth = depth_topics(depth, camera_info) if depth else ()
    topics = dict.fromkeys((image, f'{image}/compressed', *of_depth), lossless)
    with tempfile.NamedTemporaryFile('w', prefix='samtok_replay_', suffix='.yaml',
                                     delete=False) as file:
        # JSON is YAML.
        json.dump(topics, file)
    return file.name


def player(values: dict[str, str]) -> ExecuteProcess:
    """Return the action that plays the bag."""
    return ExecuteProcess(cmd=[
        'ros2', 'bag', 'play', values['bag'], '--rate', values['rate'], '--delay', DISCOVERY_S,
        '--clock-topics-all', '--disable-keyboard-controls', '--wait-for-all-acked',
        ACKNOWLEDGED_MS, '--qos-profile-overrides-path', quality_file(
            values['image'], values['depth'], values['camera_info'])],
        output='screen', name='bag_play')


def goal_sender(values: dict[str, str], goal_topic: str) -> ExecuteProcess:
    """Return the action that sends the goal once, to a node that listens."""
    # Without a stamp, so that it holds for every image of the bag.
    return ExecuteProcess(cmd=['ros2', 'topic', 'pub', '--once', goal_topic, 'samtok_ros/msg/Goal',
                               json.dumps({'text': values['goal']})],
                          output='screen', name='goal')


def recorder(values: dict[str, str], prefix: str) -> ExecuteProcess:
    """Return the action that records what comes out."""
    return ExecuteProcess(cmd=['ros2', 'bag', 'record', '--output', values['record'], '--topics',
                               *(f'{prefix}/{topic}' for topic in RECORDED)],
                          output='screen', name='bag_record')


def in_turn(*actions: ExecuteProcess) -> list:
    """Start each action when the one before it has ended well; end all after the last one."""
    handlers = []
    for action, then in zip(actions, (*actions[1:], None), strict=True):
        def on_exit(event, context, then=then):
            if event.returncode or then is None:
                return [Shutdown(reason=f'{event.process_name} has ended')]
            return [then]

        handlers.append(RegisterEventHandler(OnProcessExit(target_action=action, on_exit=on_exit)))
    return [*handlers, actions[0]]


def start_replay(context: LaunchContext) -> list:
    """Start the recorder, then everything beside the nodes in turn."""
    values = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    prefix = '/' + values['namespace'].strip('/')
    nodes = NODES if values['depth'] else BOTH
    waiting = {condition: Node(package='samtok_ros', executable='wait_until', namespace=prefix,
                               arguments=[condition, *nodes, *more], output='screen')
               # A slow model may need much longer than the bag.
               for condition, more in (('active', ()), ('idle', ('--timeout', '86400')))}
    goal = [goal_sender(values, f'{prefix}/goal')] if values['goal'] else []
    record = [recorder(values, prefix)] if values['record'] else []
    return [*record, *in_turn(waiting['active'], *goal, player(values), waiting['idle'])]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, start the nodes and the replay."""
    given = {name: LaunchConfiguration(name) for name in (
        'params_file', 'image', 'depth', 'camera_info', 'namespace')}
    nodes = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([SHARE, 'launch', 'perception.launch.py'])),
        launch_arguments=[*given.items(), ('use_sim_time', 'true')])
    return LaunchDescription([
        *(DeclareLaunchArgument(name, **facts) for name, facts in ARGUMENTS.items()),
        nodes, OpaqueFunction(function=start_replay)])
