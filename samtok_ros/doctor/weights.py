# SPDX-License-Identifier: Apache-2.0
"""Headers of weight files: names, types, shapes and whether the file is whole; no torch needed."""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError
from samtok_ros.hub.needed_files import INDEX_FILE, index_entries

_LONGEST_HEADER = 100_000_000
_LISTED_NAMES = 4


@dataclass(frozen=True)
class TensorHeader:
    """What a file says about one tensor.

    Attributes:
        dtype: in the notation of safetensors, such as BF16.
        shape: of the tensor.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def read_headers(path: Path) -> dict[str, TensorHeader]:
    """Read the header of a safetensors file and check that all it speaks of is there.

    Raises:
        CheckpointError: the file is damaged or cut short.
    """
    size = path.stat().st_size
    try:
        with path.open('rb') as stream:
            length = int.from_bytes(stream.read(8), 'little')
            if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
                raise ValueError('no header of safetensors')
            found = json.loads(stream.read(length))
        found.pop('__metadata__', None)
        end = max((entry['data_offsets'][1] for entry in found.values()), default=0)
        headers = {name: TensorHeader(str(entry['dtype']), tuple(map(int, entry['shape'])))
                   for name, entry in found.items()}
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        start = path.read_bytes()[:40] if size < 1000 else b''
        fix = ('it is a pointer of git LFS: fetch the file itself'
               if start.startswith(b'version https://git-lfs') else 'fetch or copy it again')
        raise CheckpointError(f'{path.name} is damaged', got=error, fix=fix) from error
    if size != 8 + length + end:
        raise CheckpointError(f'{path.name} is cut short or has too much',
                              expected=f'{8 + length + end} bytes', got=f'{size} bytes',
                              fix='fetch or copy it again')
    return headers


def model_headers(model_dir: Path) -> dict[str, TensorHeader]:
    """Read the headers of the vision-language model, in one file or in shards.

    Raises:
        CheckpointError: a file is missing or damaged, or shards and index do not fit together.
    """
    single = model_dir / 'model.safetensors'
    if single.is_file():
        return read_headers(single)
    entries = index_entries(model_dir / INDEX_FILE)
    headers: dict[str, TensorHeader] = {}
    for shard in sorted(set(entries.values())):
        path = model_dir / shard
        if path.parent != model_dir or not path.is_file():
            raise CheckpointError(f'{shard} is missing', expected=f'every file that {INDEX_FILE} '
                                  'names', fix='fetch or copy it again')
        headers |= read_headers(path)
    _compare(entries, headers)
    return headers


def mask_tokenizer_elements(path: Path) -> int:
    """Return how many values the mask tokenizer's file holds, as far as can be told without torch.

    Raises:
        CheckpointError: the file is damaged.
    """
    if path.suffix == '.safetensors':
        return sum(header.elements for header in read_headers(path).values())
    try:
        with zipfile.ZipFile(path) as archive:
            # One entry per tensor, as raw float32.
            return sum(entry.file_size for entry in archive.infolist()
                       if '/data/' in entry.filename) // 4
    except (zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(f'{path.name} is damaged', got=error,
                              fix='fetch or copy it again') from error


def _compare(entries: Mapping[str, str], headers: Mapping[str, TensorHeader]) -> None:
    """Compare the tensors of an index with those that the shards hold."""
    absent = sorted(entries.keys() - headers.keys())
    if absent:
        shown = ', '.join(absent[:_LISTED_NAMES]) + (', ...' if absent[_LISTED_NAMES:] else '')
        raise CheckpointError(f'shards lack tensors that {INDEX_FILE} names',
                              got=f'{len(absent)} missing ({shown})',
                              fix='index and shards are of different models: fetch them again')
