# SPDX-License-Identifier: Apache-2.0
"""Byte layouts of camera images <-> arrays, without ROS types.

The encoding names what the bytes are; nothing is guessed from the number of channels or the size of
the values. Rows may be padded, and the byte order of the sender is honoured.
"""

from array import array
from collections.abc import Iterable, Mapping

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.image.raw_formats import RAW_FORMATS, raw_to_rgb
from samtok_ros.regions import ImageSize

BytesLike = bytes | bytearray | memoryview | array | np.ndarray

MAX_PIXELS = 50_000_000
"""Larger images are refused before memory is taken for them."""

_CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'bgra8': 4, 'mono8': 1}
_REVERSED = ('bgr8', 'bgra8')
_DEPTH_TYPES = {'16UC1': 'u2', '32FC1': 'f4'}
_MILLIMETRES_PER_METRE = np.float32(1000)
_DEEP = ('mono16', '16UC1', '16SC1', '32FC1', '32SC1', '64FC1')
_LONGEST_NAME = 40


def image_to_rgb(
    data: BytesLike,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    *,
    max_pixels: float = MAX_PIXELS,
    convert_raw: bool = False,
) -> np.ndarray:
    """Return the pixels of a colour or grey image message.

    rgb8 and rgba8 come back as a read-only view of the data, so keep the result no longer than the
    message may change; the others are copied.

    Args:
        data: the bytes of the message, rows from top to bottom.
        height: rows.
        width: pixels of a row.
        encoding: rgb8, bgr8, rgba8, bgra8 or mono8, or one of RAW_FORMATS; alpha is dropped, grey
            becomes three channels.
        step: bytes from one row to the next, padding included.
        is_bigendian: as in the message; without meaning for values of one byte.
        max_pixels: larger images are refused.
        convert_raw: whether Bayer and YUV images are converted; else they are refused.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ImageError: unknown encoding, no pixels, too many, or the data do not fit the size.
    """
    rows = _image_rows(data, height, width, encoding, step, max_pixels, convert_raw)
    if encoding in RAW_FORMATS:
        return raw_to_rgb(rows, RAW_FORMATS[encoding], ImageSize(height, width), is_bigendian)
    pixels = rows.reshape(height, width, _CHANNELS[encoding])
    if encoding == 'mono8':
        return np.repeat(pixels, 3, axis=2)
    if encoding in _REVERSED:
        return np.ascontiguousarray(pixels[..., 2::-1])
    return pixels[..., :3]


def check_image(
    data: BytesLike, height: int, width: int, encoding: str, step: int, *,
    max_pixels: float = MAX_PIXELS, convert_raw: bool = False,
) -> ImageSize:
    """Return the size of an image message that image_to_rgb can read; costs no copy.

    Raises:
        ImageError: see image_to_rgb.
    """
    _image_rows(data, height, width, encoding, step, max_pixels, convert_raw)
    return ImageSize(height, width)


def depth_to_metres(
    data: BytesLike,
    height: int,
    width: int,
    encoding: str,
    step: int,
    is_bigendian: bool = False,
    *,
    max_pixels: float = MAX_PIXELS,
) -> np.ndarray:
    """Return the depth of each pixel of a depth image message.

    The encoding alone decides the unit: 16UC1 is millimetres, 32FC1 metres (REP 118).

    Args:
        data: the bytes of the message, rows from top to bottom.
        height: rows.
        width: pixels of a row.
        encoding: 16UC1 or 32FC1.
        step: bytes from one row to the next, padding included.
        is_bigendian: whether the most significant byte comes first.
        max_pixels: larger images are refused.
    Returns:
        (H, W) float32 metres; NaN where there is no depth: 0, negative, infinite or NaN.
    Raises:
        ImageError: unknown encoding, no pixels, too many, or the data do not fit the size.
    """
    rows, kind = _depth_rows(data, height, width, encoding, step, max_pixels)
    metres = rows.view(kind.newbyteorder('>' if is_bigendian else '<')).astype(np.float32)
    if encoding == '16UC1':
        metres /= _MILLIMETRES_PER_METRE
    metres[~(np.isfinite(metres) & (metres > 0))] = np.nan
    return metres


def check_depth(
    data: BytesLike, height: int, width: int, encoding: str, step: int, *,
    max_pixels: float = MAX_PIXELS,
) -> ImageSize:
    """Return the size of a depth image message that depth_to_metres can read; costs no copy.

    Raises:
        ImageError: see depth_to_metres.
    """
    _depth_rows(data, height, width, encoding, step, max_pixels)
    return ImageSize(height, width)


