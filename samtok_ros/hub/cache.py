# SPDX-License-Identifier: Apache-2.0
"""Where the hub client keeps models on this machine, and which commit of each is pinned.

The layout is the hub client's own: content once under `blobs`, one folder of links per commit
under `snapshots`, and under `refs` what a name meant when it was fetched. Our pin is such a name.
"""

import os
import re
from pathlib import Path

PIN = 'samtok-pin'
"""Name under `refs` whose commit is the one that runs."""

_PREFIX = 'models--'
_COMMIT = re.compile(r'[0-9a-fA-F]{40}')


def repo_folder(repo: str) -> Path:
    """Return the cache folder of owner/name, which need not exist.

    The cache is where HF_HOME or HF_HUB_CACHE say, so a copy from another machine can be used.
    """
    from huggingface_hub import constants  # late: a path or 'tabletop' must not load it

    return Path(constants.HF_HUB_CACHE) / (_PREFIX + repo.replace('/', '--'))


def repo_of(model_dir: Path) -> str | None:
    """Return owner/name of a folder in a hub cache, None for any other folder."""
    folder = model_dir.parent.parent.name
    if model_dir.parent.name == 'snapshots' and folder.startswith(_PREFIX):
        return folder.removeprefix(_PREFIX).replace('--', '/', 1)
    return None


def cached_snapshot(repo: str) -> Path | None:
    """Return the folder of the pinned commit; without a pin, of what `main` last was.

    Returns:
        None if there is no such folder on this machine.
    """
    folder = repo_folder(repo)
    for name in (PIN, 'main'):
        ref = folder / 'refs' / name
        commit = ref.read_text(encoding='utf-8').strip() if ref.is_file() else ''
        # The file could have been written by anything: it must not lead out of the cache.
        if _COMMIT.fullmatch(commit) and (folder / 'snapshots' / commit).is_dir():
            return folder / 'snapshots' / commit
    return None


def pin(repo: str, commit: str) -> None:
    """Make a commit the one that runs under a model's name."""
    ref = repo_folder(repo) / 'refs' / PIN
    ref.parent.mkdir(parents=True, exist_ok=True)
    part = ref.with_name(f'{PIN}.{os.getpid()}')
    part.write_text(commit, encoding='utf-8')
    part.replace(ref)
