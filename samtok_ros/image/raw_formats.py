# SPDX-License-Identifier: Apache-2.0
"""What sensors send before anybody has made colours of it: Bayer mosaics and YUV.

OpenCV does the arithmetic; here are the names, as in sensor_msgs/image_encodings.hpp, and the
layout of the bytes. Converting costs CPU time in the process of the model, so it has to be asked
for: a camera pipeline usually converts already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

import numpy as np

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.regions import ImageSize


@dataclass(frozen=True)
class RawFormat:
    """Layout of one encoding.

    Attributes:
        conversion: name of OpenCV's conversion to RGB.
        sample_bytes: bytes of one value; wider values keep their most significant byte.
        samples_per_pixel: values of a pixel in a row.
        half_rows: rows of the data per two rows of the image.
        even_width, even_height: whether odd sizes cannot be expressed.
    """

    conversion: str
    sample_bytes: int = 1
    samples_per_pixel: int = 1
    half_rows: int = 2
    even_width: bool = False
    even_height: bool = False

    def check_size(self, size: ImageSize) -> None:
        """Refuse sizes that the format cannot express.

        Raises:
            ImageError: see above.
        """
        if (self.even_width and size.width % 2) or (self.even_height and size.height % 2):
            raise ImageError('this encoding needs an even size',
                             got=f'{size.height} x {size.width}', fix='check the camera driver')


# OpenCV names a mosaic by the second and third pixel of its second row, ROS by the first row.
_BAYER = {'rggb': 'BayerBG2RGB', 'bggr': 'BayerRG2RGB', 'gbrg': 'BayerGR2RGB',
          'grbg': 'BayerGB2RGB'}
_UYVY = RawFormat('YUV2RGB_UYVY', samples_per_pixel=2, even_width=True)
_YUYV = RawFormat('YUV2RGB_YUY2', samples_per_pixel=2, even_width=True)

RAW_FORMATS: Mapping[str, RawFormat] = MappingProxyType({
    **{f'bayer_{order}{8 * size}': RawFormat(conversion, sample_bytes=size)
       for order, conversion in _BAYER.items() for size in (1, 2)},
    'yuv422': _UYVY, 'uyvy': _UYVY, 'yuv422_yuy2': _YUYV, 'yuyv': _YUYV,
    'nv21': RawFormat('YUV2RGB_NV21', half_rows=3, even_width=True, even_height=True),
})


def check_can_convert() -> None:
    """Refuse to promise conversions that cannot be done here.

    Raises:
        ConfigError: OpenCV is not installed.
    """
    if find_spec('cv2') is None:
        raise ConfigError('input.convert_raw_formats needs OpenCV', fix='install python3-opencv, '
                          'or set it to false and convert with image_proc')


def raw_to_rgb(rows: np.ndarray, form: RawFormat, size: ImageSize, is_bigendian: bool
               ) -> np.ndarray:
    """Return the pixels of a Bayer or YUV image.

    Args:
        rows: (rows of the data, bytes of a row) uint8, without padding.
        form: what the bytes are.
        size: of the image.
        is_bigendian: whether the most significant byte of a value comes first.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ImageError: OpenCV cannot convert it.
    """
    import cv2

    if form.sample_bytes == 2:
        rows = rows[:, 0 if is_bigendian else 1::2]
    pixels = np.ascontiguousarray(rows).reshape(-1, size.width, form.samples_per_pixel)
    try:
        return cv2.cvtColor(pixels, getattr(cv2, f'COLOR_{form.conversion}'))
    except cv2.error as error:
        raise ImageError('image cannot be converted to colour', got=f'{size.height} x {size.width}',
                         fix='check the camera driver') from error
