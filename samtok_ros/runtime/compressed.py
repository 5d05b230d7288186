# SPDX-License-Identifier: Apache-2.0
"""Compressed camera images (JPEG, PNG) <-> RGB arrays."""

import io
import logging

import numpy as np
from PIL import Image, UnidentifiedImageError

from samtok_ros.errors import ImageError

_COLOUR_MODES = ('RGB', 'RGBA', 'L', 'P')
logging.getLogger('PIL').setLevel(logging.WARNING)


def decode_image(data: bytes, max_pixels: float) -> np.ndarray:
    """Return the pixels of a JPEG or PNG file.

    The content decides what it is, not the name that came with it. Pillow is used because it
    refuses a file that breaks off, where OpenCV fills in grey.

    Args:
        data: the whole file.
        max_pixels: larger images are refused before memory is taken for them.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ImageError: no JPEG or PNG, broken off, too large, or without colour or grey of 8 bits.
    """
    try:
        with Image.open(io.BytesIO(data), formats=('JPEG', 'PNG')) as file:
            if file.width * file.height > max_pixels:
                raise ImageError('image is too large', expected=f'at most {max_pixels:.0f} pixels',
                                 got=f'{file.height} x {file.width}',
                                 fix='lower the resolution of the camera, or raise the limit')
            if file.mode not in _COLOUR_MODES:
                raise ImageError('compressed image is not in colour or grey of 8 bits',
                                 expected=' or '.join(_COLOUR_MODES), got=file.mode,
                                 fix='subscribe to the colour topic, not to the depth topic')
            return np.array(file.convert('RGB'))
    except UnidentifiedImageError as error:
        raise ImageError('compressed image is neither JPEG nor PNG', got=f'{len(data)} bytes',
                         fix='set the format of the image transport to jpeg or png') from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError('compressed image is damaged', got=f'{len(data)} bytes, {error}',
                         fix='check the transport for lost data') from error


def encode_jpeg(image_rgb: np.ndarray, quality: int) -> bytes:
    """Return an RGB image as a JPEG file.

    Args:
        image_rgb: (H, W, 3) uint8.
        quality: 1..100.
    """
    file = io.BytesIO()
    Image.fromarray(image_rgb).save(file, 'JPEG', quality=quality)
    return file.getvalue()
