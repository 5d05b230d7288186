# SPDX-License-Identifier: Apache-2.0
"""Makes room for new words in the weights of a language model: shards in, shards out.

Only the shards that hold the two tables (input embeddings, head) are ever in memory.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from samtok_ros.errors import CheckpointError
from samtok_ros.language.json_files import read_json, write_json

INDEX_FILE = 'model.safetensors.index.json'
_INPUT_TABLE, _HEAD = 'embed_tokens.weight', 'lm_head.weight'
_NOISE, _LEAST_SPREAD = 0.02, 1e-3


class TableGrowth:
    """Makes room in the tables, input embeddings first, and remembers what it did."""

    def __init__(self, first_id: int, count: int, seed: int) -> None:
        self._first, self._last = first_id, first_id + count
        self._seed = seed
        self.tables: list[str] = []
        self.old_rows = self.new_rows = 0
        self.dtype: torch.dtype = torch.float32
        self._known: torch.Tensor | None = None
        self._rows: torch.Tensor | None = None

    def __call__(self, name: str, table: torch.Tensor) -> torch.Tensor:
        """Return a table with rows for the words, in its own number format.

        A head that equals the input embeddings, as when a tied one is stored all the same, stays
        equal.
        """
        if not table.is_floating_point() or table.ndim != 2 or len(table) < self._first:
            raise CheckpointError(f'{name} cannot be extended',
                                  expected=f'(rows, width) floats, {self._first} rows or more',
                                  got=f'{tuple(table.shape)} {table.dtype}',
                                  fix='use a base model that is not quantised')
        if self.tables and len(table) != self.old_rows:
            raise CheckpointError(f'{name} and {self.tables[0]} do not fit together',
                                  expected=f'{self.old_rows} rows', got=len(table),
                                  fix='fetch or copy the model again')
        self.old_rows, self.new_rows = len(table), max(len(table), self._last)
        self.dtype = table.dtype
        self.tables.append(name)
        known = table[: self._first]
        if self._rows is None or not torch.equal(known, self._known):
            self._known, self._rows = known, self._drawn(known.float())
        grown = table.new_zeros(self.new_rows, table.shape[1])
        grown[: len(table)] = table
        grown[self._first : self._last] = self._rows
        return grown

    def _drawn(self, known: torch.Tensor) -> torch.Tensor:
        # A stream of random numbers of its own for each table, whatever order they come in.
        generator = torch.Generator().manual_seed(2 * self._seed + len(self.tables))
        noise = torch.randn(self._last - self._first, known.shape[1], generator=generator)
        spread = known.std(dim=0).clamp_min(_LEAST_SPREAD)
        return known.mean(dim=0) + _NOISE * noise * spread


def extend_weights(base_dir: Path, out_dir: Path, grow: TableGrowth) -> None:
    """Write the shards that hold the tables anew, and copy the others."""
    files = _tensor_files(base_dir)
    old = _read_tables(base_dir, files)
    new = {name: grow(name, table) for name, table in old.items()}
    for file in sorted(set(files.values())):
        mine = {name: table for name, table in new.items() if files[name] == file}
        if mine:
            _rewrite_shard(base_dir / file, out_dir / file, mine)
        else:
            shutil.copyfile(base_dir / file, out_dir / file)
    if (base_dir / INDEX_FILE).is_file():
        index = read_json(base_dir / INDEX_FILE)
        metadata = index.setdefault('metadata', {})
        growth = sum(new[name].nbytes - old[name].nbytes for name in old)
        metadata['total_size'] = metadata.get('total_size', 0) + growth
        write_json(out_dir / INDEX_FILE, index)


def _read_tables(model_dir: Path, files: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Return the input embeddings, and the head where the files hold one, by name."""
    names = [_only(files, model_dir, _INPUT_TABLE)]
    if any(name.endswith(_HEAD) for name in files):
        names.append(_only(files, model_dir, _HEAD))
    tables = {}
    for name in names:
        with safe_open(model_dir / files[name], framework='pt') as shard:
            tables[name] = shard.get_tensor(name)
    return tables


def _rewrite_shard(source: Path, target: Path, changed: Mapping[str, torch.Tensor]) -> None:
    with safe_open(source, framework='pt') as shard:
        tensors = {name: changed[name] if name in changed else shard.get_tensor(name)
                   for name in shard.keys()}  # noqa: SIM118, it is no mapping
        save_file(tensors, target, metadata=shard.metadata() or {'format': 'pt'})


def _tensor_files(model_dir: Path) -> dict[str, str]:
    """Return the file of every tensor by name."""
    if (model_dir / INDEX_FILE).is_file():
        files = read_json(model_dir / INDEX_FILE).get('weight_map', {})
        lost = sorted({file for file in files.values() if not (model_dir / file).is_file()})
        if lost or not files:
            raise CheckpointError(f'{model_dir} lacks weights', expected=', '.join(lost),
                                  fix='fetch or copy the model again')
        return files
    with safe_open(model_dir / 'model.safetensors', framework='pt') as shard:
        return dict.fromkeys(shard.keys(), 'model.safetensors')


def _only(files: Mapping[str, str], model_dir: Path, ending: str) -> str:
    """Return the one tensor of that ending."""
    names = [name for name in files if name.endswith(ending)]
    if len(names) != 1:
        raise CheckpointError(f'weights in {model_dir} are not those of a language model',
                              expected=f'one tensor *{ending}', got=names or 'none',
                              fix='check that it is a model of transformers')
    return names[0]
