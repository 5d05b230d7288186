# SPDX-License-Identifier: Apache-2.0
"""Which files of a repository a SAMTok model consists of; looked at before anything is fetched."""

import json
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError

INDEX_FILE = 'model.safetensors.index.json'

MASK_TOKENIZERS = ('mask_tokenizer.safetensors', 'mask_tokenizer_256x2.pth')
# One name of each row must be there.
_REQUIRED = (
    ('config.json',),
    ('tokenizer.json', 'vocab.json', 'tokenizer.model'),
    ('processor_config.json', 'preprocessor_config.json'),
    ('model.safetensors', INDEX_FILE),
    MASK_TOKENIZERS,
)
# Small files: settings, vocabulary, chat template, licence.
_SMALL = re.compile(r'(?!trainer_state)[\w.-]+\.(json|jinja)|merges\.txt|tokenizer\.model|'
                    r'LICEN[CS]E[\w.-]*')
_WEIGHTS = re.compile(r'model[\w.-]*\.safetensors')
_LISTED_NAMES = 6


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository.

    Attributes:
        name: path in the repository.
        size: in bytes.
        git_sha1: git's hash of it; of large files, git's hash of a pointer only.
        sha256: of its content, large files only.
    """

    name: str
    size: int
    git_sha1: str
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """Name by which the hub and its cache know the content."""
        return self.sha256 or self.git_sha1


def needed_files(files: Sequence[RemoteFile], repo: str) -> tuple[RemoteFile, ...]:
    """Choose the files that are worth fetching, small ones first.

    Weights in other formats, copies of them, training states and folders are left out, and so is
    the SAM 2 checkpoint: the mask tokenizer holds all of it.

    Args:
        files: all of the repository.
        repo: owner/name, for the error.
    Raises:
        CheckpointError: it is no SAMTok model; names what is lacking.
    """
    names = {file.name for file in files}
    absent = lacking(names)
    if absent:
        raise CheckpointError(
            f'{repo} is no SAMTok model, nothing was fetched', expected=', '.join(absent),
            got=_listed(sorted(names)), fix='check the name; a model must hold its mask tokenizer')
    mask_tokenizer = next(name for name in MASK_TOKENIZERS if name in names)
    sharded = INDEX_FILE in names
    chosen = [file for file in files
              if _SMALL.fullmatch(file.name) or file.name == mask_tokenizer
              or (_WEIGHTS.fullmatch(file.name)
                  and sharded == (file.name != 'model.safetensors'))]
    return tuple(sorted(chosen, key=lambda file: (file.size, file.name)))


def lacking(names: Set[str]) -> list[str]:
    """Return what a directory or repository with these files lacks, one entry per need."""
    return [' or '.join(row) for row in _REQUIRED if not names & set(row)]


def check_index(path: Path, names: set[str]) -> None:
    """Check that every shard the index speaks of is in the repository.

    Args:
        path: the index, fetched.
        names: of all files of the repository.
    Raises:
        CheckpointError: the index is damaged, or a shard is missing.
    """
    missing = sorted(set(index_entries(path).values()) - names)
    if missing:
        raise CheckpointError(f'the repository lacks weights that {INDEX_FILE} names',
                              got=f'{len(missing)} missing ({_listed(missing)})',
                              fix='try another revision')


def index_entries(path: Path) -> dict[str, str]:
    """Return which shard each tensor lies in.

    Raises:
        CheckpointError: the index is damaged.
    """
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))['weight_map']
        return {str(tensor): str(shard) for tensor, shard in entries.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f'{path} is damaged', got=repr(error),
                              fix='fetch or copy the file again') from error


def _listed(names: Sequence[str]) -> str:
    shown = ', '.join(names[:_LISTED_NAMES]) or 'no files'
    return shown if len(names) <= _LISTED_NAMES else f'{shown}, ...'
