# SPDX-License-Identifier: Apache-2.0
"""TensorRT engines: where they are kept, how they are asked for, whether they are the right ones.

An engine fits one GPU, one TensorRT and one ONNX Runtime, so all three name its folder. Building
takes minutes and belongs to `samtok build-engines`; a node loads what is there or says what to run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError, DeviceError
from samtok_ros.onnx.gpu import Gpu, find_gpu, tensorrt_libraries, tensorrt_version
from samtok_ros.onnx.manifest import (
    ENGINES_DIR,
    MANIFEST_FILE,
    MAX_REGIONS,
    Manifest,
    TensorSpec,
    sha256_of,
)

RECORD_FILE = 'engines.json'
_USUAL_REGIONS = 4
_LIMITS = {'regions': (1, _USUAL_REGIONS, MAX_REGIONS), 'points': (1, 2, 2)}
"""Smallest, usual and largest size of each axis without a fixed size."""


@dataclass(frozen=True)
class EngineKey:
    """What an engine fits.

    Attributes:
        gpu: the GPU.
        tensorrt: version number of TensorRT.
        onnxruntime: version of ONNX Runtime.
    """

    gpu: Gpu
    tensorrt: str
    onnxruntime: str

    def __str__(self) -> str:
        """Name of the folder."""
        return f'{self.gpu.slug}-trt{self.tensorrt}-ort{self.onnxruntime}'

    @classmethod
    def here(cls, onnxruntime: str) -> 'EngineKey':
        """Return the key of this machine.

        Raises:
            DeviceError: there is no GPU or no TensorRT.
        """
        gpu, version = find_gpu(), tensorrt_version()
        if gpu is None or version is None:
            missing = 'GPU' if gpu is None else ' or '.join(tensorrt_libraries())
            raise DeviceError('TensorRT cannot be used here', expected='an NVIDIA GPU with its '
                              'driver, and libnvinfer', got=f'no {missing}',
                              fix='set model.provider to cpu, or cuda')
        return cls(gpu, version, onnxruntime)


def engine_dir(export_dir: Path, key: EngineKey) -> Path:
    """Return the folder of the engines that fit a key."""
    return export_dir / ENGINES_DIR / str(key)


def engine_options(manifest: Manifest, graph: str, folder: Path) -> dict[str, str]:
    """Return the options of the TensorRT provider for one graph.

    Every input without a fixed size gets its smallest, usual and largest shape: without all of
    them TensorRT builds anew whenever a shape comes that it has not seen. Reduced precision is
    allowed for the image encoder alone, and only the one that the file was made for.
    """
    inputs = [spec for spec in manifest.graphs[graph].inputs if spec.is_dynamic]
    options = {
        'device_id': '0',
        'trt_engine_cache_enable': 'True', 'trt_engine_cache_path': str(folder),
        'trt_engine_cache_prefix': graph,
        'trt_timing_cache_enable': 'True', 'trt_timing_cache_path': str(folder),
        # Older versions run the norms in half precision otherwise, whatever the file says.
        'trt_layer_norm_fp32_fallback': 'True',
    }
    for place, name in enumerate(('min', 'opt', 'max')):
        if inputs:
            options[f'trt_profile_{name}_shapes'] = ','.join(
                f'{spec.name}:{_shape(spec, place)}' for spec in inputs)
    if graph == 'image_encoder':
        reduced = {'float16': 'trt_fp16_enable', 'bfloat16': 'trt_bf16_enable'}
        if manifest.dtype in reduced:
            options[reduced[manifest.dtype]] = 'True'
    return options


def write_record(export_dir: Path, folder: Path, parity: Mapping[str, float]) -> None:
    """Write down which engines were built, of which export, once they were compared."""
    files = {path.name: sha256_of(path) for path in _engine_files(folder)}
    if not engine_names(folder):
        raise DeviceError('TensorRT has built no engine', got=f'{folder} without engines',
                          fix='run it again and read what onnxruntime says')
    record = {'manifest': sha256_of(export_dir / MANIFEST_FILE), 'files': files,
              'parity': dict(parity)}
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')


def has_engines(export_dir: Path, key: EngineKey) -> bool:
    """Say whether engines for a key were built and compared."""
    return (engine_dir(export_dir, key) / RECORD_FILE).is_file()


def check_engines(export_dir: Path, key: EngineKey) -> Path:
    """Return the folder of engines that fit, so that nothing need be built.

    Raises:
        CheckpointError: there are none, or they are of another export, GPU or version, or damaged;
            the text has the command that builds them.
    """
    folder = engine_dir(export_dir, key)
    build = f'run samtok build-engines {export_dir} on this machine'
    if not (folder / RECORD_FILE).is_file():
        others = sorted(path.parent.name for path in
                        (export_dir / ENGINES_DIR).glob(f'*/{RECORD_FILE}'))
        raise CheckpointError('no TensorRT engines for this GPU and these versions', fix=build,
                              expected=key, got=', '.join(others) or 'none at all')
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding='utf-8'))
        manifest, files = record['manifest'], dict(record['files'])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f'{folder / RECORD_FILE} cannot be read', got=error,
                              fix=build) from error
    if manifest != sha256_of(export_dir / MANIFEST_FILE):
        raise CheckpointError('the TensorRT engines are of another export', got=folder, fix=build)
    if files != (found := {path.name: sha256_of(path) for path in _engine_files(folder)}):
        wrong = sorted(name for name in files.keys() | found.keys()
                       if files.get(name) != found.get(name))
        raise CheckpointError('TensorRT engines are missing or damaged',
                              got=', '.join(wrong), fix=build)
    return folder


def engine_state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of each file, to notice an engine that was built behind our back."""
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns)
            for path in _engine_files(folder)}


def engine_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the engines in a folder."""
    return tuple(path.name for path in sorted(folder.glob('*.engine')))


def _engine_files(folder: Path) -> list[Path]:
    """Return engines and the shape ranges they were built for.

    ONNX Runtime compares those with the ranges asked for, and builds anew when they are not there.
    """
    return sorted(path for pattern in ('*.engine', '*.profile') for path in folder.glob(pattern))


def _shape(spec: TensorSpec, place: int) -> str:
    return 'x'.join(str(_LIMITS[size][place] if isinstance(size, str) else size)
                    for size in spec.shape)
