# SPDX-License-Identifier: Apache-2.0
"""Items of large JSON files, one at a time, and their fields with errors that say where."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path

from samtok_ros.errors import ConfigError

_CHUNK = 1 << 20
_BLANKS = ' \t\r\n'


@dataclass(frozen=True)
class Item:
    """One object of a file, and where it stands.

    Attributes:
        place: such as 'grefs(unc).json, item 3'.
        fields: the object.
    """

    place: str
    fields: Mapping[str, object]

    def get(self, name: str, kind: type | tuple[type, ...]) -> object:
        """Return a field.

        Args:
            name: of the field.
            kind: what it must be.
        Raises:
            ConfigError: it is missing or of another kind; the text names file, item and field.
        """
        if name not in self.fields:
            raise ConfigError(f'{self.place}: field {name!r} is missing',
                              expected=f'{name!r} of kind {_named(kind)}',
                              got=f'fields {", ".join(map(repr, self.fields)) or "none"}',
                              fix='check that the file is laid out as docs/evaluation.md says')
        value = self.fields[name]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ConfigError(f'{self.place}: field {name!r} is wrong', expected=_named(kind),
                              got=f'{type(value).__name__} {value!r:.60}')
        return value

    def optional(self, name: str, kind: type | tuple[type, ...], default: object) -> object:
        """Return a field, or the default where there is none."""
        return self.get(name, kind) if name in self.fields else default

    def inner(self, name: str, index: int = 0) -> 'Item':
        """Return an object of a list.

        Args:
            name: field that holds the list.
            index: in it, from 0.
        Raises:
            ConfigError: there is no such list, or no object there.
        """
        values = self.get(name, list)
        if len(values) <= index or not isinstance(values[index], dict):
            raise ConfigError(f'{self.place}: field {name!r} is wrong',
                              expected=f'an object at {index}',
                              got=f'{len(values)} entries' if len(values) <= index
                              else type(values[index]).__name__)
        return Item(f'{self.place}, {name}[{index}]', values[index])


def line_items(path: Path) -> Iterator[Item]:
    """Give the objects of a file with one JSON object a line; empty lines are passed over.

    Raises:
        ConfigError: there is no such file, or a line is no JSON object.
    """
    with opened(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                place = f'{path.name}, line {number}'
                yield _item(place, _parsed(line, place))


def list_items(path: Path, key: str | None = None) -> Iterator[Item]:
    """Give the objects of a list in a JSON file, without holding the file in memory.

    Args:
        path: the file.
        key: the list is the value of this key of the outermost object; None: the file is a list.
    Raises:
        ConfigError: there is no such file or list, or it is damaged.
    """
    place = path.name if key is None else f'{path.name}, {key}'
    for number, value in enumerate(object_values(path, key)):
        yield _item(f'{place}, item {number}', value)


def object_values(path: Path, key: str | None) -> Iterator[object]:
    """Give the values of a list in a JSON file; see list_items."""
    with opened(path) as stream:
        reader = _Reader(stream, path)
        if key is None:
            yield from reader.entries()
            return
        for name in reader.names():
            if name == key:
                yield from reader.entries()
                return
            reader.skip()
    raise ConfigError(f'{path} has no list {key!r}',
                      fix='check that the file is laid out as docs/evaluation.md says')


def object_entries(path: Path) -> Iterator[tuple[str, Iterator[Item]]]:
    """Give the keys of the outermost object, each with the objects of the list that it holds.

    A list has to be read to its end before the next key is asked for.
    """
    with opened(path) as stream:
        reader = _Reader(stream, path)
        for name in reader.names():
            yield name, (_item(f'{path.name}, {name}, item {number}', value)
                         for number, value in enumerate(reader.entries()))


@contextlib.contextmanager
def opened(path: Path) -> Iterator[TextIOBase]:
    """Open a text file of a data set, with or without a byte order mark.

    Raises:
        ConfigError: there is no such file, or what is read of it is not UTF-8.
    """
    if not path.is_file():
        raise ConfigError(f'there is no file {path}',
                          fix='lay the data set out as docs/evaluation.md says')
    try:
        with path.open(encoding='utf-8-sig') as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error


def _item(place: str, value: object) -> Item:
    if not isinstance(value, dict):
        raise ConfigError(f'{place} is no object', got=type(value).__name__)
    return Item(place, value)


def _parsed(text: str, place: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f'{place} is no JSON', got=error) from error


def _damaged(path: Path, why: str) -> ConfigError:
    return ConfigError(f'{path} is damaged or of another form', got=why,
                       fix='copy the file again, or check which file it is')


def _named(kind: type | tuple[type, ...]) -> str:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return ' or '.join(one.__name__ for one in kinds)


class _Reader:
    """Reads the outermost object or list of a JSON text in chunks."""

    def __init__(self, stream: TextIOBase, path: Path) -> None:
        self._stream, self._path = stream, path
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._ended = '', 0, False

    def names(self) -> Iterator[str]:
        """Give the keys of an object; the value of each has to be read before the next one."""
        self._take('{')
        while self._next() != '}':
            name = self._value()
            self._take(':')
            yield str(name)
            if self._next() == ',':
                self._at += 1

    def entries(self) -> Iterator[object]:
        """Give the values of a list."""
        self._take('[')
        while self._next() != ']':
            yield self._value()
            if self._next() == ',':
                self._at += 1
        self._at += 1

    def skip(self) -> None:
        """Pass over a value; of a list, entry by entry."""
        if self._next() == '[':
            for _ in self.entries():
                pass
        else:
            self._value()

    def _take(self, character: str) -> None:
        if self._next() != character:
            raise _damaged(self._path, f'expected {character!r}, got {self._next()!r}')
        self._at += 1

    def _next(self) -> str:
        """Return the next character that is no blank; empty at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read(_CHUNK):
                raise _damaged(self._path, 'the file ends too early')

    def _value(self) -> object:
        self._next()
        wanted = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except ValueError as error:
                if not self._read(wanted):
                    raise _damaged(self._path, str(error)) from error
            else:
                # A number at the end of what was read may go on.
                if end < len(self._text) or not self._read(wanted):
                    self._at = end
                    return value
            wanted *= 2

    def _read(self, characters: int) -> bool:
        if self._ended:
            return False
        more = self._stream.read(characters)
        self._ended = not more
        self._text, self._at = self._text[self._at:] + more, 0
        return bool(more)
