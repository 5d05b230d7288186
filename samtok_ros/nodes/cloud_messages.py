# SPDX-License-Identifier: Apache-2.0
"""Points as sensor_msgs/PointCloud2: x, y and z as float32 in metres, 12 bytes a point."""

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from samtok_ros.nodes.conversions import byte_array

_POINT_BYTES = 12


def flat_cloud(header: Header, points_m: np.ndarray) -> PointCloud2:
    """Return (N, 3) points as an unordered cloud without invalid points; none is a cloud too."""
    return _cloud(header, points_m[None], is_dense=True)


def organised_cloud(header: Header, points_m: np.ndarray) -> PointCloud2:
    """Return (H, W, 3) points as a cloud with a point per pixel; NaN where there is none."""
    return _cloud(header, points_m, is_dense=False)


def _cloud(header: Header, points_m: np.ndarray, is_dense: bool) -> PointCloud2:
    height, width = points_m.shape[:2]
    fields = [PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
              for place, name in enumerate('xyz')]
    return PointCloud2(
        header=header, height=height, width=width, fields=fields, is_bigendian=False,
        point_step=_POINT_BYTES, row_step=_POINT_BYTES * width, is_dense=is_dense,
        data=byte_array(points_m.astype('<f4', copy=False)) if points_m.size else [])
