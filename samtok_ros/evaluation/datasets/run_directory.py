# SPDX-License-Identifier: Apache-2.0
"""One folder per run: what is measured, and one line per sample.

- `manifest.json`: model, data set, wordings, options; a run goes on only with the same.
- `results.0-of-2.jsonl`: one file per process; each line is a Result.
- `done.0-of-2.json`: the process has no samples left.
- `report.json` and others, written when all processes are done.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.result import Result

_MANIFEST, _RESULTS, _DONE = 'manifest.json', 'results', 'done'


@dataclass(frozen=True)
class Share:
    """Which samples a process takes: those whose number is `index` modulo `count`."""

    index: int = 0
    count: int = 1

    def takes(self, number: int) -> bool:
        """Say whether a sample belongs to this share."""
        return number % self.count == self.index

    def __str__(self) -> str:
        return f'{self.index}-of-{self.count}'


class RunDirectory:
    """The folder of a run; several processes may write into it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, manifest: Mapping[str, object]) -> None:
        """Write the manifest, or check that the run that is there has the same.

        Raises:
            ConfigError: the folder holds another run, or something else.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + '\n'
        part = self.path / f'.{_MANIFEST}.{os.getpid()}'
        part.write_text(text, encoding='utf-8')
        try:
            # Of several processes that start at once exactly one creates it, whole.
            os.link(part, self.path / _MANIFEST)
        except FileExistsError:
            self._check(manifest)
        except OSError:  # a file system without hard links
            if (self.path / _MANIFEST).exists():
                self._check(manifest)
            else:
                part.replace(self.path / _MANIFEST)
        finally:
            part.unlink(missing_ok=True)

    def manifest(self) -> dict[str, object]:
        """Return the manifest.

        Raises:
            ConfigError: there is no run here, or its manifest is damaged.
        """
        try:
            return json.loads((self.path / _MANIFEST).read_text(encoding='utf-8'))
        except FileNotFoundError as error:
            raise ConfigError(f'{self.path} holds no run', expected=_MANIFEST,
                              got='nothing of this name' if self.path.exists() else 'no folder',
                              fix='name a folder that samtok eval has written') from error
        except ValueError as error:
            raise ConfigError(f'{self.path / _MANIFEST} is damaged', got=error) from error

    def answered(self) -> set[int]:
        """Return the numbers of the samples that were asked; a skipped one is tried again."""
        return {number for number, line, _, _ in self._lines() if _is_asked(line)}

    def results(self) -> Iterator[Result]:
        """Give all results in the order of the data set, each sample once.

        Of several lines of a sample the last one counts, but never a skipped one where it was
        asked: it may have been tried again by another number of processes, in another file.

        Raises:
            ConfigError: a line is damaged.
        """
        places: dict[int, tuple[Path, int]] = {}
        asked: set[int] = set()
        for number, line, path, offset in self._lines():
            if _is_asked(line):
                asked.add(number)
            elif number in asked:
                continue
            places[number] = path, offset
        with contextlib.ExitStack() as stack:
            streams = {path: stack.enter_context(path.open('rb'))
                       for path in {path for path, _ in places.values()}}
            for number in sorted(places):
                path, offset = places[number]
                streams[path].seek(offset)
                yield Result.from_line(streams[path].readline().decode())

    @contextlib.contextmanager
    def writer(self, share: Share) -> Iterator['ResultWriter']:
        """Open the results of a process; a line that a killed process left unfinished goes."""
        self._done(share).unlink(missing_ok=True)
        path = self.path / f'{_RESULTS}.{share}.jsonl'
        whole = sum(len(line) for line in _whole_lines(path))
        with path.open('ab') as stream:
            stream.truncate(whole)
            yield ResultWriter(stream)

    def finish(self, share: Share, samples: int) -> bool:
        """Note that a process has no samples left.

        Returns:
            Whether all processes of this run have none; true for at least one of them.
        """
        self._done(share).write_text(json.dumps({'samples': samples}) + '\n', encoding='utf-8')
        return all(self._done(Share(index, share.count)).is_file()
                   for index in range(share.count))

    def samples(self) -> int | None:
        """Return how many samples the data set has, None while no process is done."""
        for path in sorted(self.path.glob(f'{_DONE}.*.json')):
            return int(json.loads(path.read_text(encoding='utf-8'))['samples'])
        return None

    def write(self, name: str, text: str) -> None:
        """Write a file that appears whole or not at all."""
        part = self.path / f'.{name}.{os.getpid()}'
        part.write_text(text, encoding='utf-8')
        part.replace(self.path / name)

    def _check(self, manifest: Mapping[str, object]) -> None:
        there = self.manifest()
        wanted = json.loads(json.dumps(manifest))
        for name in {**there, **wanted}:
            if there.get(name) != wanted.get(name):
                raise ConfigError(
                    f'{self.path} holds another run: its {name!r} is different',
                    expected=f'{there.get(name)!r:.120}', got=f'{wanted.get(name)!r:.120}',
                    fix='give the same options, or another folder with --out')

    def _done(self, share: Share) -> Path:
        return self.path / f'{_DONE}.{share}.json'

    def _lines(self) -> Iterator[tuple[int, bytes, Path, int]]:
        """Give every whole line with its number before it, its file and offset behind it."""
        for path in sorted(self.path.glob(f'{_RESULTS}.*.jsonl')):
            offset = 0
            for line in _whole_lines(path):
                yield _number_of(line, path), line, path, offset
                offset += len(line)


class ResultWriter:
    """Appends results to a file; each is out of the process as soon as it is added."""

    def __init__(self, stream) -> None:
        self._stream = stream

    def add(self, result: Result) -> None:
        """Write one line."""
        self._stream.write(result.to_line().encode() + b'\n')
        self._stream.flush()


def _whole_lines(path: Path) -> Iterable[bytes]:
    if not path.is_file():
        return
    with path.open('rb') as stream:
        for line in stream:
            if line.endswith(b'\n'):
                yield line


def _number_of(line: bytes, path: Path) -> int:
    # The number stands first in every line; the masks behind it need not be parsed for it.
    head, _, rest = line.partition(b':')
    number = rest.partition(b',')[0].strip()
    if head.strip() != b'{"number"' or not number.isdigit():
        raise ConfigError(f'{path} holds a line that is no result', got=line[:40],
                          fix='remove the line and run the same command again')
    return int(number)


def _is_asked(line: bytes) -> bool:
    # Only the detail stands behind the reason, so the last such key is that of the result itself;
    # quotes inside of texts are escaped.
    return line.rpartition(b', "skipped": ')[2].startswith(b'""')
