# SPDX-License-Identifier: Apache-2.0
"""What a grasp planner adds to its own node: a goal out, the target's mask and its depth in.

    python examples/planner.py "the purple bottle"

Topics are those of the namespace samtok; the depth image is remapped with --ros-args -r depth:=...
"""

import contextlib
import sys

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import Image

from samtok_ros.image.encodings import depth_to_metres
from samtok_ros.msg import Goal

DEPTH_IMAGES_KEPT = 60


class Planner(Node):
    """Sets a goal, and measures how far away the target is whenever its mask comes."""

    def __init__(self, goal: str) -> None:
        """Subscribe; the goal goes out as soon as somebody listens."""
        super().__init__('planner', namespace='samtok')
        self.depth_images = {}
        self.create_subscription(Image, 'depth', self.on_depth, qos_profile_sensor_data)
        # Latched: who comes late still gets the last mask.
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Image, 'target/mask', self.on_mask, latched)
        self.goal = Goal(text=goal)
        self.goals = self.create_publisher(Goal, 'goal', 10)
        self.start = self.create_timer(0.1, self.send_goal)

    def send_goal(self) -> None:
        """Set the goal, once; it holds until it is replaced or cleared by an empty text."""
        if self.goals.get_subscription_count():
            self.goals.publish(self.goal)
            self.start.cancel()

    def on_depth(self, message: Image) -> None:
        """Keep the newest depth images by stamp: a mask comes later than its image."""
        self.depth_images[stamp_of(message)] = message
        while len(self.depth_images) > DEPTH_IMAGES_KEPT:
            del self.depth_images[next(iter(self.depth_images))]

    def on_mask(self, message: Image) -> None:
        """Use mask and depth of the very same image; anything else would be a guess."""
        mask = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width) > 0
        depth = self.depth_images.get(stamp_of(message))
        if not mask.any():
            self.get_logger().info('nothing in the image fits the goal')
        elif depth is None:
            self.get_logger().warning('no depth image with the stamp of this mask')
        else:
            depth_m = depth_to_metres(depth.data, depth.height, depth.width, depth.encoding,
                                      depth.step, bool(depth.is_bigendian))
            self.get_logger().info(
                f'{mask.sum()} px of the target, {np.nanmedian(depth_m[mask]):.2f} m away')


def stamp_of(message: Image) -> tuple[int, int]:
    """Return the stamp of an image, exact to the nanosecond."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def main() -> None:
    """Run until the end of the process."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Planner(sys.argv[1]))


if __name__ == '__main__':
    main()
