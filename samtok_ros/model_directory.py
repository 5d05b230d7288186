# SPDX-License-Identifier: Apache-2.0
"""Which directory a model name means, and whether it holds a model.

One directory is one model, laid out as the published checkpoints are: `config.json`, the files of
text tokenizer and processor, the weights of the vision-language model, and the mask tokenizer.
Nothing is ever downloaded here.
"""

import re
from pathlib import Path

from samtok_ros.errors import CheckpointError
from samtok_ros.hub.cache import cached_snapshot, repo_of
from samtok_ros.hub.manifest import Manifest

EMBEDDED_MODEL = 'tabletop'
MODELS_DIR = Path(__file__).parent / 'models'

_HUB_NAME = re.compile(r'[\w.-]+/[\w.-]+')


def resolve_model(model: str) -> Path:
    """Return the directory of a model.

    Args:
        model: 'tabletop' (ships with the package), a path, or 'owner/name' of a model in the local
            hub cache, at the commit that `samtok fetch` pinned.
    Raises:
        CheckpointError: there is no such directory; the text has the command that helps.
    """
    if model == EMBEDDED_MODEL:
        return _checked(MODELS_DIR / EMBEDDED_MODEL, 'the embedded model is not installed',
                        'run make setup, or install the package again')
    try:
        path = Path(model).expanduser()
    except RuntimeError:  # ~ with a user who does not exist
        path = Path(model)
    if model and path.is_dir():
        return path.resolve()
    if _HUB_NAME.fullmatch(model) and not model.startswith('.'):
        return _checked_snapshot(model)
    raise CheckpointError('there is no such model', expected=f'{EMBEDDED_MODEL!r}, a directory, or '
                          "'owner/name'", got=repr(model), fix='check the spelling of the path')


def model_name(model_dir: Path) -> str:
    """Return the name of a directory's model: 'owner/name' if it was fetched, else the folder's.

    The same model has the same name in the hub cache of one machine and in a folder that was
    carried to another one, so that each accepts the other's mask words.

    Raises:
        CheckpointError: the record of where the model came from is damaged.
    """
    cached = repo_of(model_dir)
    if cached is not None:
        return cached
    manifest = Manifest.read(model_dir)
    return manifest.repo if manifest is not None else model_dir.name


def split_tokenizer_id(tokenizer_id: str) -> tuple[str, str]:
    """Take the id of a mask tokenizer apart: name of its model, hash of its weights.

    Source: `tokenizer.checkpoint.tokenizer_id`, which joins them with '@'; a folder's name may hold
    another one.
    """
    name, _, digest = tokenizer_id.rpartition('@')
    return name, digest


def _checked(path: Path, message: str, fix: str) -> Path:
    if not path.is_dir():
        raise CheckpointError(message, expected=path, got='nothing there', fix=fix)
    return path


def _checked_snapshot(name: str) -> Path:
    try:
        snapshot = cached_snapshot(name)
    except ImportError as error:
        raise CheckpointError(
            'there is no such folder', got=repr(name), fix='check the spelling of the path; names '
            'of published models need huggingface_hub') from error
    if snapshot is None:
        raise CheckpointError('model is not on this machine', expected=f'{name} in the hub cache',
                              got='nothing there', fix=f'fetch it first: samtok fetch {name}')
    return snapshot
