# SPDX-License-Identifier: Apache-2.0
"""What a grasp planner adds to its own node, written against the messages of samtok_ros alone.

    python examples/planner.py "the purple bottle" "the black bowl"

Sets a standing goal and says where in the camera's frame the target is, each time its mask comes.
Then, on the image of the first such mask, it looks once for a second thing, where the first is to
be put, and asks about it. Names are those of the namespace samtok; a camera of your own is given
with --ros-args -r depth:=... -r camera_info:=...
"""

import contextlib
import sys

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from samtok_ros.action import Ground
from samtok_ros.msg import Goal, RegionReference
from samtok_ros.srv import AskRegion

DEPTH_IMAGES_KEPT = 60
LEAST_DEPTH_SHARE = 0.3


class Planner(Node):
    """Grasps in thought: finds the target, then the place to put it."""

    def __init__(self, target: str, place: str) -> None:
        """Subscribe; the goal goes out as soon as somebody listens."""
        super().__init__('planner', namespace='samtok')
        self.place = place
        self.depth_images = {}
        self.camera = None
        self.create_subscription(Image, 'depth', self.on_depth, qos_profile_sensor_data)
        self.create_subscription(CameraInfo, 'camera_info', self.on_camera, qos_profile_sensor_data)
        # Latched: who comes late still gets the last mask.
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Image, 'target/mask', self.on_mask, latched)
        self.goal = Goal(text=target)
        self.goals = self.create_publisher(Goal, 'goal', 10)
        self.start = self.create_timer(0.1, self.send_goal)
        self.finder = ActionClient(self, Ground, 'ground')
        self.questions = self.create_client(AskRegion, 'ask_region')

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

    def on_camera(self, message: CameraInfo) -> None:
        """Keep the intrinsics."""
        self.camera = message

    def on_mask(self, message: Image) -> None:
        """Use mask and depth of the very same image; anything else would be a guess."""
        mask = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width) > 0
        depth = self.depth_images.get(stamp_of(message))
        if not mask.any():
            self.get_logger().info('nothing in the image fits the goal')
        elif depth is None or self.camera is None:
            self.get_logger().warning('no depth image with the stamp of this mask, or no camera')
        else:
            self.get_logger().info(f'target {where(mask, depth, self.camera)}')
            if self.place and self.finder.server_is_ready():
                self.look_for_place(depth)

    def look_for_place(self, depth: Image) -> None:
        """Ask, once, where something else is in the same image."""
        goal = Ground.Goal(stamp=depth.header.stamp, text=self.place, max_masks=1)
        self.place = ''
        self.finder.send_goal_async(goal).add_done_callback(
            lambda accepted: self.on_accepted(accepted.result(), depth))

    def on_accepted(self, goal, depth: Image) -> None:
        """Wait for the answer; a goal that is refused has its reason in the log of the node."""
        if not goal.accepted:
            self.get_logger().error('the search for a place was refused')
            return
        goal.get_result_async().add_done_callback(
            lambda done: self.on_place(done.result().result, depth))

    def on_place(self, result: Ground.Result, depth: Image) -> None:
        """Say where the place is, and ask about it by its mask words."""
        if not result.masks.masks:
            self.get_logger().warning(f'no place: {result.message or result.words.answer}')
            return
        mask = runs_to_mask(result.masks.masks[0].rle, result.masks.height, result.masks.width)
        self.get_logger().info(f'place {where(mask, depth, self.camera)}')
        region = RegionReference(kind=RegionReference.CODES, codes=result.words.words[0].codes)
        # Words mean nothing without their image and their mask tokenizer: both go along.
        question = AskRegion.Request(stamp=depth.header.stamp, text='What colour is <region:1>?',
                                     regions=[region], tokenizer_id=result.words.tokenizer_id)
        self.questions.call_async(question).add_done_callback(
            lambda done: self.on_answer(done.result()))

    def on_answer(self, answer: AskRegion.Response) -> None:
        """Show what the model says about the place."""
        if answer.success:
            self.get_logger().info(f'colour of the place: {answer.words.answer}')
        else:
            self.get_logger().warning(f'no answer: {answer.message}')


def where(mask: np.ndarray, depth: Image, camera: CameraInfo) -> str:
    """Say where the middle of a mask is in the camera's optical frame (x right, y down)."""
    depth_m = depth_in_metres(depth)
    rows, columns = np.nonzero(mask & np.isfinite(depth_m))
    share = len(rows) / mask.sum()
    if share < LEAST_DEPTH_SHARE:
        return f'of {mask.sum()} px has depth on {share:.0%} of them only: look again'
    fx, _, cx, _, fy, cy, *_ = camera.k
    z = depth_m[rows, columns]
    x, y, z = (float(np.median(v)) for v in ((columns - cx) / fx * z, (rows - cy) / fy * z, z))
    return f'at {x:.2f} {y:.2f} {z:.2f} m in {depth.header.frame_id}, {mask.sum()} px'


def depth_in_metres(message: Image) -> np.ndarray:
    """Return (H, W) float32 metres, NaN where nothing was measured; the encoding says the unit."""
    kind, unit_m = {'16UC1': ('u2', 0.001), '32FC1': ('f4', 1.0)}[message.encoding]
    kind = np.dtype(('>' if message.is_bigendian else '<') + kind)
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    pixels = np.ascontiguousarray(rows[:, :message.width * kind.itemsize]).view(kind)
    depth_m = pixels.astype(np.float32) * np.float32(unit_m)
    return np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, np.nan)


def runs_to_mask(runs: list[int], height: int, width: int) -> np.ndarray:
    """Return (H, W) bool from run lengths: column by column, background first."""
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def stamp_of(message: Image) -> tuple[int, int]:
    """Return the stamp of an image, exact to the nanosecond."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def main() -> None:
    """Run until the end of the process."""
    rclpy.init()
    arguments = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Planner(*[*arguments, ''][:2]))


if __name__ == '__main__':
    main()
