# SPDX-License-Identifier: Apache-2.0
"""What setup_env.py has done already, and digests that tell whether it has to be done again."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

INTERFACE_FOLDERS = ('msg', 'srv', 'action')
# Folders whose files are linked one by one: new names matter, new contents do not.
LINKED_FOLDERS = ('samtok_ros', 'launch', 'config')


class Stamps:
    """Named digests in a JSON file; a stamp is written only after its step has succeeded."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _load(self) -> dict[str, str]:
        try:
            loaded = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def read(self, name: str) -> str:
        """Return the digest of one step, empty when the step has not been done."""
        return self._load().get(name, '')

    def write(self, name: str, digest: str) -> None:
        """Remember a step as done for this digest; an empty digest means not done."""
        stamps = self._load() | {name: digest}
        part = self._path.with_suffix('.part')
        part.write_text(json.dumps(stamps, indent=2) + '\n')
        os.replace(part, self._path)


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()


def requirements_digest(files: Iterable[Path]) -> str:
    """Return a digest of the lock files' names and contents."""
    return _digest(part for file in files for part in (file.name.encode(), file.read_bytes()))


def sources_digest(root: Path) -> str:
    """Return a digest of everything that makes CMake or the compiler run again."""
    files = [root / 'CMakeLists.txt', root / 'package.xml',
             *(root / 'tools' / name for name in ('program.py.in', 'samtok_venv.py'))]
    for folder in INTERFACE_FOLDERS:
        files += sorted((root / folder).glob(f'*.{folder}'))
    return _digest(part for file in files
                   for part in (str(file.relative_to(root)).encode(), file.read_bytes()))


def package_names_digest(root: Path) -> str:
    """Return a digest of the names of all files that are installed as links."""
    names = sorted(str(path.relative_to(root)) for folder in LINKED_FOLDERS
                   for path in (root / folder).rglob('*')
                   if path.is_file() and '__pycache__' not in path.parts)
    return _digest(name.encode() for name in names)
