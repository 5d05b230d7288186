# SPDX-License-Identifier: Apache-2.0
"""From a model's name to an open mask tokenizer: which export, which provider, and every check.

An export lies in `onnx/<dtype>/` of its model directory, or the name is an export directory itself.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from samtok_ros.errors import CheckpointError, ConfigError, DeviceError
from samtok_ros.model_directory import (
    EMBEDDED_MODEL,
    MODELS_DIR,
    model_name,
    split_tokenizer_id,
)
from samtok_ros.onnx.engines import EngineKey, check_engines, engine_state, has_engines
from samtok_ros.onnx.gpu import find_gpu, tensorrt_version
from samtok_ros.onnx.manifest import CHECK_FILE, DTYPES, MANIFEST_FILE, Manifest, sha256_of
from samtok_ros.onnx.mask_tokenizer import OnnxMaskTokenizer
from samtok_ros.onnx.providers import PROVIDERS, Choice, choose_provider
from samtok_ros.onnx.reference import Reference, check_parity, limits_of
from samtok_ros.onnx.sessions import Engine

EXPORTS_DIR = 'onnx'
_PREFERRED = {'cpu': ('float32', 'float16'), 'cuda': ('float16', 'bfloat16', 'float32')}
"""By the memory that the files run in. float16 has ten times the accuracy of bfloat16 and a smaller
range; values out of range would be noticed, since results on a GPU are compared at every start."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnnxSettings:
    """What the user asks for, see ModelSettings.

    Attributes:
        device: 'auto', 'cpu' or 'cuda'; the provider auto goes by it.
        dtype: 'auto', 'float32', 'float16' or 'bfloat16'.
        provider: 'auto', 'cpu', 'cuda' or 'tensorrt'.
        threads: of the CPU for one operator; 0 is one per core.
    """

    device: str = 'auto'
    dtype: str = 'auto'
    provider: str = 'auto'
    threads: int = 0


@dataclass(frozen=True)
class LoadedOnnx:
    """An open mask tokenizer with the facts that are reported about it.

    Attributes:
        model: ready to run.
        provider: 'cpu', 'cuda' or 'tensorrt', as it really is.
        facts: for diagnostics: precision, provider, runtime, and fallback when there is one.
    """

    model: OnnxMaskTokenizer
    provider: str
    facts: Mapping[str, str]


def load_onnx(model_dir: Path, settings: OnnxSettings) -> LoadedOnnx:
    """Open the exported mask tokenizer of a model directory, or of an export directory.

    On a GPU its results are compared with those of torch that lie beside the files.

    Raises:
        CheckpointError: nothing was exported, files are missing or damaged, they belong to another
            mask tokenizer, there are no TensorRT engines, or the results are wrong.
        ConfigError: an export directory of another dtype than asked for.
        DeviceError: the provider is not there, cannot run the files, or was dropped.
    """
    available = ort.get_available_providers()
    gpu = find_gpu()
    memory = _memory_of(settings, gpu is not None, available)
    export_dir = find_export(model_dir, settings.dtype, memory)
    choice = choose_provider(settings.provider, settings.device, available, gpu is not None,
                             gpu is not None and _engines_built(export_dir))
    if choice.fallback:
        logger.warning('%s', choice.fallback)
    manifest = read_export(export_dir)
    check_owner(model_dir, export_dir, manifest)
    model = _open(export_dir, manifest, choice.provider, settings.threads)
    if choice.provider != 'cpu':
        reference = Reference.load(export_dir / CHECK_FILE)
        check_parity(model, reference, limits_of(manifest.dtype, choice.provider))
    return LoadedOnnx(model, choice.provider, _facts(manifest, choice))


