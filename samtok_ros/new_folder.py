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
    """Give a folder beside the wanted one, and rename it when nothing went wrong.

    Args:
        path: the wanted folder; must not exist or be empty.
    Raises:
        ConfigError: there is something at the path.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f'there is something at {path}', fix='name a new folder')
    path = path.absolute()
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    part.mkdir(parents=True)
    try:
        yield part
        if path.exists():
            path.rmdir()
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
