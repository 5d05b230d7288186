# SPDX-License-Identifier: Apache-2.0
"""Feeds a pose estimator of the kind of FoundationPose: colour, depth, mask, calibration.

    python examples/adapters/foundation_pose.py --ros-args -r image:=/camera/color/image_raw \
        -r depth:=/camera/aligned_depth_to_color/image_raw \
        -r camera_info:=/camera/color/camera_info

It wants four messages with one stamp, depth as 32-bit metres, the mask as mono8, and fails on a
mask without depth below it. Here only what fulfils that is passed on, to the topics below
`pose_estimation/` that isaac_ros_foundationpose reads; the rest is refused with the reason.
"""

import array
import contextlib
from dataclasses import dataclass

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from same_stamp import CAMERA, LATCHED, RESULTS, SameStamp, depth_in_metres, misfit, pixels
from sensor_msgs.msg import CameraInfo, Image

LEAST_PX = 50


@dataclass(frozen=True)
class Quadruple:
    """What the estimator reads; all four with the header of the colour image."""

    image: Image
    depth_image: Image
    segmentation: Image
    camera_info: CameraInfo


def make_quadruple(image: Image, depth: Image, mask: Image, camera_info: CameraInfo) -> Quadruple:
    """Return messages that the estimator can use; raises ValueError where there are none.

    Args:
        image: rgb8.
        depth: 16UC1 or 32FC1, aligned to the colour image.
        mask: the topic target/mask, mono8, 255 on the target.
        camera_info: of the colour image.
    """
    if problem := misfit(image=image, depth=depth, mask=mask, camera_info=camera_info):
        raise ValueError(problem)
    for name, message, encoding in (('image', image, 'rgb8'), ('mask', mask, 'mono8')):
        if message.encoding != encoding:
            raise ValueError(f'{name} has encoding {message.encoding!r}, not {encoding!r}')
    if not camera_info.k[0] > 0:
        raise ValueError('camera_info holds no calibration')
    on_target, depth_m = pixels(mask, 'u1') > 0, depth_in_metres(depth)
    if not on_target.any():
        raise ValueError('the mask is empty: nothing in the image fits the goal')
    seen = np.count_nonzero(on_target & (depth_m > 0))
    if seen < LEAST_PX:
        raise ValueError(f'{seen} of {on_target.sum()} pixels of the mask have depth, expected at '
                         f'least {LEAST_PX}')
    metres = Image(header=depth.header, height=depth.height, width=depth.width, encoding='32FC1',
                   step=4 * depth.width, data=array.array('B', depth_m.astype('<f4').tobytes()))
    return Quadruple(image, metres, mask, camera_info)


class FoundationPoseFeed(Node):
    """Passes on what fits together."""

    def __init__(self) -> None:
        """Subscribe in the namespace samtok; publish below pose_estimation/."""
        super().__init__('foundation_pose_feed', namespace='samtok')
        self.outputs = {name: self.create_publisher(kind, f'/pose_estimation/{name}', RESULTS)
                        for name, kind in (('image', Image), ('depth_image', Image),
                                           ('segmentation', Image), ('camera_info', CameraInfo))}
        self.inputs = SameStamp(
            self, self.pass_on, image=(Image, 'image', CAMERA), depth=(Image, 'depth', CAMERA),
            camera_info=(CameraInfo, 'camera_info', CAMERA), mask=(Image, 'target/mask', LATCHED))

    def pass_on(self, **messages) -> None:
        """Publish four messages of one stamp, or say why not."""
        try:
            quadruple = make_quadruple(**messages)
        except ValueError as problem:
            self.get_logger().warning(f'refused: {problem}')
            return
        for name, publisher in self.outputs.items():
            publisher.publish(getattr(quadruple, name))


def main() -> None:
    """Run until the end of the process."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(FoundationPoseFeed())


if __name__ == '__main__':
    main()
