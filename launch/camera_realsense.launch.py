# SPDX-License-Identifier: Apache-2.0
"""A RealSense camera and the nodes that look through it.

    ros2 launch samtok_ros camera_realsense.launch.py model:=/models/mine

Starts the camera's own launch file (package realsense2_camera) with depth aligned to colour, and
perception.launch.py on both. Arguments of both files can be given, such as
`rgb_camera.color_profile:=640x480x15`. Aligned depth has the stamps, size and optical frame of the
colour images, and so of the masks: targets come out in 3D.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription


def include(package: str, name: str, **arguments: object) -> IncludeLaunchDescription:
    """Include a launch file of a package."""
    path = PathJoinSubstitution([FindPackageShare(package), 'launch', name])
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(path),
                                    launch_arguments=list(arguments.items()))


def generate_launch_description() -> LaunchDescription:
    """Start the camera, and the nodes on its colour and depth images."""
    name, namespace = LaunchConfiguration('camera_name'), LaunchConfiguration('camera_namespace')
    image = ['/', namespace, '/', name, '/color/image_raw']
    depth = ['/', namespace, '/', name, '/aligned_depth_to_color/image_raw']
    return LaunchDescription([
        DeclareLaunchArgument('camera_name', default_value='camera',
                              description='name of the camera'),
        DeclareLaunchArgument('camera_namespace', default_value='camera',
                              description='namespace of the camera'),
        include('realsense2_camera', 'rs_launch.py', camera_name=name, camera_namespace=namespace,
                enable_color='true', enable_depth='true', **{'align_depth.enable': 'true'}),
        include('samtok_ros', 'perception.launch.py', image=image, depth=depth),
    ])
