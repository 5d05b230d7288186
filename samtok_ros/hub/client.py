# SPDX-License-Identifier: Apache-2.0
"""The hub: what is in a repository, and one file of it.

Transfers are plain HTTP with the hub client's own request, progress bar and retries. Its chunked
protocol (Xet) is not used and neither is its own download call: both throw a part of a file away
when they fail, and a part of five gigabytes is worth keeping.
"""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import HubError
from samtok_ros.hub.needed_files import RemoteFile

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Listing:
    """A repository at one commit.

    Attributes:
        repo: owner/name.
        commit: 40 hexadecimal digits.
        files: all of them.
    """

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]


class Hub:
    """A hub at one address, reached through the proxy that the environment names."""

    def __init__(self, endpoint: str | None = None) -> None:
        """Use a hub.

        Args:
            endpoint: its address; the one of HF_ENDPOINT, else the public one, when left out.
        Raises:
            HubError: the hub client is not installed.
        """
        try:
            from huggingface_hub import constants
        except ImportError as error:
            raise HubError('huggingface_hub is not installed', got=error,
                           fix='run pip install huggingface-hub') from error
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip('/')

    def listing(self, repo: str, revision: str) -> Listing:
        """Ask what a repository holds.

        Args:
            repo: owner/name.
            revision: branch, tag or commit.
        Raises:
            HubError: it does not exist, or the hub cannot be reached.
        """
        from huggingface_hub import HfApi, constants

        with self._named_errors(repo, revision):
            info = HfApi(endpoint=self.endpoint).model_info(
                repo, revision=revision, files_metadata=True,
                timeout=constants.HF_HUB_ETAG_TIMEOUT)
        files = tuple(
            RemoteFile(file.rfilename, file.lfs.size if file.lfs else file.size, file.blob_id,
                       file.lfs.sha256 if file.lfs else None)
            for file in info.siblings or ())
        return Listing(repo, info.sha, files)

    def download(self, listing: Listing, file: RemoteFile, part: Path) -> None:
        """Fetch one file, going on where an earlier transfer broke off, and check its hash.

        Args:
            listing: what the file is from.
            file: which one.
            part: where it is written; kept when the transfer breaks off, removed when the content
                is not what the hub announced.
        Raises:
            HubError: the transfer failed for good, or the content is wrong.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(listing.repo, file.name, revision=listing.commit, endpoint=self.endpoint)
        # Without compression, so that bytes of the part are bytes of the file.
        headers = build_hf_headers(headers={'accept-encoding': 'identity'})
        with part.open('ab') as stream, _alone(stream, part):
            if stream.tell() >= file.size and not has_content(part, file):
                # It is of another revision. Truncating does not move the position.
                stream.truncate(0)
                stream.seek(0)
            with self._named_errors(listing.repo, listing.commit):
                http_get(url, stream, resume_size=stream.tell(), headers=headers,
                         expected_size=file.size, displayed_filename=file.name)
        if not has_content(part, file):
            part.unlink()
            raise HubError(f'{file.name} arrived damaged and was removed',
                           expected=f'the hash {file.etag}', got='another one',
                           fix='run the same command again')

    def link(self, listing: Listing, file: RemoteFile) -> None:
        """Let the hub client put a file, whose content lies in its cache, into the snapshot.

        Raises:
            HubError: as in `download`.
        """
        from huggingface_hub import hf_hub_download

        with self._named_errors(listing.repo, listing.commit):
            hf_hub_download(listing.repo, file.name, revision=listing.commit,
                            endpoint=self.endpoint)

    @contextmanager
    def _named_errors(self, repo: str, revision: str) -> Iterator[None]:
        """Turn what the hub client raises into one kind of error with a way out.

        Raises:
            HubError: whatever failed.
        """
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            HTTPError,
            OfflineModeIsEnabled,
            RemoteEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        page = f'{self.endpoint}/{repo}'
        try:
            yield
        except GatedRepoError as error:
            raise HubError(
                f'{repo} is gated: its owner wants to know who uses it', got=_status(error),
                fix=f'open {page} in a browser, log in and accept the terms, then run hf auth '
                'login here (or set HF_TOKEN) with a token of that account') from error
        except RepositoryNotFoundError as error:
            raise HubError(
                f'there is no repository {repo}, or it is private', got=_status(error),
                fix='check the spelling; for a private one run hf auth login or set HF_TOKEN'
            ) from error
        except RevisionNotFoundError as error:
            raise HubError(f'{repo} has no revision {revision!r}', got=_status(error),
                           fix=f'look for branches and tags at {page}/tree/main') from error
        except RemoteEntryNotFoundError as error:
            raise HubError(f'{repo} lists a file that it does not have', got=_status(error),
                           fix='try another revision') from error
        except OfflineModeIsEnabled as error:
            raise HubError('the hub client is set to offline', got='HF_HUB_OFFLINE',
                           fix='unset it, or copy the model from a machine that has it') from error
        except HFValidationError as error:
            raise HubError(f'{repo!r} is no name of a repository', expected='OWNER/NAME',
                           got=_first_line(error)) from error
        except HTTPError as error:
            raise self._unreachable(error) from error
        except OSError as error:
            if error.errno is not None:  # of this machine, such as a full disk
                raise
            raise HubError('a transfer failed', got=_first_line(error),
                           fix='run the same command again') from error

    def _unreachable(self, error: Exception) -> HubError:
        if getattr(error, 'response', None) is not None:
            return HubError(f'{self.endpoint} refused', got=_status(error),
                            fix='wait a little, then run the same command again; what has '
                            'arrived is kept')
        return HubError(
            f'{self.endpoint} cannot be reached',
            got=f'{type(error).__name__}: {_first_line(error)}',
            fix='check the network, and HTTPS_PROXY if there is a proxy, then run the same command '
            'again: what has arrived is kept. Without a network, fetch on another machine with '
            '--folder and copy the folder')


def has_content(path: Path, file: RemoteFile) -> bool:
    """Say whether a local file is whole and has the content that the hub announced."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        digest.update(f'blob {file.size}\0'.encode())  # as git hashes a file
    with path.open('rb') as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == file.etag


@contextmanager
def _alone(stream, part: Path) -> Iterator[None]:
    """Keep a second process from writing into the same part.

    Raises:
        HubError: another one is at it.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise HubError(f'another process is fetching {part.name}',
                       fix='wait for it to end') from error
    yield


def _status(error: Exception) -> str:
    response = getattr(error, 'response', None)
    return f'HTTP status {response.status_code}' if response is not None else _first_line(error)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
