# SPDX-License-Identifier: Apache-2.0
"""Where a fetched model goes: the hub client's cache, or a plain folder to carry elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from samtok_ros.errors import HubError
from samtok_ros.hub import cache
from samtok_ros.hub.client import Hub, Listing
from samtok_ros.hub.manifest import Manifest
from samtok_ros.hub.needed_files import RemoteFile


class Store(Protocol):
    """A place for models."""

    def present(self) -> Path | None:
        """Return the model directory that is in use now, None where there is none."""

    def begin(self, listing: Listing) -> None:
        """Make the place ready, before anything is written there."""

    def content(self, file: RemoteFile) -> Path:
        """Return where the whole content of a file lies or will lie."""

    def replace(self, listing: Listing, files: Sequence[RemoteFile]) -> None:
        """Take the model out of use whose contents are about to be replaced by these files."""

    def finish(self, hub: Hub, listing: Listing, files: Sequence[RemoteFile]) -> Path:
        """Turn contents into a model directory, once all of them are there; return it."""

    def pin(self, listing: Listing) -> None:
        """Make the directory the one in use."""


class CacheStore:
    """The hub client's cache; `OWNER/NAME` then means the pinned commit."""

    def __init__(self, repo: str) -> None:
        self._repo = repo

    def present(self) -> Path | None:
        """See Store."""
        return cache.cached_snapshot(self._repo)

    def begin(self, listing: Listing) -> None:
        """See Store. Contents are named by their hash, so nothing can be in the way."""

    def content(self, file: RemoteFile) -> Path:
        """See Store."""
        return cache.repo_folder(self._repo) / 'blobs' / file.etag

    def replace(self, listing: Listing, files: Sequence[RemoteFile]) -> None:
        """See Store. Contents of two commits lie beside each other."""

    def finish(self, hub: Hub, listing: Listing, files: Sequence[RemoteFile]) -> Path:
        """See Store. The hub client finds the contents in place and makes its links."""
        model_dir = cache.repo_folder(self._repo) / 'snapshots' / listing.commit
        for file in files:
            linked = model_dir / file.name
            if not (linked.exists() and linked.samefile(self.content(file))):
                linked.unlink(missing_ok=True)
                hub.link(listing, file)
        return model_dir

    def pin(self, listing: Listing) -> None:
        """See Store."""
        cache.pin(self._repo, listing.commit)


class FolderStore:
    """One plain folder that holds one model; its path is its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def present(self) -> Path | None:
        """See Store."""
        return self._folder if self._folder.is_dir() else None

    def begin(self, listing: Listing) -> None:
        """See Store.

        Raises:
            HubError: other files are there, which might be overwritten.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if Manifest.read(self._folder) is not None:
            return
        if any(self._folder.iterdir()):
            raise HubError(f'{self._folder} holds other files', expected='an empty folder',
                           fix='name another folder')
        self._mark_as_not_whole(listing)

    def content(self, file: RemoteFile) -> Path:
        """See Store."""
        return self._folder / file.name

    def replace(self, listing: Listing, files: Sequence[RemoteFile]) -> None:
        """See Store. Removes what an earlier fetch put there and the model no longer has.

        Only then the earlier manifest goes, as it alone knows those names.
        """
        earlier = Manifest.read(self._folder)
        for name in set(earlier.files if earlier else ()) - {file.name for file in files}:
            (self._folder / name).unlink(missing_ok=True)
        self._mark_as_not_whole(listing)

    def finish(self, hub: Hub, listing: Listing, files: Sequence[RemoteFile]) -> Path:
        """See Store. All contents lie where they belong."""
        return self._folder

    def pin(self, listing: Listing) -> None:
        """See Store. The manifest in the folder is all there is to it."""

    def _mark_as_not_whole(self, listing: Listing) -> None:
        """Say with a manifest without files that the folder is ours, but not whole yet."""
        Manifest(listing.repo, listing.commit, listing.commit, {}).write(self._folder)
