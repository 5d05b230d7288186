# SPDX-License-Identifier: Apache-2.0
"""Fetches a model: look first, then transfer what is missing, check it, pin it."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError, HubError
from samtok_ros.hub.amounts import amount
from samtok_ros.hub.client import Hub, Listing, has_content
from samtok_ros.hub.manifest import FileRecord, Manifest, damage, sha256_of
from samtok_ros.hub.needed_files import INDEX_FILE, RemoteFile, check_index, needed_files
from samtok_ros.hub.stores import CacheStore, FolderStore, Store

DEFAULT_REVISION = 'main'
_SPARE_BYTES = 100_000_000
"""What must be left on the disk afterwards."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class FetchRequest:
    """What to fetch.

    Attributes:
        repo: owner/name.
        revision: branch, tag or commit; None for the pinned one, and `main` where nothing is
            pinned yet.
        folder: a plain folder to fetch into; None for the hub cache.
    """

    repo: str
    revision: str | None = None
    folder: Path | None = None

    @property
    def store(self) -> Store:
        """Where it goes."""
        return CacheStore(self.repo) if self.folder is None else FolderStore(self.folder)


def fetch(request: FetchRequest, hub: Hub, say: Say) -> Path:
    """Fetch a model, or find that it is there and whole, in which case no network is needed.

    May be called again after any failure and goes on where it stopped.

    Args:
        request: what.
        hub: from where.
        say: told in words what is going on.
    Returns:
        The model directory.
    Raises:
        HubError: the repository, the network, a permission or the disk is in the way.
        CheckpointError: the repository is no SAMTok model.
    """
    store = request.store
    pinned = _pinned(store, request)
    if pinned is not None and request.revision is None:
        model_dir, manifest = pinned
        say(f'{request.repo} is pinned to {manifest.commit} ({manifest.revision}), '
            'checking its files')
        found = list(damage(model_dir, manifest))
        if not found:
            say('all are whole; --revision main would look for a newer one')
            return model_dir
        say(f'to be fetched again: {"; ".join(found)}')
    revision = request.revision or (pinned[1].commit if pinned else DEFAULT_REVISION)
    listing, files = look(request, hub, revision)
    store.begin(listing)
    missing = _missing(store, files)
    _say_what(say, listing, revision, files, missing)
    parts = _transfer(store, hub, listing, missing)
    store.replace(listing, files)
    for part, path in parts.items():
        part.replace(path)
    model_dir = store.finish(hub, listing, files)
    asked = pinned[1].revision if pinned and request.revision is None else revision
    records = {file.name: FileRecord(file.size, file.sha256 or sha256_of(store.content(file)))
               for file in files}
    Manifest(request.repo, asked, listing.commit, records).write(model_dir)
    store.pin(listing)
    if pinned and pinned[1].commit != listing.commit:
        say(f'pinned to {listing.commit} now, it was {pinned[1].commit}')
    return model_dir


def look(request: FetchRequest, hub: Hub, revision: str) -> tuple[Listing, tuple[RemoteFile, ...]]:
    """Ask what a repository holds, and choose what is needed of it.

    Raises:
        HubError: as in `fetch`.
        CheckpointError: it is no SAMTok model.
    """
    listing = hub.listing(request.repo, revision)
    return listing, needed_files(listing.files, request.repo)


def verify(model_dir: Path) -> tuple[Manifest, list[str]]:
    """Compare a fetched model with its manifest; needs no network.

    Returns:
        The manifest, and one clause per file that is missing or has changed.
    Raises:
        CheckpointError: the directory has no manifest, or a damaged one.
    """
    manifest = Manifest.read(model_dir)
    if manifest is None or not manifest.files:
        raise CheckpointError(f'{model_dir} has no record of what its files must be',
                              fix='run samtok fetch OWNER/NAME, which writes one and keeps '
                              'files that are right')
    return manifest, list(damage(model_dir, manifest))


def _pinned(store: Store, request: FetchRequest) -> tuple[Path, Manifest] | None:
    """Return the model that is in use now, if we fetched it.

    Raises:
        HubError: the folder holds another model.
    """
    model_dir = store.present()
    manifest = Manifest.read(model_dir) if model_dir else None
    if manifest is None:
        return None
    if manifest.repo != request.repo:
        raise HubError(f'{model_dir} holds another model', expected=request.repo,
                       got=manifest.repo, fix='name another folder')
    return (model_dir, manifest) if manifest.files else None


def _missing(store: Store, files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return the files whose content is not there yet, or is damaged or of another revision."""
    return [file for file in files if not has_content(store.content(file), file)]


def _say_what(say: Say, listing: Listing, revision: str, files: Sequence[RemoteFile],
              missing: Sequence[RemoteFile]) -> None:
    say(f'{listing.repo} at {listing.commit} ({revision}): {len(files)} of its '
        f'{len(listing.files)} files are needed, {amount(_total(files))}; '
        f'{amount(_total(missing))} to be fetched')


def _transfer(store: Store, hub: Hub, listing: Listing,
              missing: Sequence[RemoteFile]) -> dict[Path, Path]:
    """Fetch contents, small ones first, so that a bad index is found before the weights.

    What is in use stays as it is: without a network or room, the model that is here still works.

    Returns:
        Where each part belongs; files of the same content may share one.
    """
    _check_room(store, missing)
    parts = {}
    names = {file.name for file in listing.files}
    for file in missing:
        path = store.content(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = _part(path)
        hub.download(listing, file, part)
        if file.name == INDEX_FILE:
            check_index(part, names)
        parts[part] = path
    return parts


def _check_room(store: Store, missing: Sequence[RemoteFile]) -> None:
    """Compare what is to come with the room on the disk.

    Raises:
        HubError: it does not fit.
    """
    if not missing:
        return
    folder = store.content(missing[0]).absolute().parent
    while not folder.exists():
        folder = folder.parent
    parts = (_part(store.content(file)) for file in missing)
    arrived = sum(part.stat().st_size for part in parts if part.exists())
    wanted = _total(missing) - arrived + _SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise HubError(f'the disk of {folder} is too small', expected=f'{amount(wanted)} free',
                       got=amount(free), fix='make room, or name a folder on another disk with '
                       '--folder or HF_HOME')
    if not os.access(folder, os.W_OK):
        raise HubError(f'{folder} cannot be written to', fix='name another place with --folder or '
                       'HF_HOME')


def _part(path: Path) -> Path:
    return path.with_name(f'{path.name}.part')


def _total(files: Iterable[RemoteFile]) -> int:
    return sum(file.size for file in files)
