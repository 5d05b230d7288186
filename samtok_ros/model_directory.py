# SPDX-License-Identifier: Apache-2.0
"""Which directory a model name means, and whether it holds a model.

One directory is one model, laid out as the published checkpoints are: `config.json`, the files of
text tokenizer and processor, the weights of the vision-language model, and the mask tokenizer.
Nothing is ever downloaded here.
"""

import re
from pathlib import Path

from samtok_ros.errors import CheckpointError

EMBEDDED_MODEL = 'tabletop'
MODELS_DIR = Path(__file__).parent / 'models'

_CACHED = 'models--'
_HUB_NAME = re.compile(r'[\w.-]+/[\w.-]+')


def resolve_model(model: str) -> Path:
    """Return the directory of a model.

    Args:
        model: 'tabletop' (ships with the package), a path, or 'owner/name' of a model that is in
            the local hub cache.
    Raises:
        CheckpointError: there is no such directory; the text has the command that helps.
    """
    if model == EMBEDDED_MODEL:
        return _checked(MODELS_DIR / EMBEDDED_MODEL, 'the embedded model is not installed',
                        'run make setup, or install the package again')
    path = Path(model).expanduser()
    if model and path.is_dir():
        return path.resolve()
    if _HUB_NAME.fullmatch(model) and not model.startswith('.'):
        return _cached_snapshot(model)
    raise CheckpointError('there is no such model', expected=f'{EMBEDDED_MODEL!r}, a directory, or '
                          "'owner/name'", got=repr(model), fix='check the spelling of the path')


def model_name(model_dir: Path) -> str:
    """Return the name of a directory's model: 'owner/name' in the hub cache, else the folder's.

    Snapshots in the hub cache are folders named by a commit, two below `models--owner--name`.
    """
    cached = model_dir.parent.parent.name
    if model_dir.parent.name == 'snapshots' and cached.startswith(_CACHED):
        return cached.removeprefix(_CACHED).replace('--', '/', 1)
    return model_dir.name


def _checked(path: Path, message: str, fix: str) -> Path:
    if not path.is_dir():
        raise CheckpointError(message, expected=path, got='nothing there', fix=fix)
    return path


def _cached_snapshot(name: str) -> Path:
    # Imported late: resolving a path must not load the hub client.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise CheckpointError('model is not on this machine', expected=f'{name} in the hub cache',
                              got='nothing there', fix=f'fetch it first with the hub client: '
                              f'hf download {name}') from error
