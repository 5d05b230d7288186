# SPDX-License-Identifier: Apache-2.0
"""Depth images <-> the compressed form that ROS image transport calls compressedDepth.

Behind a header of 12 bytes, a number for the kind of compression and two parameters a and b, lies
a PNG file of 16 bits: millimetres of a 16UC1 image, for which the parameters are 0, or q of a 32FC1
image, whose metres are a / (q - b). Source: compressed_depth_image_transport.
"""

import struct

import cv2
import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import depth_to_metres
from samtok_ros.regions import ImageSize

DEPTH_FORMAT = '16UC1; compressedDepth png'
_HEADER = bytes(12)
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_SIZE_PLACE = len(_HEADER) + 16


def depth_to_compressed(depth_mm: np.ndarray) -> bytes:
    """Return a depth image in the compressed form.

    Args:
        depth_mm: (H, W) uint16 millimetres, 0 for no reading.
    Raises:
        ImageError: not such an image.
    """
    if depth_mm.ndim != 2 or depth_mm.dtype != np.uint16 or not depth_mm.size:
        raise ImageError('depth image has the wrong form', expected='(H, W) uint16 millimetres',
                         got=f'{depth_mm.shape} {depth_mm.dtype}')
    _, file = cv2.imencode('.png', depth_mm, (cv2.IMWRITE_PNG_COMPRESSION, 9))
    return _HEADER + file.tobytes()


def compressed_to_depth(data: bytes) -> np.ndarray:
    """Return the depth image; the inverse of depth_to_compressed.

    Args:
        data: the data of the message.
    Returns:
        (H, W) uint16 millimetres, 0 for no reading.
    Raises:
        ImageError: no depth image of this kind, or a damaged one.
    """
    data = bytes(data)
    _check_form(data)
    depth = cv2.imdecode(np.frombuffer(data[len(_HEADER):], np.uint8), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.ndim != 2 or depth.dtype != np.uint16:
        raise ImageError('compressed depth image is damaged', got=f'{len(data)} bytes')
    return depth


def compressed_depth_size(data: bytes, max_pixels: float) -> ImageSize:
    """Return the size of a compressed depth image without decoding it.

    Raises:
        ImageError: no depth image of this kind, or one with more pixels than may be.
    """
    _check_form(data)
    width, height = struct.unpack_from('>II', data.ljust(_SIZE_PLACE + 8, b'\0'), _SIZE_PLACE)
    size = ImageSize(height, width)
    if height * width > max_pixels:
        raise ImageError('image is too large', expected=f'at most {max_pixels:.0f} pixels',
                         got=f'{height} x {width}', fix='lower the resolution of the camera, or '
                         'raise the limit')
    return size


def compressed_to_metres(data: bytes, form: str) -> np.ndarray:
    """Return the depth of each pixel of a compressed depth image.

    Args:
        data: the data of the message.
        form: its format; 32FC1 in front says that metres were quantised.
    Returns:
        (H, W) float32 metres; NaN where there is no depth.
    Raises:
        ImageError: no depth image of this kind, or a damaged one.
    """
    values = compressed_to_depth(data)
    if not form.startswith('32FC1'):
        return depth_to_metres(values.tobytes(), *values.shape, '16UC1', 2 * values.shape[1],
                               values.dtype.byteorder == '>')
    a, b = struct.unpack_from('<ff', data, 4)
    with np.errstate(divide='ignore', invalid='ignore'):
        metres = (a / (values.astype(np.float32) - b)).astype(np.float32)
    metres[(values == 0) | ~np.isfinite(metres) | (metres <= 0)] = np.nan
    return metres


def _check_form(data: bytes) -> None:
    if not data[len(_HEADER):].startswith(_PNG_SIGNATURE):
        raise ImageError('compressed depth image is of another kind', expected=DEPTH_FORMAT,
                         got=f'{len(data)} bytes that begin with {data[:20].hex()}')
