# SPDX-License-Identifier: Apache-2.0
"""Lifted targets as messages: for planners, for RViz, and as vision_msgs for everybody else."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from samtok_ros.lifting.oriented_box import OrientedBox, quaternion_xyzw
from samtok_ros.lifting.target import LiftedTarget, LiftStatus
from samtok_ros.msg import LiftedTarget as LiftedTargetMessage
from samtok_ros.nodes.conversions import (
    MAX_GOAL_BYTES,
    MAX_LABEL_BYTES,
    MAX_MESSAGE_BYTES,
    cut_text,
    header_of,
)
from samtok_ros.runtime.lifting_records import MaskedThing, MaskSet, Outcome

_MARKERS = 'target'
_BOX_COLOUR = ColorRGBA(r=0.1, g=0.8, b=0.2, a=0.35)
_CENTRE_COLOUR = ColorRGBA(r=1.0, g=0.3, b=0.0, a=1.0)
_TEXT_COLOUR = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
_CENTRE_M, _TEXT_M = 0.012, 0.025
_NAN = float('nan')


@dataclass(frozen=True)
class Ages:
    """How old a target is when it goes out, in seconds of ROS time.

    Attributes:
        mask_s: since the image of the mask.
        answer_s: since the image that the language model was asked about.
    """

    mask_s: float
    answer_s: float

    @classmethod
    def of(cls, masks: MaskSet, now_ns: int) -> 'Ages':
        """Return the ages of masks at a time; the answer is that of the image where none is said.

        Args:
            masks: of the image.
            now_ns: ROS time.
        """
        answer_ns = masks.answer_stamp_ns or masks.stamp_ns
        return cls((now_ns - masks.stamp_ns) / 1e9, (now_ns - answer_ns) / 1e9)


def outcome_to_message(outcome: Outcome, ages: Ages) -> LiftedTargetMessage:
    """Return what became of a target as a message; what is not known is NaN or 0."""
    masks, target, lifted = outcome.masks, outcome.target, outcome.lifted
    message = LiftedTargetMessage(
        header=header_of(masks), goal=cut_text(masks.goal, MAX_GOAL_BYTES), goal_id=masks.goal_id,
        status=int(outcome.status), message=cut_text(outcome.message, MAX_MESSAGE_BYTES),
        centroid=Point(x=_NAN, y=_NAN, z=_NAN), depth_median=_NAN, depth_spread=_NAN,
        age=ages.mask_s, answer_age=ages.answer_s)
    if target is not None:
        message.id, message.track_id = target.region_id, target.track_id
        message.label = cut_text(target.label, MAX_LABEL_BYTES)
        message.score, message.mask_score = target.score, target.mask_score
    if lifted is not None:
        _fill_quality(message, lifted)
        _fill_shape(message, lifted)
    return message


def outcome_to_markers(outcome: Outcome) -> MarkerArray:
    """Return box, label and centroid of a good target, for RViz; else what takes them away."""
    markers = [Marker(header=header_of(outcome.masks), ns=_MARKERS, id=number,
                      action=Marker.DELETE) for number in range(3)]
    lifted = outcome.lifted
    if outcome.status == LiftStatus.OK and lifted.box is not None:
        centroid = lifted.surface.points_m.mean(axis=0)
        above = lifted.box.centre_m + lifted.box.rotation[:, 2] * (
            lifted.box.extents_m[2] / 2 + _TEXT_M)
        box, text, centre = markers
        box.type, box.pose = Marker.CUBE, pose_of(lifted.box)
        box.scale, box.color = _vector(lifted.box.extents_m), _BOX_COLOUR
        text.type, text.text = Marker.TEXT_VIEW_FACING, outcome.target.label or 'target'
        text.pose, text.scale.z, text.color = _place(above), _TEXT_M, _TEXT_COLOUR
        centre.type, centre.pose = Marker.SPHERE, _place(centroid)
        centre.scale, centre.color = _vector([_CENTRE_M] * 3), _CENTRE_COLOUR
        for marker in markers:
            marker.action = Marker.ADD
    return MarkerArray(markers=markers)


def to_detections_3d(
    masks: MaskSet, found: Iterable[tuple[MaskedThing, LiftedTarget]], types: Any,
) -> Any:
    """Return the boxes of lifted regions as vision_msgs/Detection3DArray.

    A region that cannot be grasped for a reason that LiftedTarget would name is left out.

    Args:
        masks: give the header.
        found: regions with what is known of them.
        types: the messages of vision_msgs.
    """
    message = types.Detection3DArray()
    message.header = header_of(masks)
    message.detections = [
        _detection(masks, thing, lifted, types) for thing, lifted in found
        if lifted.status == LiftStatus.OK and lifted.box is not None]
    return message


def pose_of(box: OrientedBox) -> Pose:
    """Return the pose of the middle of a box."""
    x, y, z, w = quaternion_xyzw(box.rotation)
    return Pose(position=_point(box.centre_m), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _fill_quality(message: LiftedTargetMessage, lifted: LiftedTarget) -> None:
    counts = lifted.surface.counts
    message.mask_px, message.eroded_px = counts.mask, counts.eroded
    message.no_depth_px, message.out_of_range_px = counts.no_depth, counts.out_of_range
    message.outlier_px, message.points = counts.edges + counts.outliers, counts.kept
    message.depth_share = lifted.depth_share
    message.depth_median = lifted.depth_median_m
    message.depth_spread = lifted.depth_spread_m
    message.truncated = lifted.surface.truncated


def _fill_shape(message: LiftedTargetMessage, lifted: LiftedTarget) -> None:
    if len(lifted.surface.points_m):
        message.centroid = _point(lifted.surface.points_m.mean(axis=0))
    if lifted.box is not None:
        message.box_pose, message.box_size = pose_of(lifted.box), _vector(lifted.box.extents_m)
        message.box_completed = lifted.box.completed
    if lifted.support is not None:
        message.support_normal = _vector(lifted.support.normal)
        message.support_offset = float(lifted.support.offset_m)


def _detection(masks: MaskSet, thing: MaskedThing, lifted: LiftedTarget, types: Any) -> Any:
    hypothesis = types.ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = thing.label or f'region {thing.region_id}'
    hypothesis.hypothesis.score = min(max(thing.score, 0.0), 1.0)
    hypothesis.pose.pose = pose_of(lifted.box)
    detection = types.Detection3D()
    detection.header = header_of(masks)
    detection.id = str(thing.region_id)
    detection.results = [hypothesis]
    detection.bbox.center = pose_of(lifted.box)
    detection.bbox.size = _vector(lifted.box.extents_m)
    return detection


def _place(position_m: np.ndarray) -> Pose:
    return Pose(position=_point(position_m))


def _point(position_m: np.ndarray) -> Point:
    x, y, z = map(float, position_m)
    return Point(x=x, y=y, z=z)


def _vector(lengths: Iterable[float]) -> Vector3:
    x, y, z = map(float, lengths)
    return Vector3(x=x, y=y, z=z)
