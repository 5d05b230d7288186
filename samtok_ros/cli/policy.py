# SPDX-License-Identifier: Apache-2.0
"""`samtok policy`: prints the SROS 2 policy for a namespace and a camera."""

import argparse
import sys


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'policy', help='print the SROS 2 policy of the nodes',
        description='Print what each process may publish, read, answer and call, as a policy for '
        'ros2 security; config/sros2/policy.xml is the one for the defaults.')
    parser.add_argument('--namespace', default='samtok',
                        help='namespace of the nodes (default: %(default)s)')
    parser.add_argument('--image', default='image', help='image topic of the camera, as for samtok '
                        'up (default: %(default)s)')
    parser.add_argument('--depth', default='depth', help='depth topic of the camera, as for samtok '
                        'up (default: %(default)s)')
    parser.add_argument('--camera-info', default='', help='calibration topic of the camera, as for '
                        'samtok up (default: camera_info beside the depth topic)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print the policy.

    Raises:
        ConfigError: the namespace or a topic is no ROS name.
    """
    from samtok_ros.bring_up.programs import depth_topics
    from samtok_ros.interface.security_policy import CameraTopics, policy

    *_, camera_info = depth_topics(arguments.depth, arguments.camera_info)
    camera = CameraTopics(arguments.image, arguments.depth, camera_info)
    sys.stdout.write(policy(arguments.namespace, camera))
