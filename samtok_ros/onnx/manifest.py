# SPDX-License-Identifier: Apache-2.0
"""What lies in an export directory: one file per graph, a check file, and the manifest.

The manifest says whose files these are and what they look like; everything else is refused before
a session is made from it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError, SamtokError
from samtok_ros.tokenizer.config import MaskTokenizerConfig

MANIFEST_FILE = 'manifest.json'
CHECK_FILE = 'check.npz'
ENGINES_DIR = 'engines'
GRAPHS = ('image_encoder', 'mask_decoder', 'mask_encoder', 'prompt_decoder')
DTYPES = ('float32', 'float16', 'bfloat16')
MAX_REGIONS = 32
"""Regions that one run takes; more are run in parts. The upper end of TensorRT's profiles."""

_FORMAT = 1
_AGAIN = 'run samtok export again, or copy the directory again'


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        name: of the tensor.
        dtype: 'uint8', 'int64' or 'float32'.
        shape: sizes; a name ('regions', 'points') stands for an axis of any size.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    @property
    def is_dynamic(self) -> bool:
        """Whether an axis has no fixed size."""
        return any(isinstance(size, str) for size in self.shape)


@dataclass(frozen=True)
class GraphFile:
    """One ONNX file.

    Attributes:
        file: its name within the export directory.
        sha256: of its content.
        inputs, outputs: in the graph's order.
    """

    file: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Manifest:
    """Facts about an export.

    Attributes:
        tokenizer_id: name and hash of the mask tokenizer, as in `MaskTokenizer`.
        weights_file: name of the file with its weights, in the model directory.
        weights_sha256: of that file.
        dtype: of the image encoder's matrix products; everything else is float32.
        opset: ONNX operator set of the graphs.
        config: sizes of the mask tokenizer.
        graphs: by name, all of GRAPHS.
        check_sha256: of the check file.
        parity: how far the files are from torch, as measured when they were written.
        versions: of the packages that wrote them.
    """

    tokenizer_id: str
    weights_file: str
    weights_sha256: str
    dtype: str
    opset: int
    config: MaskTokenizerConfig
    graphs: Mapping[str, GraphFile]
    check_sha256: str
    parity: Mapping[str, float]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """Return the file form; `from_json` is its inverse."""
        return json.dumps({'format': _FORMAT, **dataclasses.asdict(self)}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str) -> 'Manifest':
        """Read the file form.

        Raises:
            CheckpointError: the text is no manifest, or one of another version.
        """
        try:
            values = json.loads(text)
            version = values.pop('format')
            if version == _FORMAT:
                config = MaskTokenizerConfig.from_json(json.dumps(values.pop('config')))
                graphs = {name: _graph(values['graphs'][name]) for name in GRAPHS}
                return cls(**{**values, 'config': config, 'graphs': graphs})
        except SamtokError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f'{MANIFEST_FILE} cannot be read', fix=_AGAIN,
                                  got=f'{type(error).__name__}: {error}') from error
        raise CheckpointError(f'{MANIFEST_FILE} is of another version of this package',
                              expected=f'format {_FORMAT}', got=version, fix=_AGAIN)

    @classmethod
    def load(cls, export_dir: Path) -> 'Manifest':
        """Read the manifest of an export directory.

        Raises:
            CheckpointError: there is none, or it cannot be read.
        """
        path = export_dir / MANIFEST_FILE
        try:
            return cls.from_json(path.read_text(encoding='utf-8'))
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f'{path} cannot be read', got=error,
                                  fix='run samtok export MODEL') from error

    def check_files(self, export_dir: Path) -> None:
        """Compare every file with its hash.

        Raises:
            CheckpointError: names the file that is missing or damaged.
        """
        files = {graph.file: graph.sha256 for graph in self.graphs.values()}
        for name, expected in {**files, CHECK_FILE: self.check_sha256}.items():
            path = export_dir / name
            if not path.is_file():
                raise CheckpointError(f'{path} is missing', fix=_AGAIN)
            if (found := sha256_of(path)) != expected:
                raise CheckpointError(f'{path} is damaged or of another export',
                                      expected=f'SHA-256 {expected[:16]}...',
                                      got=f'{found[:16]}...', fix=_AGAIN)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()


def _graph(values: Mapping) -> GraphFile:
    sides = {side: tuple(TensorSpec(spec['name'], spec['dtype'], tuple(spec['shape']))
                         for spec in values[side]) for side in ('inputs', 'outputs')}
    if Path(values['file']).name != values['file']:
        raise ValueError(f'{values["file"]!r} is no plain file name')
    return GraphFile(values['file'], values['sha256'], **sides)
