# SPDX-License-Identifier: Apache-2.0
"""Classes of the layout of vision_msgs, for tests where it is not installed."""

from dataclasses import dataclass, field
from types import SimpleNamespace

from geometry_msgs.msg import Pose, PoseWithCovariance, Vector3
from std_msgs.msg import Header


@dataclass
class Point2D:
    x: float = 0.0
    y: float = 0.0


@dataclass
class Pose2D:
    position: Point2D = field(default_factory=Point2D)
    theta: float = 0.0


@dataclass
class BoundingBox2D:
    center: Pose2D = field(default_factory=Pose2D)
    size_x: float = 0.0
    size_y: float = 0.0


@dataclass
class BoundingBox3D:
    center: Pose = field(default_factory=Pose)
    size: Vector3 = field(default_factory=Vector3)


@dataclass
class ObjectHypothesis:
    class_id: str = ''
    score: float = 0.0


@dataclass
class ObjectHypothesisWithPose:
    hypothesis: ObjectHypothesis = field(default_factory=ObjectHypothesis)
    pose: PoseWithCovariance = field(default_factory=PoseWithCovariance)


@dataclass
class Detection2D:
    header: Header = field(default_factory=Header)
    results: list = field(default_factory=list)
    bbox: BoundingBox2D = field(default_factory=BoundingBox2D)
    id: str = ''


@dataclass
class Detection2DArray:
    header: Header = field(default_factory=Header)
    detections: list = field(default_factory=list)


@dataclass
class Detection3D:
    header: Header = field(default_factory=Header)
    results: list = field(default_factory=list)
    bbox: BoundingBox3D = field(default_factory=BoundingBox3D)
    id: str = ''


@dataclass
class Detection3DArray:
    header: Header = field(default_factory=Header)
    detections: list = field(default_factory=list)


@dataclass
class VisionClass:
    class_id: int = 0
    class_name: str = ''


@dataclass
class LabelInfo:
    header: Header = field(default_factory=Header)
    class_map: list = field(default_factory=list)
    threshold: float = 0.0


STAND_INS = SimpleNamespace(
    Detection2D=Detection2D, Detection2DArray=Detection2DArray, Detection3D=Detection3D,
    Detection3DArray=Detection3DArray, LabelInfo=LabelInfo,
    ObjectHypothesisWithPose=ObjectHypothesisWithPose, VisionClass=VisionClass)
