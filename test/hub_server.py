# SPDX-License-Identifier: Apache-2.0
"""A hub on this machine: the part of its protocol that fetching a model uses, and its failures."""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 4000
"""Files from this size on are stored apart, as the hub does with weights: reached by redirect."""


def model_files(weights: bytes = b'w' * 9000) -> dict[str, bytes]:
    """Return a repository in the layout of a published model, with copies that nobody needs."""
    index = {'weight_map': {'a': 'model-00001-of-00002.safetensors',
                            'b': 'model-00002-of-00002.safetensors'}}
    return {
        'README.md': b'# A model', '.gitattributes': b'', 'LICENSE': b'Apache-2.0',
        'config.json': b'{"model_type": "qwen3_vl"}',
        'tokenizer.json': b'{}' + b' ' * LARGE,
        'preprocessor_config.json': b'{}',
        'video_preprocessor_config.json': b'{}',  # the same content under a second name
        'chat_template.jinja': b'{{ messages }}',
        'model.safetensors.index.json': json.dumps(index).encode(),
        'model-00001-of-00002.safetensors': weights,
        'model-00002-of-00002.safetensors': b'v' * 5000,
        'mask_tokenizer_256x2.pth': b'm' * 6000,
        'sam2.1_hiera_large.pt': b's' * 70000,
        'pytorch_model.bin': b'p' * 90000,
        'training/optimizer.safetensors': b'o' * 90000,
    }


@dataclass
class HubState:
    """What the hub holds and how it behaves.

    Attributes:
        commits: files by commit.
        refs: commits by branch or tag.
        repo: the one repository.
        gated: files need a token.
        break_off: bytes after which a transfer of a file breaks off, per transfer, by file name.
        damaged: content that is sent instead, by file name.
        refuse: HTTP status of every request.
        requests: (method, path, headers in lower case) of everything that was asked.
    """

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    repo: str = 'someone/Some-SAMTok'
    gated: bool = False
    break_off: dict[str, list[int]] = field(default_factory=dict)
    damaged: dict[str, bytes] = field(default_factory=dict)
    refuse: int | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def asked(self, method: str, part_of_path: str) -> list[dict[str, str]]:
        """Return the headers of the requests of one method whose path contains a text."""
        return [headers for verb, path, headers in self.requests
                if verb == method and part_of_path in path]


class LocalHub:
    """The server; use it as a context."""

    def __init__(self, state: HubState) -> None:
        self.state = state
        self._server = ThreadingHTTPServer(
            ('127.0.0.1', 0), type('BoundHandler', (Handler,), {'state': state}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,),
                                        daemon=True)

    @property
    def url(self) -> str:
        """Address of the hub."""
        return f'http://127.0.0.1:{self._server.server_port}'

    def __enter__(self) -> 'LocalHub':
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def git_sha1(content: bytes) -> str:
    """Return git's hash of a file."""
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


def etag(content: bytes) -> str:
    """Return the name the hub gives to a content."""
    return hashlib.sha256(content).hexdigest() if len(content) >= LARGE else git_sha1(content)


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub would; a subclass carries the state."""

    state: HubState
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)  # a proxy is asked with the whole address
        self.state.requests.append((self.command, path, {
            name.lower(): value for name, value in self.headers.items()}))
        repo = self.state.repo
        if self.state.refuse:
            self._send(self.state.refuse, {})
        elif path == f'/api/models/{repo}' or path.startswith(f'/api/models/{repo}/revision/'):
            self._info(path.partition('/revision/')[2] or 'main')
        elif path.startswith(f'/api/models/{repo}/tree/'):
            self._tree(path.rsplit('/', 1)[1])
        elif path.startswith(f'/{repo}/resolve/'):
            self._resolve(*path.removeprefix(f'/{repo}/resolve/').split('/', 1))
        elif path.startswith('/apart/'):
            self._content(*path.removeprefix('/apart/').split('/', 1))
        else:
            self._send(404, {'X-Error-Code': 'RepoNotFound'})

    def _info(self, revision: str) -> None:
        commit = self.state.refs.get(revision, revision)
        if commit not in self.state.commits:
            self._send(404, {'X-Error-Code': 'RevisionNotFound'})
            return
        siblings = [
            {'rfilename': name, 'size': len(content), 'blobId': git_sha1(content)}
            | large(content, 'sha256') for name, content in self.state.commits[commit].items()]
        self._json({'id': self.state.repo, 'modelId': self.state.repo, 'sha': commit,
                    'siblings': siblings, 'private': False,
                    'gated': 'manual' if self.state.gated else False})

    def _tree(self, commit: str) -> None:
        self._json([
            {'type': 'file', 'path': name, 'size': len(content), 'oid': git_sha1(content)}
            | large(content, 'oid') for name, content in self.state.commits[commit].items()])

    def _json(self, found: object) -> None:
        self._send(200, {'Content-Type': 'application/json'}, json.dumps(found).encode())

    def _resolve(self, commit: str, name: str) -> None:
        if self.state.gated and 'Authorization' not in self.headers:
            self._send(401, {'X-Error-Code': 'GatedRepo'})
            return
        content = self.state.commits.get(commit, {}).get(name)
        if content is None:
            self._send(404, {'X-Error-Code': 'EntryNotFound', 'X-Repo-Commit': commit})
        elif len(content) >= LARGE:
            port = self.server.server_address[1]
            self._send(302, {'X-Repo-Commit': commit, 'X-Linked-Etag': f'"{etag(content)}"',
                             'X-Linked-Size': str(len(content)),
                             'Location': f'http://localhost:{port}/apart/{commit}/{name}'})
        else:
            self._content(commit, name)

    def _content(self, commit: str, name: str) -> None:
        true_content = self.state.commits[commit][name]
        content = self.state.damaged.get(name, true_content)
        start = int(self.headers.get('Range', 'bytes=0-').removeprefix('bytes=').rstrip('-'))
        headers = {'X-Repo-Commit': commit, 'ETag': f'"{etag(true_content)}"'}
        if start:
            headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
        limits = self.state.break_off.get(name) if self.command == 'GET' else None
        self._send(206 if start else 200, headers, content[start:],
                   limits.pop(0) if limits else None)

    def _send(self, status: int, headers: dict[str, str], body: bytes = b'',
              limit: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {'Content-Length': str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(body[:limit])
            self.wfile.flush()
        if limit is not None:
            self.close_connection = True


def large(content: bytes, hash_name: str) -> dict[str, object]:
    """Return what the hub adds to the description of a file that is stored apart."""
    if len(content) < LARGE:
        return {}
    return {'lfs': {'size': len(content), hash_name: etag(content), 'pointerSize': 130}}
