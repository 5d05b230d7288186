# SPDX-License-Identifier: Apache-2.0
"""Run directories: curves, atomic checkpoints, a time budget that survives being killed."""

import json
import logging
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtok_ros.errors import CheckpointError

logger = logging.getLogger(__name__)


def save_atomically(state: Any, path: Path) -> None:
    """Write a torch file so that a reader sees the old one or the new one, never a part."""
    scratch = path.with_name(path.name + '.part')
    with open(scratch, 'wb') as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(scratch, path)


def random_state() -> dict[str, Any]:
    """Return the state of every random generator that training draws from."""
    state: dict[str, Any] = {
        'python': random.getstate(),
        'numpy': np.random.get_state(),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Undo `random_state`: the next draws equal those after the state was taken."""
    random.setstate(state['python'])
    np.random.set_state(state['numpy'])
    torch.set_rng_state(state['torch'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state['cuda'])


@dataclass(frozen=True)
class Budget:
    """How long a run may train; the learning rate decays to its end.

    Attributes:
        wall_s: seconds of wall clock over all resumptions, 0 = no limit.
        cpu_s: seconds of process CPU time over all resumptions, 0 = no limit.
        end_unix_s: moment at which the run must be over, 0 = none. Counts from the start of the
            run, so a resumed run still ends there.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    end_unix_s: float = 0.0


class RunDirectory:
    """One training run on disk: `curves.jsonl` (a line a record), `state.pt` (checkpoint)."""

    def __init__(self, path: Path | str, *, log_every_s: float = 15.0):
        """Open or create the directory.

        Args:
            path: directory of the run; created with its parents.
            log_every_s: least seconds between two progress lines in the log.
        """
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.curves_path = self.path / 'curves.jsonl'
        self.state_path = self.path / 'state.pt'
        self._log_every_s = log_every_s
        self._last_report_s = 0.0
        self._wall_before_s = 0.0
        self._cpu_before_s = 0.0
        self._first_unix_s = time.time()
        self._start_wall_s = time.monotonic()
        self._start_cpu_s = time.process_time()

    @property
    def wall_s(self) -> float:
        """Seconds of wall clock used so far, those before a resumption included."""
        return self._wall_before_s + time.monotonic() - self._start_wall_s

    @property
    def cpu_s(self) -> float:
        """Seconds of process CPU time used so far, those before a resumption included."""
        return self._cpu_before_s + time.process_time() - self._start_cpu_s

    def progress(self, budget: Budget) -> float:
        """Return how much of the tightest limit of the budget is used, 0..1 (0 without limits)."""
        shares = [0.0]
        if budget.wall_s > 0:
            shares.append(self.wall_s / budget.wall_s)
        if budget.cpu_s > 0:
            shares.append(self.cpu_s / budget.cpu_s)
        if budget.end_unix_s > 0:
            length_s = max(budget.end_unix_s - self._first_unix_s, 1e-6)
            shares.append((time.time() - self._first_unix_s) / length_s)
        return min(1.0, max(shares))

    def log(self, step: int, **values: float | int | str) -> None:
        """Append one line to the curves and, every `log_every_s` seconds, to the log as well."""
        record = {'step': step, 'wall_s': round(self.wall_s, 1), 'cpu_s': round(self.cpu_s, 1)}
        for key, value in values.items():
            record[key] = float(f'{value:.5g}') if isinstance(value, float) else value
        with open(self.curves_path, 'ab+') as stream:
            if stream.tell():
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b'\n':  # a kill cut the last line short
                    stream.write(b'\n')
            stream.write(json.dumps(record).encode() + b'\n')
        if time.monotonic() - self._last_report_s >= self._log_every_s:
            self._last_report_s = time.monotonic()
            logger.info(' '.join(f'{key}={value}' for key, value in record.items()))

    def curves(self) -> list[dict[str, Any]]:
        """Return the logged lines in order; a line cut off by a kill is left out."""
        if not self.curves_path.exists():
            return []
        records = []
        for line in self.curves_path.read_text(encoding='utf-8').splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def save(self, state: dict[str, Any], name: str = 'state.pt') -> None:
        """Write a checkpoint atomically, with the used time and the random state beside it."""
        clock = {'wall_s': self.wall_s, 'cpu_s': self.cpu_s, 'first_unix_s': self._first_unix_s}
        save_atomically({'run': state, 'clock': clock, 'random': random_state()},
                        self.path / name)

    def load(self, name: str = 'state.pt') -> dict[str, Any] | None:
        """Return what `save` was given, restoring clock and random state; None without checkpoint.

        Raises:
            CheckpointError: the file is not a checkpoint written by `save`.
        """
        path = self.path / name
        if not path.exists():
            return None
        # Own file: optimiser and generator states are not plain tensors.
        stored = torch.load(path, map_location='cpu', weights_only=False)
        if not isinstance(stored, dict) or not {'run', 'clock', 'random'} <= stored.keys():
            raise CheckpointError(f'{path} is not a training checkpoint',
                                  expected='a file written by RunDirectory.save',
                                  got=type(stored).__name__,
                                  fix='remove the file to start the run anew')
        self._wall_before_s = stored['clock']['wall_s']
        self._cpu_before_s = stored['clock']['cpu_s']
        self._first_unix_s = stored['clock']['first_unix_s']
        self._start_wall_s = time.monotonic()
        self._start_cpu_s = time.process_time()
        restore_random_state(stored['random'])
        return stored['run']
