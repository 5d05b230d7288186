# SPDX-License-Identifier: Apache-2.0
"""Region references in requests -> records, checked before any memory is taken for them."""

import math
from collections.abc import Sequence

import numpy as np

from samtok_ros.errors import ConfigError, ImageError, SamtokError, SpanError
from samtok_ros.msg import RegionReference
from samtok_ros.regions import BoxPrompt, PointPrompt
from samtok_ros.runtime.references import (
    CodesReference,
    Drawn,
    IdReference,
    Reference,
    RunsReference,
)


def to_references(messages: Sequence[RegionReference]) -> tuple[Reference, ...]:
    """Return the regions that a request points at; of each message only the field of its kind.

    Whether they lie in the image is checked when it is known which one (see draw_references).

    Raises:
        SamtokError: a reference that says nothing, or nothing of sense; it is named by its number.
    """
    return tuple(_numbered(number, message) for number, message in enumerate(messages, start=1))


def to_drawn_references(messages: Sequence[RegionReference]) -> tuple[Drawn, ...]:
    """Return the regions that a request to encode points at: masks, boxes and points.

    Raises:
        SamtokError: see to_references; there are none, or one that needs no encoding.
    """
    references = to_references(messages)
    if not references:
        raise ConfigError('there are no regions to encode', expected='at least one',
                          fix='give masks, boxes or points')
    for number, reference in enumerate(references, start=1):
        if isinstance(reference, CodesReference | IdReference):
            raise ConfigError(f'region {number} is given by codes or id: it has mask words already',
                              expected='kind MASK, BOX or POINT', got=messages[number - 1].kind)
    return references


def _numbered(number: int, message: RegionReference) -> Reference:
    try:
        read = _READERS.get(message.kind)
        if read is None:
            raise ConfigError('unknown kind', expected=f'0 to {max(_READERS)}', got=message.kind)
        return read(message)
    except SamtokError as error:
        raise type(error)(f'region {number}: {error.message}', expected=error.expected,
                          got=error.got, fix=error.fix) from None


def _codes(message: RegionReference) -> CodesReference:
    if not len(message.codes):
        raise SpanError('kind is CODES, but there are none', expected='one code per level')
    return CodesReference(tuple(message.codes))


def _id(message: RegionReference) -> IdReference:
    if not message.id:
        raise SpanError('kind is ID, but id is 0', expected='1 and up')
    return IdReference(message.id)


def _runs(message: RegionReference) -> RunsReference:
    if not len(message.rle):
        raise ImageError('kind is MASK, but rle is empty',
                         fix='give run lengths, column by column, the first one background')
    return RunsReference(np.array(message.rle, np.uint32))


def _box(message: RegionReference) -> BoxPrompt:
    box = message.box
    if box.do_rectify:
        raise ImageError('box asks for do_rectify, which cannot be done here',
                         expected='a box in pixels of the image as it came', got=True)
    if not box.width or not box.height:
        raise ImageError('box has no pixels', expected='width and height of at least 1',
                         got=f'{box.height} x {box.width}')
    return BoxPrompt(box.x_offset, box.y_offset, box.x_offset + box.width,
                     box.y_offset + box.height)


def _point(message: RegionReference) -> PointPrompt:
    point = (message.point_x, message.point_y)
    if not all(map(math.isfinite, point)):
        raise ImageError('point is no number', expected='pixels', got=point)
    return PointPrompt(*point)


_READERS = {RegionReference.CODES: _codes, RegionReference.ID: _id, RegionReference.MASK: _runs,
            RegionReference.BOX: _box, RegionReference.POINT: _point}
