# SPDX-License-Identifier: Apache-2.0
"""Building TensorRT engines ahead of time, so that no node ever does."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from samtok_ros.errors import SamtokError
from samtok_ros.onnx.engines import EngineKey, engine_dir, engine_names, write_record
from samtok_ros.onnx.load import read_export
from samtok_ros.onnx.manifest import CHECK_FILE, GRAPHS
from samtok_ros.onnx.mask_tokenizer import OnnxMaskTokenizer
from samtok_ros.onnx.providers import PROVIDERS, choose_provider
from samtok_ros.onnx.reference import Parity, Reference, check_parity, limits_of
from samtok_ros.onnx.sessions import Engine, Graph


@dataclass(frozen=True)
class BuiltEngines:
    """What was built.

    Attributes:
        folder: where the engines lie.
        files: their names.
        parity: with torch.
    """

    folder: Path
    files: tuple[str, ...]
    parity: Parity


def build_engines(export_dir: Path, say: Callable[[str], None]) -> BuiltEngines:
    """Build the engines of an export for this machine and compare them with torch.

    Engines that are there already are built again. The timing cache is kept, which saves most of
    the time when only the export has changed.

    Args:
        export_dir: with a manifest.
        say: told what goes on, in single lines.
    Raises:
        CheckpointError: the export is damaged, or the engines do not compute what torch computes;
            then they are removed.
        DeviceError: there is no GPU, no TensorRT, or it cannot run a graph.
    """
    manifest = read_export(export_dir)
    provider = choose_provider('tensorrt', 'auto', ort.get_available_providers(), True, True)
    key = EngineKey.here(ort.__version__)
    folder = engine_dir(export_dir, key)
    _clear(folder)
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(provider.provider, engines=folder)
    try:
        graphs = {}
        for name in GRAPHS:
            say(f'{key}: building {name} with {PROVIDERS[provider.provider]}')
            graphs[name] = Graph.open(export_dir, manifest, name, engine)
        say('comparing with torch')
        parity = check_parity(OnnxMaskTokenizer(manifest, graphs),
                              Reference.load(export_dir / CHECK_FILE),
                              limits_of(manifest.dtype, engine.provider))
        write_record(export_dir, folder, parity.to_dict())
    except SamtokError:
        shutil.rmtree(folder)
        raise
    return BuiltEngines(folder, engine_names(folder), parity)


def _clear(folder: Path) -> None:
    """Remove engines and their record, and keep the timing cache."""
    for path in folder.glob('*') if folder.is_dir() else ():
        if path.suffix != '.timing':
            path.unlink()
