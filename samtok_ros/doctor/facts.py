# SPDX-License-Identifier: Apache-2.0
"""Facts about this machine, gathered without trusting any library."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtok_ros.doctor.probes import PROBES

_PROBE_FILE = Path(__file__).with_name('probes.py')
_PACKAGE_PARENT = Path(__file__).parents[2]
_TIMEOUT_S = 120
_ENVIRONMENT = ('ROS_DISTRO', 'AMENT_PREFIX_PATH', 'RMW_IMPLEMENTATION', 'ROS_DOMAIN_ID',
                'VIRTUAL_ENV', 'MUJOCO_GL', 'HF_HOME', 'HF_HUB_OFFLINE')


@dataclass(frozen=True)
class Probed:
    """What looking at one library gave.

    Attributes:
        facts: as `probes.py` tells them; empty when it failed.
        error: why it cannot be used, None when it can.
    """

    facts: Mapping[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class Facts:
    """This machine.

    Attributes:
        python: version of the interpreter.
        executable: path of it.
        system: name of the operating system and processor.
        cores: processor cores that this process may use.
        memory_bytes: of the machine; 0 if unknown.
        free_memory_bytes: what programs may still take; 0 if unknown.
        free_disk_bytes: by what the place is for.
        environment: variables that matter here, those that are set.
        probed: by name of the probe.
    """

    python: tuple[int, ...]
    executable: str
    system: str
    cores: int
    memory_bytes: int
    free_memory_bytes: int
    free_disk_bytes: Mapping[str, int]
    environment: Mapping[str, str]
    probed: Mapping[str, Probed]

    @property
    def device(self) -> str:
        """The torch device that the setting auto stands for."""
        return 'cuda' if self.probed['torch'].facts.get('devices') else 'cpu'


def collect_facts() -> Facts:
    """Look at everything; takes a few seconds."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        probed = dict(zip(PROBES, pool.map(_probe, PROBES), strict=True))
    total, free = _memory()
    return Facts(
        python=sys.version_info[:3], executable=sys.executable,
        system=f'{platform.system()} {platform.machine()}', cores=len(os.sched_getaffinity(0)),
        memory_bytes=total, free_memory_bytes=free, free_disk_bytes=_disks(),
        environment={name: os.environ[name] for name in _ENVIRONMENT if os.environ.get(name)},
        probed=probed)


def _probe(name: str) -> Probed:
    """Try one library in a process of its own."""
    paths = [str(_PACKAGE_PARENT), *filter(None, [os.environ.get('PYTHONPATH')])]
    try:
        done = subprocess.run(
            [sys.executable, '-P', str(_PROBE_FILE), name], capture_output=True, check=False,
            timeout=_TIMEOUT_S, env=os.environ | {'PYTHONPATH': os.pathsep.join(paths)})
    except subprocess.TimeoutExpired:
        return Probed({}, f'did not answer within {_TIMEOUT_S} s')
    try:
        answer = json.loads(done.stdout)
        return Probed(answer['facts'], answer['error'])
    except ValueError:
        last = done.stderr.decode(errors='replace').strip().splitlines()[-1:]
        return Probed({}, f'crashed with exit status {done.returncode}'
                      + (f': {last[0]}' if last else ''))


def _memory() -> tuple[int, int]:
    """Return bytes of memory: all of it, and what programs may still take."""
    try:
        lines = Path('/proc/meminfo').read_text(encoding='ascii').splitlines()
        kilobytes = {line.split(':')[0]: int(line.split()[1]) for line in lines}
        return kilobytes['MemTotal'] * 1024, kilobytes['MemAvailable'] * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return 0, 0


def _disks() -> dict[str, int]:
    """Return free bytes where models are kept and where we are."""
    from samtok_ros.hub.cache import repo_folder

    places = {'this folder': Path.cwd()}
    with contextlib.suppress(ImportError):  # without the hub client there is no cache
        places = {'hub cache': repo_folder('owner/name').parent} | places
    return {what: shutil.disk_usage(_existing(place)).free for what, place in places.items()}


def _existing(place: Path) -> Path:
    place = place.absolute()
    while not place.exists():
        place = place.parent
    return place
