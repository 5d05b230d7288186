# SPDX-License-Identifier: Apache-2.0
"""Bounds of the interface definitions, checked on what came from another process.

The middleware reads a text or an array that is longer than its definition allows, and complains
only when such a message is published.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from samtok_ros.errors import ConfigError

MOST_BYTES = 1024
"""Of a text that its definition does not bound, such as a frame id: it goes into every result."""

MOST_RUNS = 65536
"""Of a mask. The definition leaves them open, as the middleware reserves memory for what it allows:
over a gigabyte of addresses for each subscription on 64 masks of so many runs."""

_SEQUENCE = re.compile(r'sequence<(?P<inner>.+?)(?:, (?P<most>\d+))?>$')
_RUNS = 'sequence<uint32>'
_TEXT = re.compile(r'string(?:<(?P<most>\d+)>)?$')


@dataclass(frozen=True)
class _Field:
    """What is checked of a field.

    Attributes:
        name: of the field.
        is_array: whether it is an array of what the others say.
        most_items: of an array, None when it has no bound.
        most_bytes: of a text, None for anything else.
        is_message: whether it holds a message, whose fields are checked in turn.
    """

    name: str
    is_array: bool
    most_items: int | None
    most_bytes: int | None
    is_message: bool


def check_bounds(message: Any, prefix: str = '') -> None:
    """Check the texts and arrays of a message, request or goal, parts included.

    Args:
        message: what came.
        prefix: path of the message inside another one, with the point behind it.
    Raises:
        ConfigError: the first field over its bound; the values themselves are not repeated.
    """
    for field in _fields_to_check(type(message)):
        value, path = getattr(message, field.name), f'{prefix}{field.name}'
        if field.most_items is not None and len(value) > field.most_items:
            raise ConfigError(f'{path} is too long', expected=f'at most {field.most_items} items',
                              got=len(value))
        for item in value if field.is_array else (value,):
            if field.is_message:
                check_bounds(item, f'{path}.')
            elif field.most_bytes is None:
                break
            elif len(item) * 4 > field.most_bytes:
                _check_text(path, item, field.most_bytes)


def _check_text(path: str, text: str, most_bytes: int) -> None:
    size = len(text.encode(errors='replace'))
    if size > most_bytes:
        raise ConfigError(f'{path} is too long', expected=f'at most {most_bytes} bytes',
                          got=f'{size} bytes')


@cache
def _fields_to_check(kind: type) -> tuple[_Field, ...]:
    return tuple(field for field in _read_fields(kind)
                 if field.is_message or field.most_bytes or field.most_items)


def _read_fields(kind: type) -> Iterator[_Field]:
    for name, declared in kind.get_fields_and_field_types().items():
        array = _SEQUENCE.match(declared)
        inner = array['inner'] if array else declared
        text = _TEXT.match(inner)
        most = MOST_RUNS if declared == _RUNS else array and array['most']
        yield _Field(name, bool(array), int(most) if most else None,
                     int(text['most'] or MOST_BYTES) if text else None, '/' in inner)
