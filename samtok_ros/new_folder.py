# SPDX-License-Identifier: Apache-2.0
"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samtok_ros.errors import ConfigError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into, and put it at its place when nothing went wrong.

    A folder that exists is filled and not replaced: somebody may stand in it, and a mount point
    cannot be replaced.

    Args:
        path: the wanted folder, or a link to it; must not exist or be empty.
    Raises:
        ConfigError: there is something at the path.
    """
    path = path.resolve()
    exists = path.exists()
    if exists and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f'there is something at {path}', fix='name a new folder')
    name = f'.{path.name}.{os.getpid()}.part'
    part = path / name if exists else path.with_name(name)
    part.mkdir(parents=True)
    try:
        yield part
        if exists:
            for file in sorted(part.iterdir()):
                file.replace(path / file.name)
        else:
            part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
