# SPDX-License-Identifier: Apache-2.0
"""What a grasp planner adds to its own node, written against the messages of samtok_ros alone.

    python examples/grasp_planner.py "the purple bottle" "the black bowl"

Asks for one thing after the other. Of each it wants to know in 3D where it is, refuses what is not
good enough and says why, and prints where a gripper has to go. Before it asks for the next thing it
looks whether that is in the very same image, and what colour it has. Positions are in the optical
frame of the camera (x right, y down, z forward) at the time of the image: transform them with tf at
that stamp. Names are those of the namespace samtok.
"""

import contextlib
import sys
from dataclasses import dataclass

import numpy as np
import rclpy
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from rclpy.action import ActionClient
from rclpy.clock import Clock
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.task import Future
from rclpy.time import Time
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import PointCloud2

from samtok_ros.action import Ground
from samtok_ros.msg import Goal, LiftedTarget, RegionReference
from samtok_ros.srv import AskRegion

OPENING_M, FINGER_M, HAND_M = 0.085, 0.045, 0.05  # of the gripper; HAND_M: half its width
CLEARANCE_M, PREGRASP_M = 0.005, 0.10
MOST_AGE_S, LEAST_DEPTH_SHARE, LEAST_POINTS, LEAST_INSIDE = 5.0, 0.6, 200, 0.9
PATIENCE = 3  # answers that are refused before the next thing is tried


@dataclass(frozen=True)
class Approach:
    """Where to go: first to `pregrasp`, from there straight on to `grasp`, then close to `width_m`.

    z of both poses points the way the hand moves, y the way the fingers close.
    """

    how: str
    pregrasp: PoseStamped
    grasp: PoseStamped
    width_m: float


