# SPDX-License-Identifier: Apache-2.0
"""One graph in ONNX Runtime: opened on the provider asked for or not at all; with IO binding."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from samtok_ros.errors import CheckpointError, DeviceError
from samtok_ros.onnx.engines import engine_options
from samtok_ros.onnx.libraries import ERRORS_ONLY, find_wheels, why_not_loaded
from samtok_ros.onnx.manifest import Manifest, TensorSpec
from samtok_ros.onnx.providers import CHECK_VERSIONS, PROVIDERS, check_assignment, check_got
from samtok_ros.onnx.reasons import reason_of

_RECORD_ASSIGNMENT = 'session.record_ep_graph_assignment_info'
_UNREADABLE = (ort_state.InvalidProtobuf, ort_state.InvalidGraph, ort_state.InvalidArgument,
               ort_state.NoSuchFile)
_UNUSABLE = (ort_state.NotImplemented, ort_state.Fail, ort_state.EPFail,
             ort_state.RuntimeException, RuntimeError)
"""A RuntimeError is what providers raise themselves."""
_NO_MEMORY = ('Failed to allocate memory', 'out of memory')

Input = np.ndarray | ort.OrtValue


@dataclass(frozen=True)
class Engine:
    """What runs the graphs.

    Attributes:
        provider: 'cpu', 'cuda' or 'tensorrt'.
        threads: of the CPU for one operator; 0 is one per core.
        engines: folder of the TensorRT engines; None for the other providers.
    """

    provider: str
    threads: int = 0
    engines: Path | None = None

    @property
    def memory(self) -> str:
        """Where results stay: 'cpu' or 'cuda'."""
        return 'cpu' if self.provider == 'cpu' else 'cuda'


class Graph:
    """A session with names, checked against the manifest."""

    def __init__(self, session: ort.InferenceSession, engine: Engine) -> None:
        self.session = session
        self._engine = engine
        self._outputs = [output.name for output in session.get_outputs()]

    @classmethod
    def open(cls, export_dir: Path, manifest: Manifest, name: str, engine: Engine) -> 'Graph':
        """Make a session of one graph of an export.

        Raises:
            CheckpointError: the file is no ONNX model, or another one than the manifest says.
            DeviceError: the provider cannot run it, or ONNX Runtime gave another provider.
        """
        path = export_dir / manifest.graphs[name].file
        options = provider_options(manifest, name, engine)
        session = open_session(path, engine, options)
        _check_tensors(path, 'inputs', session.get_inputs(), manifest.graphs[name].inputs)
        _check_tensors(path, 'outputs', session.get_outputs(), manifest.graphs[name].outputs)
        return cls(session, engine)

    def run(self, inputs: Mapping[str, Input]) -> list[ort.OrtValue]:
        """Run the graph; results stay in the memory of the provider.

        Args:
            inputs: all inputs by name; arrays are copied there, values of an earlier run are used
                where they lie.
        Raises:
            DeviceError: the provider lacks a library or memory, or it failed.
        """
        try:
            return self._run(inputs)
        except RuntimeError as error:
            reason = reason_of(error)
        # Out here: as a cause, the first error would keep the arrays of the failed run alive.
        raise _failure(f'the provider {self._engine.provider} failed', self._engine, reason)

    def _run(self, inputs: Mapping[str, Input]) -> list[ort.OrtValue]:
        binding = self.session.io_binding()
        # Bound by address: they have to live until the run is over.
        arrays = {name: np.ascontiguousarray(value) for name, value in inputs.items()
                  if isinstance(value, np.ndarray)}
        for name, value in inputs.items():
            if name in arrays:
                binding.bind_cpu_input(name, arrays[name])
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._engine.memory)
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()


def open_session(
    path: Path | str | bytes, engine: Engine, options: Sequence[tuple[str, dict[str, str]]],
) -> ort.InferenceSession:
    """Make a session and make sure that it has the provider asked for.

    Args:
        path: file, or the model itself as bytes.
        engine: what is asked for.
        options: providers with their options, by priority.
    Raises:
        CheckpointError: it is no ONNX model.
        DeviceError: the provider cannot run it, or ONNX Runtime gave another one.
    """
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = engine.threads
    settings.log_severity_level = ERRORS_ONLY
    # Threads that wait for the next image by spinning would take cores from everybody else.
    settings.add_session_config_entry('session.intra_op.allow_spinning', '0')
    settings.add_session_config_entry(_RECORD_ASSIGNMENT, '1')
    shown = path if not isinstance(path, bytes) else 'model in memory'
    if engine.provider != 'cpu':
        find_wheels()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of a dropped provider, which is an error below
            # Without fallback: it tries again without our options and says so to standard output.
            session = ort.InferenceSession(path, settings, providers=list(options),
                                           enable_fallback=0)
    except _UNREADABLE as error:
        raise CheckpointError(f'{shown} is not a usable ONNX model', got=reason_of(error),
                              fix='run samtok export again') from error
    except _UNUSABLE as error:
        raise _failure(f'the provider {engine.provider} cannot run {shown}', engine,
                       why_not_loaded(engine.provider) or reason_of(error)) from error
    check_got(engine.provider, session.get_providers(), why_not_loaded)
    if hasattr(session, 'get_provider_graph_assignment_info'):
        check_assignment(engine.provider, [
            (part.ep_name, node.op_type) for part in session.get_provider_graph_assignment_info()
            for node in part.get_nodes()])
    return session


def provider_options(
    manifest: Manifest, name: str, engine: Engine,
) -> list[tuple[str, dict[str, str]]]:
    """Return the providers to ask for, by priority, with their options."""
    if engine.provider == 'cpu':
        return [(PROVIDERS['cpu'], {})]
    # Products of float32 stay float32: TensorFloat-32 has 10 bits, and codes would flip.
    cuda = (PROVIDERS['cuda'], {'device_id': '0', 'use_tf32': '0',
                                'cudnn_conv_algo_search': 'HEURISTIC'})
    if engine.provider == 'cuda':
        return [cuda]
    return [(PROVIDERS['tensorrt'], engine_options(manifest, name, engine.engines)), cuda]


def _check_tensors(
    path: Path, side: str, found: Sequence[ort.NodeArg], expected: tuple[TensorSpec, ...],
) -> None:
    got = [(arg.name, _dtype(arg), len(arg.shape)) for arg in found]
    wanted = [(spec.name, spec.dtype, len(spec.shape)) for spec in expected]
    if got != wanted:
        raise CheckpointError(f'{path} has other {side} than the manifest says', expected=wanted,
                              got=got, fix='run samtok export again')


def _failure(message: str, engine: Engine, reason: str) -> DeviceError:
    """Return the error to raise when a provider does not do its work."""
    if any(sign in reason for sign in _NO_MEMORY):
        return DeviceError('the device ran out of memory', got=reason,
                           fix='use a smaller model, another dtype or another device')
    return DeviceError(message, got=reason, fix='use another dtype or another provider'
                       if engine.provider == 'cpu' else CHECK_VERSIONS)


def _dtype(arg: ort.NodeArg) -> str:
    return {'tensor(float)': 'float32'}.get(arg.type, arg.type[len('tensor('):-1])
