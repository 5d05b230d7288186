# SPDX-License-Identifier: Apache-2.0
"""A reader that stops to read: run by tests, which then halt its process."""

import sys

import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.msg import RegionMasks


def main() -> None:
    """Subscribe reliably to all large outputs and print the stamp of each label image."""
    rclpy.init()
    node = rclpy.create_node('stopped_reader', namespace='samtok')
    qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.RELIABLE)
    for message_type, topic in ((RegionMasks, 'masks'), (Image, 'label_image'),
                                (CompressedImage, 'overlay/compressed')):
        node.create_subscription(message_type, topic, _say if topic == 'label_image' else _ignore,
                                 qos)
    rclpy.spin(node)


def _say(message: Image) -> None:
    sys.stdout.write(f'{message.header.stamp.sec} {message.header.stamp.nanosec}\n')
    sys.stdout.flush()


def _ignore(message: object) -> None:
    pass


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