def find_export(model_dir: Path, dtype: str, memory: str = 'cpu') -> Path:
    """Return the directory with the manifest.

    Args:
        model_dir: a model directory, or an export directory.
        dtype: 'auto' takes what suits the memory best.
        memory: 'cpu' or 'cuda'.
    Raises:
        CheckpointError: there is none; the text has the command that makes it.
        ConfigError: it is an export directory, and not of this dtype.
    """
    if (model_dir / MANIFEST_FILE).is_file():
        found = Manifest.load(model_dir).dtype
        if dtype not in ('auto', found):
            raise ConfigError(f'{model_dir} holds files of another dtype', expected=dtype,
                              got=found, fix='set model.dtype to auto')
        return model_dir
    wanted = _PREFERRED[memory] if dtype == 'auto' else (dtype,)
    for name in wanted:
        if (model_dir / EXPORTS_DIR / name / MANIFEST_FILE).is_file():
            return model_dir / EXPORTS_DIR / name
    others = [name for name in DTYPES
              if (model_dir / EXPORTS_DIR / name / MANIFEST_FILE).is_file()]
    if not any((model_dir / name).exists() for name in ('config.json', EXPORTS_DIR)):
        raise CheckpointError(
            f'{model_dir} is neither a model nor an export',
            expected=f'config.json or {MANIFEST_FILE} in it',
            got='a folder without them' if model_dir.is_dir() else 'no folder',
            fix='check the path, or make an export with samtok export MODEL --out DIR')
    raise CheckpointError(
        'the mask tokenizer has not been exported for this',
        expected=f'{model_dir / EXPORTS_DIR / wanted[0] / MANIFEST_FILE}',
        got=f'{", ".join(others)} only' if others else 'no export',
        fix=f'run samtok export {_called(model_dir)} --dtype {wanted[0]}')


def read_export(export_dir: Path) -> Manifest:
    """Read the manifest and check every file against it.

    Raises:
        CheckpointError: the manifest cannot be read, or a file is missing or damaged.
    """
    manifest = Manifest.load(export_dir)
    manifest.check_files(export_dir)
    return manifest


def check_owner(model_dir: Path, export_dir: Path, manifest: Manifest) -> None:
    """Compare an export with the weights of the model directory that it lies in.

    An export directory on its own has no weights to compare with; its codes then carry the id that
    it was exported with.

    Raises:
        CheckpointError: it was made from other weights, or under another name.
    """
    if model_dir == export_dir:
        return
    again = f'run samtok export {_called(model_dir)} --dtype {manifest.dtype} again'
    if (name := split_tokenizer_id(manifest.tokenizer_id)[0]) != model_name(model_dir):
        raise CheckpointError(f'{export_dir} was exported under another name',
                              expected=model_name(model_dir), got=name, fix=again)
    weights = model_dir / manifest.weights_file
    if weights.is_file() and sha256_of(weights) != manifest.weights_sha256:
        raise CheckpointError(f'{export_dir} belongs to another mask tokenizer',
                              expected=f'an export of {weights} as it is now',
                              got=f'one of {manifest.tokenizer_id}', fix=again)


def _open(
    export_dir: Path, manifest: Manifest, provider: str, threads: int,
) -> OnnxMaskTokenizer:
    if provider != 'tensorrt':
        return OnnxMaskTokenizer.open(export_dir, manifest, Engine(provider, threads))
    folder = check_engines(export_dir, EngineKey.here(ort.__version__))
    before = engine_state(folder)
    model = OnnxMaskTokenizer.open(export_dir, manifest, Engine(provider, threads, folder))
    if engine_state(folder) != before:
        raise DeviceError('onnxruntime did not take the TensorRT engines and built others',
                          got=', '.join(sorted(name for name, state in engine_state(folder).items()
                                               if before.get(name) != state)),
                          fix=f'run samtok build-engines {export_dir} again')
    return model


def _memory_of(settings: OnnxSettings, has_gpu: bool, available: list[str]) -> str:
    """Return where the files will run, which decides what dtype auto means."""
    choice = choose_provider(settings.provider, settings.device, available, has_gpu, False)
    return 'cpu' if choice.provider == 'cpu' else 'cuda'


def _engines_built(export_dir: Path) -> bool:
    if tensorrt_version() is None:
        return False
    return has_engines(export_dir, EngineKey.here(ort.__version__))


def _facts(manifest: Manifest, choice: Choice) -> dict[str, str]:
    facts = {'precision': manifest.dtype, 'provider': PROVIDERS[choice.provider],
             'runtime': f'onnxruntime {ort.__version__}'}
    return {**facts, 'fallback': choice.fallback} if choice.fallback else facts


def _called(model_dir: Path) -> Path | str:
    """Return what the user calls a model directory."""
    return EMBEDDED_MODEL if model_dir == MODELS_DIR / EMBEDDED_MODEL else model_dir
