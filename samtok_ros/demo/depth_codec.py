# SPDX-License-Identifier: Apache-2.0
"""Depth images <-> the compressed form that ROS image transport calls compressedDepth.

Millimetres of 16 bits as a PNG file behind a header of 12 bytes: a number for the kind of
compression and two quantisation parameters, all 0 because nothing is quantised here. Source:
compressed_depth_image_transport, for 16UC1 images.
"""

import cv2
import numpy as np

from samtok_ros.errors import ImageError

DEPTH_FORMAT = '16UC1; compressedDepth png'
_HEADER = bytes(12)
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'


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
    png = data[len(_HEADER):]
    if not png.startswith(_PNG_SIGNATURE):
        raise ImageError('compressed depth image is of another kind', expected=DEPTH_FORMAT,
                         got=f'{len(data)} bytes that begin with {data[:20].hex()}')
    depth = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if depth is None or depth.ndim != 2 or depth.dtype != np.uint16:
        raise ImageError('compressed depth image is damaged', got=f'{len(data)} bytes')
    return depth
