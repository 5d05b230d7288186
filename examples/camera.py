# SPDX-License-Identifier: Apache-2.0
"""Plays a small depth camera: publishes one picture again and again, each with a fresh stamp.

    python examples/camera.py examples/table.jpg examples/table_depth.png

Colour goes to /samtok/image; depth, in millimetres, to /samtok/depth, with the same stamp; the
intrinsics of both to /samtok/camera_info. Without a depth image there is a wall 0.8 m away.
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

WALL_MM = 800
FOCAL_LENGTH_PX = 303.4  # of table.jpg at SIZE_WH; depth of another focal length would be bent
RATE_HZ = 5.0
# Larger best-effort images get lost between two processes of a busy machine.
SIZE_WH = (320, 240)


class Camera(Node):
    """Sends colour, depth and intrinsics, best effort, as camera drivers do."""

    def __init__(self, image_rgb: np.ndarray, depth_mm: np.ndarray) -> None:
        """Start to send (H, W, 3) uint8 and (H, W) uint16."""
        super().__init__('camera', namespace='samtok')
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
    focal, cx, cy = FOCAL_LENGTH_PX, (width - 1) / 2, (height - 1) / 2
    return CameraInfo(width=width, height=height, distortion_model='plumb_bob', d=[0.0] * 5,
                      k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
                      r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
                      p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0])


def image_message(pixels: np.ndarray, encoding: str) -> Image:
    """Return pixels as a message without a stamp."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=pixels.strides[0])
    message.data = array.array('B', pixels.tobytes())
    return message


def main() -> None:
    """Send until the end of the process."""
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    rclpy.init()
    image_rgb = np.array(Picture.open(sys.argv[1]).convert('RGB').resize(SIZE_WH))
    depth_mm = np.full(image_rgb.shape[:2], WALL_MM, np.uint16)
    if len(sys.argv) > 2:
        nearest = Picture.open(sys.argv[2]).resize(SIZE_WH, Picture.Resampling.NEAREST)
        depth_mm = np.array(nearest).astype(np.uint16)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Camera(image_rgb, depth_mm))


if __name__ == '__main__':
    main()
