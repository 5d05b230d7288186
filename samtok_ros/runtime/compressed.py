# SPDX-License-Identifier: Apache-2.0
"""Compressed camera images (JPEG, PNG) <-> RGB arrays."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize

_COLOUR_MODES = ('RGB', 'RGBA', 'L', 'P')
logging.getLogger('PIL').setLevel(logging.WARNING)
# The caller's limit holds here, for every image; Pillow would warn of some below it.
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)


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
    with _opened(data, max_pixels) as file:
        return np.array(file.convert('RGB'))


def compressed_size(data: bytes, max_pixels: float) -> ImageSize:
    """Return the size that the head of a JPEG or PNG file names; its pixels are not decoded.

    Raises:
        ImageError: see decode_image; a file that breaks off later is not noticed.
    """
    with _opened(data, max_pixels) as file:
        return ImageSize(file.height, file.width)


@contextmanager
def _opened(data: bytes, max_pixels: float) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=('JPEG', 'PNG')) as file:
            if file.width * file.height > max_pixels:
                raise _too_large(max_pixels, f'{file.height} x {file.width}')
            if file.mode not in _COLOUR_MODES:
                raise ImageError('compressed image is not in colour or grey of 8 bits',
                                 expected=' or '.join(_COLOUR_MODES), got=file.mode,
                                 fix='subscribe to the colour topic, not to the depth topic')
            yield file
    except UnidentifiedImageError as error:
        raise ImageError('compressed image is neither JPEG nor PNG', got=f'{len(data)} bytes',
                         fix='set the format of the image transport to jpeg or png') from error
    except Image.DecompressionBombError as error:
        # Pillow's own limit; it is reached before ours when ours is high.
        raise _too_large(max_pixels, str(error)) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError('compressed image is damaged', got=f'{len(data)} bytes, {error}',
                         fix='check the transport for lost data') from error


def _too_large(max_pixels: float, got: str) -> ImageError:
    return ImageError('image is too large', expected=f'at most {max_pixels:.0f} pixels', got=got,
                      fix='lower the resolution of the camera, or raise input.max_megapixels')


def encode_jpeg(image_rgb: np.ndarray, quality: int) -> bytes:
    """Return an RGB image as a JPEG file.

    Args:
        image_rgb: (H, W, 3) uint8.
        quality: 1..100.
    """
    file = io.BytesIO()
    Image.fromarray(image_rgb).save(file, 'JPEG', quality=quality)
    return file.getvalue()
