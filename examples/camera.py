# SPDX-License-Identifier: Apache-2.0
"""Plays a small depth camera: publishes one picture again and again, each with a fresh stamp.

    python examples/camera.py examples/table.jpg

Colour goes to /samtok/image; depth, of a wall 0.8 m away, to /samtok/depth, with the same stamp;
the intrinsics of both to /samtok/camera_info.
"""

import array
import contextlib
import sys

import numpy as np
import rclpy
from PIL import Image as Picture
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

DISTANCE_MM = 800
FOCAL_LENGTH_PX = 300.0
RATE_HZ = 5.0
# Larger best-effort images get lost between two processes of a busy machine.
SIZE_WH = (320, 240)


class Camera(Node):
    """Sends colour, depth and intrinsics, best effort, as camera drivers do."""

    def __init__(self, image_rgb: np.ndarray) -> None:
        """Start to send (H, W, 3) uint8."""
        super().__init__('camera', namespace='samtok')
        depth_mm = np.full(image_rgb.shape[:2], DISTANCE_MM, np.uint16)
        self._streams = [
            (self.create_publisher(type(message), topic, qos_profile_sensor_data), message)
            for topic, message in (('camera_info', intrinsics(*SIZE_WH)),
                                   ('depth', image_message(depth_mm, '16UC1')),
                                   ('image', image_message(image_rgb, 'rgb8')))]
        self.create_timer(1 / RATE_HZ, self._send)

    def _send(self) -> None:
        stamp = self.get_clock().now().to_msg()
        for publisher, message in self._streams:
            message.header.stamp = stamp
            message.header.frame_id = 'camera_color_optical_frame'
            publisher.publish(message)


def intrinsics(width: int, height: int) -> CameraInfo:
    """Return a camera that looks straight ahead through the middle of its image."""
    matrix = [FOCAL_LENGTH_PX, 0.0, width / 2, 0.0, FOCAL_LENGTH_PX, height / 2, 0.0, 0.0, 1.0]
    return CameraInfo(width=width, height=height, k=matrix)


def image_message(pixels: np.ndarray, encoding: str) -> Image:
    """Return pixels as a message without a stamp."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=pixels.strides[0])
    message.data = array.array('B', pixels.tobytes())
    return message


def main() -> None:
    """Send until the end of the process."""
    rclpy.init()
    image_rgb = np.array(Picture.open(sys.argv[1]).convert('RGB').resize(SIZE_WH))
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Camera(image_rgb))


if __name__ == '__main__':
    main()
