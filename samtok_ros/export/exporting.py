# SPDX-License-Identifier: Apache-2.0
"""Mask tokenizer of a model directory -> export directory, all of it checked or none of it.

Files are made in a folder of their own beside the target, opened and run by ONNX Runtime, compared
with torch, and only then moved into place; the manifest comes last.
"""

import dataclasses
import logging
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import onnx

from samtok_ros.errors import CheckpointError, ConfigError
from samtok_ros.export.bfloat16 import rounded_in_float32
from samtok_ros.export.plans import OPSET, plan_of, specs_of, trace
from samtok_ros.export.reference import make_reference
from samtok_ros.onnx.manifest import (
    CHECK_FILE,
    GRAPHS,
    MANIFEST_FILE,
    GraphFile,
    Manifest,
    sha256_of,
)
from samtok_ros.onnx.mask_tokenizer import OnnxMaskTokenizer
from samtok_ros.onnx.reference import Parity, Reference, check_parity, limits_of
from samtok_ros.onnx.sessions import Engine, Graph, open_session, provider_options
from samtok_ros.tokenizer.checkpoint import find_weights
from samtok_ros.tokenizer.mask_tokenizer import DTYPES, MaskTokenizer

_PACKAGES = ('torch', 'onnx', 'onnxscript', 'onnxruntime')

logger = logging.getLogger(__name__)


def export_model(
    model_dir: Path, export_dir: Path, dtype: str = 'float32', engine: Engine | None = None,
) -> Manifest:
    """Write an export directory; an export that is there already is replaced.

    Args:
        model_dir: with the mask tokenizer's weights.
        export_dir: made where it is missing.
        dtype: 'float32', 'float16' or 'bfloat16', of the image encoder's matrix products.
        engine: what runs the files to check them; the CPU when left out.
    Raises:
        CheckpointError: the model cannot be read, or the files do not compute what torch computes;
            then nothing is written.
        ConfigError: the target is a file, or the model directory itself.
        DeviceError: the engine is not there.
    """
    if (model_dir / MANIFEST_FILE).is_file():
        raise CheckpointError(f'{model_dir} is an export already', fix='name the model directory '
                              'that it was made from')
    if export_dir.resolve() == model_dir.resolve() or export_dir.is_file():
        raise ConfigError(f'{export_dir} cannot hold the export', expected='a folder of its own',
                          got='a file' if export_dir.is_file() else 'the model directory')
    tokenizer = MaskTokenizer.load(model_dir)
    export_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.export-', dir=export_dir.parent) as folder:
        manifest = _write_all(tokenizer, find_weights(model_dir), dtype, Path(folder),
                              engine or Engine('cpu'))
        export_dir.mkdir(exist_ok=True)
        # Without a manifest a directory is no export: it goes first and comes back last.
        (export_dir / MANIFEST_FILE).unlink(missing_ok=True)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path.name == MANIFEST_FILE):
            shutil.move(path, export_dir / path.name)
    return manifest


def _write_all(
    tokenizer: MaskTokenizer, weights: Path, dtype: str, work_dir: Path, engine: Engine,
) -> Manifest:
    graphs = {name: _write_graph(tokenizer, name, dtype, work_dir) for name in GRAPHS}
    logger.info('computing the reference with torch')
    reference = make_reference(tokenizer)
    reference.save(work_dir / CHECK_FILE)
    manifest = Manifest(
        tokenizer_id=tokenizer.tokenizer_id, weights_file=weights.name,
        weights_sha256=sha256_of(weights), dtype=dtype, opset=OPSET, config=tokenizer.config,
        graphs=graphs, check_sha256=sha256_of(work_dir / CHECK_FILE), parity={},
        versions={name: version(name) for name in _PACKAGES})
    logger.info('comparing onnxruntime (%s) with torch', engine.provider)
    parity = _check(work_dir, manifest, reference, engine)
    manifest = dataclasses.replace(manifest, parity=parity.to_dict())
    (work_dir / MANIFEST_FILE).write_text(manifest.to_json(), encoding='utf-8')
    return manifest


def _write_graph(tokenizer: MaskTokenizer, name: str, dtype: str, work_dir: Path) -> GraphFile:
    logger.info('tracing %s', name)
    path = work_dir / f'{name}.onnx'
    plan = plan_of(name, tokenizer.network, DTYPES[dtype])
    model = trace(plan)
    onnx.save(model, path)
    return GraphFile(path.name, sha256_of(path), *specs_of(plan, model))


def _check(
    work_dir: Path, manifest: Manifest, reference: Reference, engine: Engine,
) -> Parity:
    """Run new files and compare them with torch."""
    graphs = {name: Graph.open(work_dir, manifest, name, engine) for name in GRAPHS
              if name != 'image_encoder'}
    graphs['image_encoder'] = _open_encoder(work_dir, manifest, engine)
    return check_parity(OnnxMaskTokenizer(manifest, graphs), reference,
                        limits_of(manifest.dtype, engine.provider))


def _open_encoder(work_dir: Path, manifest: Manifest, engine: Engine) -> Graph:
    if manifest.dtype != 'bfloat16' or engine.provider != 'cpu':
        return Graph.open(work_dir, manifest, 'image_encoder', engine)
    model = rounded_in_float32(onnx.load(work_dir / manifest.graphs['image_encoder'].file))
    options = provider_options(manifest, 'image_encoder', engine)
    return Graph(open_session(model.SerializeToString(), engine, options), engine)
