# SPDX-License-Identifier: Apache-2.0
"""Puts the target into MoveIt's planning scene, as a box, and takes it out again.

    python examples/adapters/moveit_collision_object.py

MoveIt brings the pose from the optical frame into its planning frame with the newest transform. Of
a camera that moves, hand over poses that you have transformed at the stamp of the image. One view
does not show the back: the box is completed by symmetry, so plan with a margin.
"""

import contextlib

import rclpy
from geometry_msgs.msg import Pose
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from same_stamp import LATCHED, RESULTS
from shape_msgs.msg import SolidPrimitive

from samtok_ros.msg import LiftedTarget


def box_fields(target: LiftedTarget, name: str) -> dict:
    """Return the fields of a CollisionObject that says where a target is; ValueError for a bad one.

    Args:
        target: with status OK and a box.
        name: what MoveIt is to call it; the same name replaces what was there.
    Returns:
        header (stamp and frame of the image), id, pose (of the middle of the box, z up from the
        support), primitives (one BOX, full lengths along the axes of that pose) and
        primitive_poses (none away from it).
    """
    size = target.box_size
    if target.status != LiftedTarget.OK or not min(size.x, size.y, size.z) > 0:
        raise ValueError(target.message or 'the target has no box')
    box = SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[size.x, size.y, size.z])
    return {'header': target.header, 'id': name, 'pose': target.box_pose, 'primitives': [box],
            'primitive_poses': [Pose()]}


def collision_object(target: LiftedTarget, name: str = 'target'):
    """Return the moveit_msgs/CollisionObject: to be added, or to be removed when there is none."""
    from moveit_msgs.msg import CollisionObject

    try:
        return CollisionObject(operation=CollisionObject.ADD, **box_fields(target, name))
    except ValueError:
        return CollisionObject(operation=CollisionObject.REMOVE, header=target.header, id=name)


class SceneUpdater(Node):
    """Keeps the planning scene as new as the target."""

    def __init__(self) -> None:
        """Subscribe to the target; publish where move_group listens."""
        super().__init__('scene_updater', namespace='samtok')
        from moveit_msgs.msg import CollisionObject

        self.objects = self.create_publisher(CollisionObject, '/collision_object', RESULTS)
        self.create_subscription(
            LiftedTarget, 'target/box',
            lambda target: self.objects.publish(collision_object(target)), LATCHED)


def main() -> None:
    """Run until the end of the process."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(SceneUpdater())


if __name__ == '__main__':
    main()
