# SPDX-License-Identifier: Apache-2.0
"""What was fetched, from where, and what every file must hash to: a file inside the model.

It goes wherever the model is copied, so that a robot without a network can check what it got.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError

MANIFEST_FILE = 'samtok_fetch.json'


@dataclass(frozen=True)
class FileRecord:
    """One file as it was when it was fetched.

    Attributes:
        size: in bytes.
        sha256: of its content, hexadecimal.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Where a model directory came from.

    Attributes:
        repo: owner/name.
        revision: branch, tag or commit that was asked for.
        commit: what it meant then; the model is pinned to it.
        files: by file name.
    """

    repo: str
    revision: str
    commit: str
    files: dict[str, FileRecord]

    def write(self, model_dir: Path) -> None:
        """Write it into a model directory, whole or not at all."""
        part = model_dir / f'{MANIFEST_FILE}.part'
        part.write_text(json.dumps(dataclasses.asdict(self), indent=2) + '\n', encoding='utf-8')
        part.replace(model_dir / MANIFEST_FILE)

    @classmethod
    def read(cls, model_dir: Path) -> 'Manifest | None':
        """Read the one of a model directory; None where there is none.

        Raises:
            CheckpointError: it is damaged.
        """
        path = model_dir / MANIFEST_FILE
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
            files = {str(name): FileRecord(int(file['size']), str(file['sha256']))
                     for name, file in found['files'].items()}
            return cls(str(found['repo']), str(found['revision']), str(found['commit']), files)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f'{path} is damaged', got=repr(error),
                                  fix='remove it and fetch the model again') from error


def damage(model_dir: Path, manifest: Manifest) -> Iterator[str]:
    """Compare every file of a model directory with its manifest, one after the other.

    Returns:
        One clause per file that is missing or has changed; nothing when all is well.
    """
    for name, record in manifest.files.items():
        path = model_dir / name
        if not path.is_file():
            yield f'{name} is missing'
        elif path.stat().st_size != record.size:
            yield f'{name} has {path.stat().st_size} bytes instead of {record.size}'
        elif sha256_of(path) != record.sha256:
            yield f'{name} has changed: its SHA-256 is not {record.sha256}'


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()
