# SPDX-License-Identifier: Apache-2.0
"""Scenes on disk: shards that appear whole or not at all, read through memory maps."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.sampling import SceneDescription, SceneObject

FORMAT = 1
_META = 'scenes.json'
_RGB, _SEGMENTATION, _DESCRIPTIONS = 'rgb.npy', 'segmentation.npy', 'descriptions.jsonl'


@dataclass(frozen=True)
class StorePlan:
    """What a store holds once it is complete; a run that resumes must have the same plan.

    Attributes:
        split: 'train' or 'heldout'.
        seed: base seed; scene i has the seed `seed * 10 ** 7 + i`.
        size_hw: height and width of the pictures.
        shard_scenes: scenes per shard; the last shard may hold fewer.
    """

    split: str
    seed: int
    size_hw: tuple[int, int]
    shard_scenes: int

    def scene_seed(self, index: int) -> int:
        """Return the seed of one scene; no two base seeds share one."""
        return self.seed * 10 ** 7 + index


def open_plan(directory: Path, plan: StorePlan) -> None:
    """Write the plan into a new store, or compare it with what is there.

    Raises:
        ConfigError: the store was made with another plan.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / _META
    wanted = {'format': FORMAT, **asdict(plan), 'size_hw': list(plan.size_hw)}
    if path.exists():
        found = json.loads(path.read_text())
        if found != wanted:
            raise ConfigError(f'{directory} holds other scenes', expected=wanted, got=found,
                              fix='choose another directory, or delete this one')
        return
    path.write_text(json.dumps(wanted, indent=1) + '\n')


def shard_path(directory: Path, shard: int) -> Path:
    """Return the folder of one shard."""
    return directory / f'shard-{shard:05d}'


def shard_length(directory: Path, shard: int) -> int:
    """Return how many scenes a finished shard holds, 0 without one."""
    path = shard_path(directory, shard)
    return len(np.load(path / _RGB, mmap_mode='r')) if path.is_dir() else 0


def write_shard(directory: Path, shard: int, rgb: np.ndarray, segmentation: np.ndarray,
                descriptions: list[SceneDescription]) -> None:
    """Write one shard so that a reader, or a run after a crash, sees all of it or nothing.

    It takes the place of a shard with this number.

    Args:
        directory: the store.
        shard: its number.
        rgb: (N, H, W, 3) uint8.
        segmentation: (N, H, W) uint8.
        descriptions: N descriptions.
    """
    final = shard_path(directory, shard)
    draft = final.with_name(f'.{final.name}')
    shutil.rmtree(draft, ignore_errors=True)  # what a killed run may have left
    draft.mkdir()
    np.save(draft / _RGB, rgb)
    np.save(draft / _SEGMENTATION, segmentation)
    lines = ''.join(json.dumps(asdict(description)) + '\n' for description in descriptions)
    (draft / _DESCRIPTIONS).write_text(lines)
    shutil.rmtree(final, ignore_errors=True)  # a shorter one, where a store grows
    draft.rename(final)


class SceneStore:
    """Reads the scenes of a directory, also while more are being written into it.

    Only the unbroken run of shards from the first one on is seen, so scene i is the same scene
    whenever the store is opened. What is finished later is seen by a store opened later.

    Args:
        directory: where the scenes are.
    Raises:
        ConfigError: there is no store, or no finished shard yet, or one before the last is short.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        meta = self.directory / _META
        if not meta.exists():
            raise ConfigError(f'no scenes in {self.directory}',
                              fix='run: samtok train scenes --out DIR')
        found = json.loads(meta.read_text())
        self.plan = StorePlan(found['split'], found['seed'], tuple(found['size_hw']),
                              found['shard_scenes'])
        self._rgb: list[np.ndarray] = []
        self._segmentation: list[np.ndarray] = []
        self._descriptions: list[str] = []
        while (path := shard_path(self.directory, len(self._rgb))).is_dir():
            self._check_last_is_full()
            self._rgb.append(np.load(path / _RGB, mmap_mode='r'))
            self._segmentation.append(np.load(path / _SEGMENTATION, mmap_mode='r'))
            self._descriptions += (path / _DESCRIPTIONS).read_text().splitlines()
        if not self._rgb:
            raise ConfigError(f'no finished shard in {self.directory} yet',
                              fix='wait for the first shard, or run: samtok train scenes')

    def __len__(self) -> int:
        return len(self._descriptions)

    def rgb(self, index: int) -> np.ndarray:
        """Return the picture, (H, W, 3) uint8, read-only."""
        shard, row = self._place(index)
        return self._rgb[shard][row]

    def segmentation(self, index: int) -> np.ndarray:
        """Return the object ids, (H, W) uint8, 0 where there is none, read-only."""
        shard, row = self._place(index)
        return self._segmentation[shard][row]

    def description(self, index: int) -> SceneDescription:
        """Return what is in the picture."""
        self._place(index)
        return description_from_json(self._descriptions[index])

    def _check_last_is_full(self) -> None:
        """Refuse a store that goes on behind a short shard: scenes are found by their number."""
        full = self.plan.shard_scenes
        if self._rgb and len(self._rgb[-1]) != full:
            raise ConfigError(f'{shard_path(self.directory, len(self._rgb) - 1)} is not full, and '
                              'it is not the last', expected=f'{full} scenes',
                              got=len(self._rgb[-1]),
                              fix='run samtok train scenes again: it renders short shards anew')

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f'scene {index} of {len(self)}')
        return divmod(index, self.plan.shard_scenes)


def description_from_json(line: str) -> SceneDescription:
    """Read a description back from a line of a shard."""
    fields = json.loads(line)
    fields['objects'] = tuple(
        SceneObject(**{name: tuple(value) if isinstance(value, list) else value
                       for name, value in thing.items()}) for thing in fields['objects'])
    return SceneDescription(**fields)
