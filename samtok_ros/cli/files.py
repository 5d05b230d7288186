# SPDX-License-Identifier: Apache-2.0
"""Image and mask files that users name: reading, writing, and clear errors about them."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from samtok_ros.errors import ConfigError, ImageError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp')
_DEEP_MODES = ('I', 'F')


def load_image(path: Path) -> 'np.ndarray':
    """Read an image file as people see it: EXIF orientation is applied, once.

    Args:
        path: a file in any format that Pillow knows, 8 bits per channel.
    Returns:
        (H, W, 3) uint8 RGB; transparency is dropped.
    Raises:
        ImageError: no such file, no image, damaged, too large, or more than 8 bits per channel.
    """
    import numpy as np

    image = _open(path)
    if image.mode.startswith(_DEEP_MODES):
        raise ImageError(f'{path} has more than 8 bits per channel', expected='8 bits',
                         got=f'mode {image.mode}', fix='convert it first, it may be a depth image')
    return np.asarray(image.convert('RGB'))


def load_mask(path: Path, size_hw: tuple[int, int]) -> 'np.ndarray':
    """Read a mask file: every pixel that is neither 0 nor transparent is inside.

    Args:
        path: a lossless image file.
        size_hw: height and width that it must have.
    Returns:
        (H, W) bool.
    Raises:
        ImageError: no such file, no image, lossy, of another size, or nothing is inside.
    """
    import numpy as np

    image = _open(path)
    if image.format == 'JPEG' or path.suffix.lower() in ('.jpg', '.jpeg'):
        raise ImageError(f'{path} is no mask file', expected='PNG or another lossless format',
                         got='JPEG, which changes pixels', fix='save the mask as PNG')
    if image.mode in ('P', 'PA', 'LA'):  # P: numbers of colours, of which 0 need not be black
        image = image.convert('RGBA')
    values = np.asarray(image)
    if values.ndim == 3:
        inside = (values[..., :3] != 0).any(axis=2)
        mask = inside & (values[..., 3] != 0) if values.shape[2] == 4 else inside
    else:
        mask = values != 0
    if mask.shape != tuple(size_hw):
        raise ImageError(f'{path} does not fit the image',
                         expected='{} x {} pixels'.format(*size_hw),
                         got='{} x {}'.format(*mask.shape))
    if not mask.any():
        raise ImageError(f'{path} is an empty mask', expected='at least one pixel that is not 0')
    return mask


def check_picture_path(path: Path | None) -> None:
    """Check where a picture is to be written, before time is spent on making it.

    Raises:
        ConfigError: unknown kind of file; see check_folder_of too.
    """
    if path is None:
        return
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise ConfigError(f'cannot tell the kind of picture from {str(path)!r}',
                          expected=' or '.join(PICTURE_SUFFIXES), got=repr(path.suffix))
    check_folder_of(path)


def check_folder(path: Path) -> None:
    """Check that files can be written into a folder, which need not exist.

    Raises:
        ConfigError: it is a file, or nothing may be written there.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f'{path} is a file', expected='a folder, or a name that is free')
    there = path.absolute()
    while not there.exists():
        there = there.parent
    _check_writable(there)


def check_folder_of(path: Path) -> None:
    """Check that a file can be written there, before time is spent on its content.

    Raises:
        ConfigError: its folder does not exist, it is a folder itself, or nothing may be written
            there.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigError(f'there is no folder {path.parent}', fix='make it first')
    if path.is_dir():
        raise ConfigError(f'{path} is a folder', expected='the name of a file')
    _check_writable(path if path.exists() else path.absolute().parent)


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        raise ConfigError(f'{path} cannot be written', got='no permission, or a disk that is '
                          'mounted to be read only', fix='name another place')


def check_report_path(path: Path | None) -> None:
    """Check that --out can be written, where it is given.

    Raises:
        ConfigError: see check_folder_of.
    """
    if path is not None:
        check_folder_of(path)


def write_report(path: Path | None, report: Mapping[str, object] | Sequence[object]) -> None:
    """Write figures as JSON to --out, where it is given."""
    if path is not None:
        path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


def save_picture(path: Path, image_rgb: 'np.ndarray') -> None:
    """Write (H, W, 3) uint8 in the format that the file name asks for.

    Raises:
        ImageError: that format has no room for so many pixels.
    """
    from PIL import Image

    try:
        Image.fromarray(image_rgb).save(path)
    except ValueError as error:
        raise ImageError(f'{path} cannot be written', got=error,
                         fix='write .png, which has room for larger pictures') from error


def save_mask(path: Path, mask: 'np.ndarray') -> None:
    """Write (H, W) bool as a PNG of 0 and 255; load_mask reads it back."""
    import numpy as np
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * 255).save(path, format='PNG')


def _open(path: Path) -> 'Image.Image':
    """Open and decode a file, turned as its EXIF orientation says."""
    from PIL import Image

    from samtok_ros.image.encodings import MAX_PIXELS

    if path.is_dir():
        raise ImageError(f'{path} is a folder', expected='a file', fix='name a picture in it')
    if not path.is_file():
        raise ImageError(f'there is no file {path}', fix='check the spelling of the path')
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is a warning first; ours is below it and an error.
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            image = Image.open(path)
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(f'{path} is too large', expected=f'at most {MAX_PIXELS} pixels',
                             got=f'{image.height} x {image.width}', fix='make it smaller')
        image.load()
        turned = _upright(image)
    except (OSError, SyntaxError, ValueError, RuntimeError,
            Image.DecompressionBombError) as error:
        raise ImageError(f'{path} cannot be read as an image', got=error,
                         fix='check that the file is whole and of a known format') from error
    turned.format = image.format
    return turned


def _upright(image: 'Image.Image') -> 'Image.Image':
    """Turn a picture as its EXIF orientation says; what else stands in there does not matter."""
    from PIL import ExifTags, Image

    turns = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
             4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
             6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
             8: Image.Transpose.ROTATE_90}
    turn = turns.get(image.getexif().get(ExifTags.Base.Orientation))
    return image if turn is None else image.transpose(turn)