def rgb_to_bytes(image_rgb: np.ndarray, encoding: str = 'rgb8') -> bytes:
    """Return the data of an image message without padding; the inverse of image_to_rgb.

    Args:
        image_rgb: (H, W, 3) uint8.
        encoding: rgb8, bgr8, rgba8 or bgra8; alpha is 255. The step is W times 3 or 4.
    Raises:
        ImageError: not an RGB image, or an encoding that cannot hold colour.
    """
    check_rgb(image_rgb)
    colour = {name: count for name, count in _CHANNELS.items() if count >= 3}
    channels = _look_up(encoding, colour, 'colour')
    pixels = image_rgb[..., ::-1] if encoding in _REVERSED else image_rgb
    if channels == 4:
        alpha = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        pixels = np.concatenate([pixels, alpha], axis=2)
    return pixels.tobytes()


def check_rgb(image_rgb: np.ndarray) -> ImageSize:
    """Return the size of an RGB image.

    Raises:
        ImageError: it is not (H, W, 3) uint8 with pixels.
    """
    if not isinstance(image_rgb, np.ndarray):
        raise ImageError('image is no array', expected='(H, W, 3) uint8 RGB',
                         got=type(image_rgb).__name__,
                         fix="read a file with np.asarray(Image.open(path).convert('RGB'))")
    if image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or image_rgb.dtype != np.uint8:
        raise ImageError(
            'image has the wrong form',
            expected='(H, W, 3) uint8 RGB',
            got=f'{image_rgb.shape} {image_rgb.dtype}',
            fix='convert it first, for instance with image.encodings.image_to_rgb',
        )
    return ImageSize(*image_rgb.shape[:2])


def _image_rows(
    data: BytesLike, height: int, width: int, encoding: str, step: int, max_pixels: float,
    convert_raw: bool,
) -> np.ndarray:
    """Return (rows of the data, bytes of a row) uint8, a read-only view without the padding."""
    form = RAW_FORMATS.get(encoding) if convert_raw else None
    channels = None if form else _look_up(encoding, _CHANNELS, 'image')
    size = _check_size(height, width, max_pixels)
    if form is None:
        return _rows(data, size, channels, step)
    form.check_size(size)
    return _rows(data, size, form.sample_bytes * form.samples_per_pixel, step, form.half_rows)


def _look_up(encoding: str, supported: Mapping, kind: str):
    if encoding not in supported:
        raise ImageError(
            f'{kind} encoding is not supported', expected=_listed(supported),
            got=repr(encoding[:_LONGEST_NAME]), fix=_advice(encoding, kind))
    return supported[encoding]


def _advice(encoding: str, kind: str) -> str:
    """Say what to do about an encoding; the wrong topic is the usual reason for a deep one."""
    if kind == 'image' and encoding in RAW_FORMATS:
        return ('set input.convert_raw_formats to true, or convert with image_proc, which does it '
                'outside of this process')
    if kind == 'image' and encoding in _DEEP:
        return 'remap image to the colour topic: this one has depth, infrared or raw values'
    if kind == 'image' and encoding.startswith(('8UC', '8SC')):
        return ('let the driver name the order of the colours, rgb8 or bgr8: nothing is guessed '
                'from the number of channels')
    return 'set the encoding in the camera driver, or convert with image_proc'


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f'{", ".join(most)} or {last}'


def _depth_rows(
    data: BytesLike, height: int, width: int, encoding: str, step: int, max_pixels: float,
) -> tuple[np.ndarray, np.dtype]:
    kind = np.dtype(_look_up(encoding, _DEPTH_TYPES, 'depth'))
    size = _check_size(height, width, max_pixels)
    return _rows(data, size, kind.itemsize, step), kind


def _check_size(height: int, width: int, max_pixels: float) -> ImageSize:
    size = ImageSize(height, width)
    if height * width > max_pixels:
        raise ImageError(
            'image is too large',
            expected=f'at most {max_pixels:.0f} pixels',
            got=f'{height} x {width} = {height * width}',
            fix='lower the resolution of the camera, or raise the limit',
        )
    return size


def _rows(data: BytesLike, size: ImageSize, pixel_bytes: int, step: int, half_rows: int = 2
          ) -> np.ndarray:
    """Return (rows, W * pixel_bytes) uint8, a read-only view of the data without the padding.

    Args:
        data: the bytes of the message.
        size: of the image.
        pixel_bytes: bytes of a pixel in a row.
        step: bytes from one row to the next.
        half_rows: rows of the data per two rows of the image.
    """
    row_bytes = size.width * pixel_bytes
    if step < row_bytes:
        raise ImageError(
            'step is too small',
            expected=f'at least {row_bytes} bytes for {size.width} pixels of {pixel_bytes} bytes',
            got=step,
            fix='check the camera driver',
        )
    try:
        flat = np.frombuffer(data, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(
            'image data are not plain bytes', expected='bytes or an array of uint8',
            got=type(data).__name__,
        ) from error
    height = size.height * half_rows // 2
    expected = step * height
    if len(flat) != expected:
        raise ImageError(
            f'image data are too {"short" if len(flat) < expected else "long"}',
            expected=f'step x height = {step} x {height} = {expected} bytes',
            got=len(flat),
            fix='check the camera driver and the transport for lost or extra data',
        )
    rows = flat.reshape(height, step)[:, :row_bytes]
    rows.flags.writeable = False
    return rows
