# SPDX-License-Identifier: Apache-2.0
"""Images of a camera bag by stamp, decoded when they are looked at."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samtok_ros.demo.bag_file import open_bag, stamp_of
from samtok_ros.demo.camera_bag import (
    COLOUR_INFO_TOPIC,
    COLOUR_SUFFIX,
    COLOUR_TOPIC,
    DEPTH_SUFFIX,
    DEPTH_TOPIC,
)
from samtok_ros.errors import ConfigError
from samtok_ros.image.depth_codec import compressed_to_depth
from samtok_ros.image.encodings import MAX_PIXELS
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.compressed import decode_image

_M_PER_MM = 0.001


@dataclass(frozen=True, eq=False)
class CameraView:
    """What the camera saw at one moment.

    Attributes:
        colour, depth: files, as in the bag.
        camera: calibration of both.
    """

    colour: bytes
    depth: bytes
    camera: CameraModel

    @property
    def image_rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, decoded anew each time."""
        return decode_image(self.colour, MAX_PIXELS)

    @property
    def depth_m(self) -> np.ndarray:
        """(H, W) float32 metres, NaN for no reading; decoded anew each time."""
        depth_mm = compressed_to_depth(self.depth)
        return np.where(depth_mm > 0, depth_mm * np.float32(_M_PER_MM), np.float32('nan'))

    def surface(self, mask: np.ndarray) -> np.ndarray:
        """Return the (N, 3) float64 points, metres, of an (H, W) bool mask, optical frame."""
        depth_m = self.depth_m
        rows, columns = np.nonzero(mask & np.isfinite(depth_m))
        return self.camera.points(rows, columns, depth_m[rows, columns].astype(np.float64))


def read_views(path: Path, stamps: Iterable[int]) -> dict[int, CameraView]:
    """Read the views with these stamps from a camera bag.

    Raises:
        ConfigError: there is no such bag, it is damaged, or it has not all of one of them.
    """
    wanted = set(stamps)
    topics = (COLOUR_TOPIC + COLOUR_SUFFIX, DEPTH_TOPIC + DEPTH_SUFFIX, COLOUR_INFO_TOPIC)
    found: dict[str, dict] = {topic: {} for topic in topics}
    with open_bag(path) as bag:
        for message in bag.messages(*topics):
            if message.time_ns in wanted:
                record = bag.record(message)
                found[message.topic][stamp_of(record)] = record
    for topic, records in found.items():
        if missing := wanted - set(records):
            raise ConfigError(f'the bag lacks messages on {topic}', got=f'none with {len(missing)} '
                              f'of {len(wanted)} stamps', fix='make the bag again with samtok '
                              'make-bag')
    colours, depths, infos = found.values()
    return {stamp: CameraView(colours[stamp].data.tobytes(), depths[stamp].data.tobytes(),
                              _camera(infos[stamp])) for stamp in sorted(wanted)}


def _camera(info) -> CameraModel:
    return CameraModel.from_calibration(ImageSize(info.height, info.width), info.k, info.p, info.d,
                                        info.distortion_model)
