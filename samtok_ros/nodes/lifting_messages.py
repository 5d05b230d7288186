# SPDX-License-Identifier: Apache-2.0
"""What the lifting node takes, as records; messages are checked before memory is taken for them."""

from functools import partial

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from samtok_ros.errors import ImageError, SpanError
from samtok_ros.image.depth_codec import compressed_depth_size, compressed_to_metres
from samtok_ros.image.encodings import check_depth, depth_to_metres
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.msg import RegionMask, RegionMasks
from samtok_ros.nodes.conversions import checked_stamp, stamp_to_ns
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.lifting_records import Calibration, DepthImage, MaskedThing, MaskSet
from samtok_ros.runtime.records import Origin, Status


def masks_to_set(message: RegionMasks) -> MaskSet:
    """Return the masks of an image as a record; run lengths are read when somebody needs them.

    Raises:
        ImageError: no usable stamp, or no image size.
        SpanError: an unknown status or origin.
    """
    if message.status not in set(Status) or message.origin not in set(Origin):
        raise SpanError('masks have an unknown status or origin', expected='0 to 4, and 0 or 1',
                        got=f'{message.status}, {message.origin}')
    size = ImageSize(message.height, message.width)
    return MaskSet(
        checked_stamp(message.header), message.header.frame_id, size, message.goal,
        message.goal_id, Origin(message.origin), stamp_to_ns(message.answer_stamp),
        Status(message.status), message.message,
        tuple(_thing_of(mask, size) for mask in message.masks))


def image_to_depth(message: Image, max_pixels: float) -> DepthImage:
    """Wrap a depth image; its layout is checked, its readings are converted later.

    Raises:
        ImageError: no usable stamp, an encoding that is no depth, no pixels or too many, data that
            do not fit the size.
    """
    layout = (message.data, message.height, message.width, message.encoding, message.step)
    size = check_depth(*layout, max_pixels=max_pixels)
    return DepthImage(
        checked_stamp(message.header), message.header.frame_id, size, len(message.data),
        partial(depth_to_metres, *layout, bool(message.is_bigendian), max_pixels=max_pixels))


def compressed_to_depth_image(message: CompressedImage, max_pixels: float) -> DepthImage:
    """Wrap a compressed depth image; it is decoded when somebody needs it.

    Raises:
        ImageError: no usable stamp, another form than compressedDepth with PNG, or too many pixels.
    """
    data = bytes(message.data)
    size = compressed_depth_size(data, max_pixels)
    return DepthImage(checked_stamp(message.header), message.header.frame_id, size, len(data),
                      partial(compressed_to_metres, data, message.format))


class CalibrationReader:
    """Reads CameraInfo messages; a camera that says the same again costs nothing."""

    def __init__(self, rectified: bool) -> None:
        """Start without a camera.

        Args:
            rectified: whether the images are rectified, so that P counts.
        """
        self._rectified = rectified
        self._key: tuple = ()
        self._camera: CameraModel | None = None
        self._refusal = ''

    def read(self, message: CameraInfo) -> Calibration:
        """Return the calibration; one that cannot be used says why."""
        roi = message.roi
        # A rectified image shows the window of the raw one, so do_rectify changes nothing.
        window = roi.x_offset, roi.y_offset, roi.width, roi.height
        binning = message.binning_x, message.binning_y
        key = (message.header.frame_id, message.height, message.width, message.distortion_model,
               *window, *binning, *message.k, *message.p, *message.d)
        if key != self._key:
            self._key, self._camera, self._refusal = key, None, ''
            try:
                self._camera = CameraModel.from_calibration(
                    ImageSize(message.height, message.width), message.k, message.p, message.d,
                    message.distortion_model, rectified=self._rectified).of_window(window, binning)
            except ImageError as error:
                self._refusal = str(error)
        return Calibration(stamp_to_ns(message.header.stamp), message.header.frame_id, key,
                           self._camera, self._refusal)


def _thing_of(mask: RegionMask, size: ImageSize) -> MaskedThing:
    return MaskedThing(mask.id, mask.track_id, mask.label, mask.score, mask.mask_score, mask.lost,
                       partial(_read_mask, mask, size))


def _read_mask(mask: RegionMask, size: ImageSize) -> np.ndarray:
    if not mask.rle and mask.area_px:
        raise ImageError(f'the mask of region {mask.id} was left out of the message: it has too '
                         'many runs', fix='use target/mask')
    return rle_to_mask(mask.rle, (size.height, size.width))
