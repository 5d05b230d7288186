# SPDX-License-Identifier: Apache-2.0
"""Arrays for networks that propose grasps: Contact-GraspNet, AnyGrasp and their like.

    python examples/adapters/grasp_networks.py scene.npz --ros-args \
        -r image:=/camera/color/image_raw -r depth:=/camera/aligned_depth_to_color/image_raw \
        -r camera_info:=/camera/color/camera_info

Waits for a good target, writes its image for Contact-GraspNet and prints how it is read there. All
is in the optical frame, as those networks expect; they know no distortion, so images are to be
rectified. What they answer is in that frame too, at the stamp in the file.
"""

import contextlib
import sys

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future
from same_stamp import CAMERA, LATCHED, RESULTS, SameStamp, depth_in_metres, misfit, pixels
from sensor_msgs.msg import CameraInfo, Image

from samtok_ros.msg import LiftedTarget

AROUND_M = 0.05


def contact_graspnet_input(image: Image, depth: Image, camera_info: CameraInfo,
                           label_image: Image) -> dict[str, np.ndarray]:
    """Return what Contact-GraspNet reads from a file; raises ValueError where it does not fit.

    Args:
        image: rgb8 or bgr8.
        depth: 16UC1 or 32FC1, aligned to it.
        camera_info: of both.
        label_image: the topic label_image, 16UC1.
    Returns:
        depth (H, W) float32 metres, 0 where nothing was measured; K (3, 3) float64; segmap (H, W)
        int32, the id of the region at each pixel, 0 for none; rgb (H, W, 3) uint8 in the order
        blue, green, red, because the network swaps it; stamp (2,) int64 seconds, nanoseconds.
    """
    if problem := misfit(image=image, depth=depth, camera_info=camera_info,
                         label_image=label_image):
        raise ValueError(problem)
    if image.encoding not in ('rgb8', 'bgr8') or label_image.encoding != '16UC1':
        raise ValueError(f'encodings are {image.encoding!r} and {label_image.encoding!r}')
    colours = pixels(image, 'u1', 3)
    stamp = image.header.stamp
    return {'depth': depth_in_metres(depth), 'K': np.array(camera_info.k).reshape(3, 3),
            'segmap': pixels(label_image, 'u2').astype(np.int32),
            'rgb': colours[..., ::-1] if image.encoding == 'rgb8' else colours,
            'stamp': np.array([stamp.sec, stamp.nanosec])}


def anygrasp_input(arrays: dict[str, np.ndarray],
                   segment_id: int) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Return what AnyGrasp's get_grasp takes: the scene, and limits around one thing of it.

    The other things stay in the cloud: grasps must not collide with them.

    Args:
        arrays: of contact_graspnet_input.
        segment_id: of the thing; ValueError when no pixel of it has depth.
    Returns:
        points (N, 3) float32 metres, colours (N, 3) float32 red, green, blue in 0..1, and
        x, y, z limits as [least x, most x, least y, ...].
    """
    depth_m, matrix = arrays['depth'], arrays['K']
    rows, columns = np.nonzero(depth_m)
    z = depth_m[rows, columns]
    points = np.stack([(columns - matrix[0, 2]) / matrix[0, 0] * z,
                       (rows - matrix[1, 2]) / matrix[1, 1] * z, z], axis=1).astype(np.float32)
    thing = points[arrays['segmap'][rows, columns] == segment_id]
    if not len(thing):
        raise ValueError(f'no pixel of region {segment_id} has depth')
    limits = np.stack([thing.min(axis=0) - AROUND_M, thing.max(axis=0) + AROUND_M], axis=1)
    colours = arrays['rgb'][rows, columns, ::-1].astype(np.float32) / 255
    return points, colours, limits.ravel().tolist()


class SceneWriter(Node):
    """Writes one scene, and ends."""

    def __init__(self, path: str) -> None:
        """Subscribe; a region image is made only while somebody listens."""
        super().__init__('scene_writer', namespace='samtok')
        self.path, self.done = path, Future()
        self.inputs = SameStamp(
            self, self.write, image=(Image, 'image', CAMERA), depth=(Image, 'depth', CAMERA),
            camera_info=(CameraInfo, 'camera_info', CAMERA),
            label_image=(Image, 'label_image', RESULTS),
            target=(LiftedTarget, 'target/box', LATCHED))

    def write(self, target: LiftedTarget, **messages) -> None:
        """Write the scene of a target that is good, or say why it is not."""
        try:
            if target.status != LiftedTarget.OK:
                raise ValueError(target.message)
            arrays = contact_graspnet_input(**messages)
        except ValueError as problem:
            self.get_logger().warning(f'refused: {problem}')
            return
        np.savez(self.path, **arrays)
        self.get_logger().info(
            f'{target.label}: contact_graspnet/inference.py --np_path={self.path} '
            f'--segmap_id={target.id} --local_regions --filter_grasps')
        self.done.set_result(None)


def main() -> None:
    """Run until a scene is written."""
    rclpy.init()
    (path,) = rclpy.utilities.remove_ros_args(sys.argv)[1:] or ['scene.npz']
    writer = SceneWriter(path)
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin_until_future_complete(writer, writer.done)


if __name__ == '__main__':
    main()
