# SPDX-License-Identifier: Apache-2.0
"""The bag of a depth camera: colour, aligned depth, calibration and poses, as drivers send them.

Colour is stored as JPEG and depth as compressedDepth, each on the topic that ROS image transport
uses for that form, so that standard tools show both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtok_ros.demo.bag_file import BagReader, BagWriter, stamp_of, standard_types
from samtok_ros.image.depth_codec import DEPTH_FORMAT, compressed_to_depth, depth_to_compressed
from samtok_ros.image.encodings import MAX_PIXELS
from samtok_ros.runtime.compressed import decode_image, encode_jpeg

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

COLOUR_TOPIC = '/camera/color/image_raw'
DEPTH_TOPIC = '/camera/aligned_depth_to_color/image_raw'
COLOUR_INFO_TOPIC = '/camera/color/camera_info'
DEPTH_INFO_TOPIC = '/camera/aligned_depth_to_color/camera_info'
TF_TOPIC, TF_STATIC_TOPIC = '/tf', '/tf_static'
WORLD_FRAME, CAMERA_FRAME, OPTICAL_FRAME = 'world', 'camera_link', 'camera_color_optical_frame'
COLOUR_SUFFIX, DEPTH_SUFFIX = '/compressed', '/compressedDepth'
_COLOUR_FORMAT = 'rgb8; jpeg compressed bgr8'
# Axes of the optical frame (x right, y down, z forward) in the camera's (x forward, y left, z up).
_OPTICAL_IN_CAMERA = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """What the camera sends at one moment.

    Attributes:
        stamp_ns: of all of it.
        rgb: (H, W, 3) uint8.
        depth_mm: (H, W) uint16 along the optical axis, 0 for no reading.
        intrinsics: (3, 3) float64 camera matrix.
        rotation: (3, 3) float64, optical axes to world.
        position_m: (3,) float64, world.
    """

    stamp_ns: int
    rgb: np.ndarray
    depth_mm: np.ndarray
    intrinsics: np.ndarray
    rotation: np.ndarray
    position_m: np.ndarray


class CameraBagWriter:
    """Writes frames into a new bag; use it in a with statement.

    Args:
        path: folder of the bag.
        jpeg_quality: 1..100, of the colour images.
    Raises:
        ConfigError: the folder exists.
    """

    def __init__(self, path: Path, jpeg_quality: int) -> None:
        self._types = standard_types()
        self._bag = BagWriter(path, self._types, latched=(TF_STATIC_TOPIC,))
        self._jpeg_quality = jpeg_quality
        self._has_static = False

    def __enter__(self) -> 'CameraBagWriter':
        """Open the bag."""
        self._bag.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the bag."""
        self._bag.__exit__(*exception)

    def write(self, frame: CameraFrame) -> None:
        """Add a frame."""
        now = frame.stamp_ns
        make = _Maker(self._types, now)
        if not self._has_static:
            self._has_static = True
            self._bag.write_record(TF_STATIC_TOPIC, now, make.transform(
                CAMERA_FRAME, OPTICAL_FRAME, _OPTICAL_IN_CAMERA, np.zeros(3)))
        self._bag.write_record(TF_TOPIC, now, make.transform(
            WORLD_FRAME, CAMERA_FRAME, frame.rotation @ _OPTICAL_IN_CAMERA.T, frame.position_m))
        info = make.camera_info(frame.intrinsics, frame.rgb.shape[:2])
        self._bag.write_record(COLOUR_INFO_TOPIC, now, info)
        self._bag.write_record(DEPTH_INFO_TOPIC, now, info)
        self._bag.write_record(COLOUR_TOPIC + COLOUR_SUFFIX, now, make.compressed(
            _COLOUR_FORMAT, encode_jpeg(frame.rgb, self._jpeg_quality)))
        self._bag.write_record(DEPTH_TOPIC + DEPTH_SUFFIX, now, make.compressed(
            DEPTH_FORMAT, depth_to_compressed(frame.depth_mm)))


def colour_images(bag: BagReader) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stamp in nanoseconds and (H, W, 3) uint8 pixels of each colour image of a bag."""
    for message in bag.messages(COLOUR_TOPIC + COLOUR_SUFFIX):
        record = bag.record(message)
        yield stamp_of(record), decode_image(record.data.tobytes(), MAX_PIXELS)


def depth_images(bag: BagReader) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stamp in nanoseconds and (H, W) uint16 millimetres of each depth image of a bag."""
    for message in bag.messages(DEPTH_TOPIC + DEPTH_SUFFIX):
        record = bag.record(message)
        yield stamp_of(record), compressed_to_depth(record.data.tobytes())


class _Maker:
    """Makes messages of one stamp."""

    def __init__(self, typestore: 'Typestore', stamp_ns: int) -> None:
        self._types = typestore.types
        self._stamp = self._of('builtin_interfaces/msg/Time')(*divmod(stamp_ns, 1_000_000_000))

    def compressed(self, form: str, data: bytes) -> Any:
        return self._of('sensor_msgs/msg/CompressedImage')(
            self._header(OPTICAL_FRAME), form, np.frombuffer(data, np.uint8))

    def camera_info(self, intrinsics: np.ndarray, size_hw: tuple[int, int]) -> Any:
        projection = np.hstack([intrinsics, np.zeros((3, 1))])
        return self._of('sensor_msgs/msg/CameraInfo')(
            self._header(OPTICAL_FRAME), *size_hw, 'plumb_bob', np.zeros(5), intrinsics.ravel(),
            np.eye(3).ravel(), projection.ravel(), 0, 0,
            self._of('sensor_msgs/msg/RegionOfInterest')(0, 0, 0, 0, False))

    def transform(self, parent: str, child: str, rotation: np.ndarray,
                  position_m: np.ndarray) -> Any:
        from scipy.spatial.transform import Rotation

        turn = Rotation.from_matrix(rotation).as_quat(canonical=True)
        place = self._of('geometry_msgs/msg/Transform')(
            self._of('geometry_msgs/msg/Vector3')(*map(float, position_m)),
            self._of('geometry_msgs/msg/Quaternion')(*map(float, turn)))
        stamped = self._of('geometry_msgs/msg/TransformStamped')(
            self._header(parent), child, place)
        return self._of('tf2_msgs/msg/TFMessage')([stamped])

    def _header(self, frame_id: str) -> Any:
        return self._of('std_msgs/msg/Header')(self._stamp, frame_id)

    def _of(self, message_type: str) -> type:
        return self._types[message_type]
