# SPDX-License-Identifier: Apache-2.0
"""Targets in 3D, read back from the bag of results."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from samtok_ros.demo.bag_file import BagReader, stamp_of
from samtok_ros.demo.replay_plan import BOX_TOPIC, POINTS_TOPIC
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.lifting.target import LiftStatus

_NS_PER_MS = 1e6


@dataclass(frozen=True, eq=False)
class LiftedResult:
    """What the nodes know in 3D of the target of one image; all in the optical frame.

    Attributes:
        stamp_ns: of the image.
        goal_id: number of the goal, from 1.
        status, message: whether it can be used, and if not, why.
        region_id: region that was lifted, as in the masks of the image; 0 for none.
        centroid_m: (3,) mean of the points, NaN without any.
        points_m: (N, 3) float32 visible surface; none when no cloud came.
        box: None where no box could be made.
        depth_share: share of the eroded mask with a reading in range, 0..1.
        truncated: the mask touches the border of the image.
        age_ms: from the stamp of the image to the arrival of the target.
    """

    stamp_ns: int
    goal_id: int
    status: LiftStatus
    message: str
    region_id: int
    centroid_m: np.ndarray
    points_m: np.ndarray
    box: OrientedBox | None
    depth_share: float
    truncated: bool
    age_ms: float


def read_lifted(bag: BagReader) -> Iterator[LiftedResult]:
    """Yield the targets of a bag of results, each with its cloud.

    There may be several of one stamp, when a target is withdrawn: the cloud with as many points as
    the target says is its own.
    """
    clouds: dict[tuple[int, int], np.ndarray] = {}
    for record in map(bag.record, bag.messages(POINTS_TOPIC)):
        points = cloud_points(record)
        clouds[stamp_of(record), len(points)] = points
    nothing = np.empty((0, 3), np.float32)
    for message in bag.messages(BOX_TOPIC):
        record = bag.record(message)
        stamp_ns = stamp_of(record)
        yield LiftedResult(
            stamp_ns, record.goal_id, LiftStatus(record.status), record.message, record.id,
            _vector(record.centroid), clouds.get((stamp_ns, record.points), nothing), _box(record),
            float(record.depth_share), bool(record.truncated),
            (message.time_ns - stamp_ns) / _NS_PER_MS)


def cloud_points(record: Any) -> np.ndarray:
    """Return the points of a cloud that are numbers, (N, 3) float32.

    Args:
        record: a PointCloud2 with fields x, y and z of 32 bits, little-endian.
    """
    offsets = {item.name: item.offset for item in record.fields}
    layout = np.dtype({'names': ['x', 'y', 'z'], 'formats': ['<f4'] * 3,
                       'offsets': [offsets[name] for name in 'xyz'],
                       'itemsize': record.point_step})
    values = np.frombuffer(bytes(record.data), layout, count=record.width * record.height)
    points = np.stack([values[name] for name in 'xyz'], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def _box(record: Any) -> OrientedBox | None:
    size = _vector(record.box_size)
    if not size.all():
        return None
    turn = record.box_pose.orientation
    rotation = Rotation.from_quat([turn.x, turn.y, turn.z, turn.w]).as_matrix()
    return OrientedBox(_vector(record.box_pose.position), rotation, size,
                       bool(record.box_completed))


def _vector(record: Any) -> np.ndarray:
    return np.array([record.x, record.y, record.z])