class GraspPlanner(Node):
    """Grasps in thought, one thing after the other, and ends."""

    def __init__(self, things: list[str]) -> None:
        """Subscribe; the first goal goes out as soon as somebody listens."""
        super().__init__('grasp_planner', namespace='samtok')
        self.things = things
        self.refusals = 0
        self.has_asked = False
        self.clouds = {}
        self.targets = {}
        # Latched: who comes late still gets the last target. Box and cloud come one by one.
        latched = QoSProfile(depth=5, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(LiftedTarget, 'target/box', self.on_target, latched)
        self.create_subscription(PointCloud2, 'target/points', self.on_cloud, latched)
        self.goals = self.create_publisher(Goal, 'goal', 10)
        self.done = Future()
        self.ticks = 0
        self.start = self.create_timer(0.5, self.ask_first, clock=Clock())
        self.finder = ActionClient(self, Ground, 'ground')
        self.questions = self.create_client(AskRegion, 'ask_region')

    def ask_first(self) -> None:
        """Ask for the first thing once somebody has heard us for a second, and again every 15 s.

        What is sent before both ends know each other is lost, and we see our end only.
        """
        self.ticks = self.ticks + 1 if self.goals.get_subscription_count() else 0
        if self.ticks % 30 == 2:
            self.ask()

    def ask(self) -> None:
        """Set the goal; it holds until it is replaced, or cleared by an empty text."""
        self.refusals = 0
        self.has_asked = True
        self.goals.publish(Goal(text=self.things[0] if self.things else ''))
        if not self.things:
            self.goals.wait_for_all_acked(Duration(seconds=2))
            self.done.set_result(None)

    def on_cloud(self, cloud: PointCloud2) -> None:
        """Keep the newest cloud until the target of the same image is there."""
        self.clouds = {stamp_of(cloud): cloud}
        self.pair(stamp_of(cloud))

    def on_target(self, target: LiftedTarget) -> None:
        """Keep the newest target until the cloud of the same image is there."""
        self.targets = {stamp_of(target): target}
        self.pair(stamp_of(target))

    def pair(self, stamp: tuple[int, int]) -> None:
        """Use what belongs to the very same image; anything else would be a guess."""
        if stamp not in self.targets or stamp not in self.clouds:
            return
        target, cloud = self.targets.pop(stamp), self.clouds.pop(stamp)
        # An answer to the goal before may still be on its way: it is about another thing. And the
        # last target of an earlier run is latched: it may be about the same thing, but is over.
        if self.has_asked and self.things and target.goal == self.things[0]:
            self.start.cancel()
            self.decide(target, cloud)

    def decide(self, target: LiftedTarget, cloud: PointCloud2) -> None:
        """Say where to grasp, or why not; then go on to the next thing."""
        age_s = (self.get_clock().now() - Time.from_msg(target.header.stamp)).nanoseconds / 1e9
        reasons = quality_problems(target, points_of(cloud), age_s)
        found = approach(target) if not reasons else None
        if isinstance(found, Approach):
            self.get_logger().info(f'{target.goal}: {in_words(found)}')
        elif target.answer_age > target.age:
            return  # Followed from an older image; the next answer may do better.
        else:
            self.refusals += 1
            self.get_logger().warning(f'{target.goal}: refused: {found or "; ".join(reasons)}')
            if self.refusals < PATIENCE:
                return
        self.things.pop(0)
        if self.things and self.finder.server_is_ready():
            self.look_ahead(target)
        else:
            self.ask()

    def look_ahead(self, target: LiftedTarget) -> None:
        """Look for the next thing in the very same image, whatever the camera sees by now."""
        goal = Ground.Goal(stamp=target.header.stamp, text=self.things[0], max_masks=1)
        self.finder.send_goal_async(goal).add_done_callback(
            lambda accepted: self.on_accepted(accepted.result()))

    def on_accepted(self, goal) -> None:
        """Wait for the answer; a goal that is refused has its reason in the log of the node."""
        if not goal.accepted:
            self.get_logger().warning('looking ahead was refused')
            self.ask()
            return
        goal.get_result_async().add_done_callback(lambda done: self.on_next(done.result().result))

    def on_next(self, result: Ground.Result) -> None:
        """Ask about the next thing by its mask words, if it is there."""
        if not result.success or not result.words.words or not self.questions.service_is_ready():
            self.get_logger().info(f'{self.things[0]}: not in the same image: '
                                   f'{result.message or result.words.answer}')
            self.ask()
            return
        region = RegionReference(kind=RegionReference.CODES, codes=result.words.words[0].codes)
        # Words mean nothing without their image and their mask tokenizer: both go along.
        question = AskRegion.Request(
            stamp=result.words.header.stamp, text='What colour is <region:1>?', regions=[region],
            tokenizer_id=result.words.tokenizer_id)
        self.questions.call_async(question).add_done_callback(
            lambda done: self.on_answer(done.result()))

    def on_answer(self, answer: AskRegion.Response) -> None:
        """Say what is known of the next thing, and ask for it."""
        self.get_logger().info(f'{self.things[0]}: in the same image: '
                               f'{answer.words.answer if answer.success else answer.message}')
        self.ask()


def quality_problems(target: LiftedTarget, points_m: np.ndarray, age_s: float) -> list[str]:
    """Return all reasons not to grasp a target; none when it is good enough.

    Args:
        target: as it came.
        points_m: (N, 3) its cloud.
        age_s: of its image by now; target.age is what it was when it was published.
    """
    if target.status != LiftedTarget.OK:
        return [target.message]
    inside = share_inside(points_m, target)
    return [reason for is_so, reason in (
        (age_s > MOST_AGE_S, f'the image is {age_s:.1f} s old: the thing may have moved'),
        (target.depth_share < LEAST_DEPTH_SHARE, 'only '
         f'{target.depth_share:.0%} of it have depth: shiny, transparent, or seen too flat'),
        (target.points < LEAST_POINTS, f'{target.points} points are too few: go nearer'),
        (len(points_m) != target.points, f'{len(points_m)} points came of {target.points}'),
        (target.truncated, 'there is more of it outside the image: turn the camera'),
        (not target.box_completed, 'it does not stand on anything that is seen: how far down it '
         'reaches is not known'),
        (inside < LEAST_INSIDE, f'only {inside:.0%} of its points are inside its box'),
    ) if is_so]


def approach(target: LiftedTarget) -> Approach | str:
    """Plan from above, or for tall things from the side; or say why neither works.

    The fingers close along a horizontal side of the box that they can take between them. What is
    behind the visible surface is completed by symmetry, so on the far side be careful.
    """
    axes, size = axes_of(target.box_pose), vector(target.box_size)
    centre = vector(target.box_pose.position)
    up, (length, width, height) = axes[2], size
    fits = [side for side in (0, 1) if size[side] + 2 * CLEARANCE_M <= OPENING_M]
    if not fits:
        return (f'{length:.3f} x {width:.3f} x {height:.3f} m: no side of it fits between fingers '
                f'that open {OPENING_M} m')
    if height > max(length, width, 2 * HAND_M):
        # Along the view: the side that the camera sees is the one that is known.
        close = min(fits, key=lambda side: abs(axes[side] @ centre))
        forward = axes[1 - close] * np.sign(axes[1 - close] @ centre)
        depth = size[1 - close]
        point = centre - forward * (depth / 2 - min(FINGER_M, depth / 2))
        return make_approach('from the side', target, point, forward, axes[close], size[close])
    close = min(fits, key=lambda side: size[side])
    point = centre + up * (height / 2 - min(FINGER_M, height - CLEARANCE_M))
    return make_approach('from above', target, point, -up, axes[close], size[close])


def make_approach(how: str, target: LiftedTarget, point: np.ndarray, forward: np.ndarray,
                  closing: np.ndarray, width_m: float) -> Approach:
    """Return the approach of a hand that moves forward to a point and closes there."""
    rotation = np.column_stack([np.cross(closing, forward), closing, forward])
    turn = Quaternion(**dict(zip('xyzw', Rotation.from_matrix(rotation).as_quat(), strict=True)))

    def pose(place: np.ndarray) -> PoseStamped:
        return PoseStamped(header=target.header, pose=Pose(
            position=Point(**dict(zip('xyz', place, strict=True))), orientation=turn))

    return Approach(how, pose(point - PREGRASP_M * forward), pose(point), float(width_m))


def share_inside(points_m: np.ndarray, target: LiftedTarget) -> float:
    """Return the share of (N, 3) points inside the box of a target, a centimetre around it too."""
    own = (points_m - vector(target.box_pose.position)) @ axes_of(target.box_pose).T
    inside = np.abs(own) <= vector(target.box_size) / 2 + 0.01
    return float(inside.all(axis=1).mean()) if len(points_m) else 0.0


def points_of(cloud: PointCloud2) -> np.ndarray:
    """Return the (N, 3) points of a cloud with fields x, y, z of 32 bits, little-endian."""
    offsets = {field.name: field.offset for field in cloud.fields}
    layout = np.dtype({'names': list('xyz'), 'formats': ['<f4'] * 3, 'itemsize': cloud.point_step,
                       'offsets': [offsets[name] for name in 'xyz']})
    values = np.frombuffer(cloud.data, layout, count=cloud.width * cloud.height)
    return np.stack([values[name] for name in 'xyz'], axis=1)


def axes_of(pose: Pose) -> np.ndarray:
    """Return the (3, 3) axes of a pose in rows."""
    turn = pose.orientation
    return Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix().T


def in_words(found: Approach) -> str:
    """Say an approach in one line."""
    before, at = (' '.join(f'{value:.3f}' for value in vector(stamped.pose.position))
                  for stamped in (found.pregrasp, found.grasp))
    return (f'grasp {found.how} at {at} m, coming from {before} m, fingers '
            f'{found.width_m + 2 * CLEARANCE_M:.3f} m open, in {found.grasp.header.frame_id}')


def vector(message: Point) -> np.ndarray:
    """Return x, y and z of a message."""
    return np.array([message.x, message.y, message.z])


def stamp_of(message: LiftedTarget | PointCloud2) -> tuple[int, int]:
    """Return the stamp of a message, exact to the nanosecond."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def main() -> None:
    """Run until everything has been decided."""
    rclpy.init()
    arguments = rclpy.utilities.remove_ros_args(sys.argv)[1:]
    planner = GraspPlanner(arguments or ['the red mug', 'the bowl'])
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin_until_future_complete(planner, planner.done)


if __name__ == '__main__':
    main()
