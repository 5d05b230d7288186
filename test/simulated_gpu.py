# SPDX-License-Identifier: Apache-2.0
"""A GPU in host memory, for what goes wrong on a GPU alone where there is none.

Its tensors say that they are elsewhere. Operations on them are computed by the CPU, and refused
where a GPU refuses them: operands in two places, or a recording that looks at values or takes
something from the host. A recording, done again, repeats the same operations on the same memory, so
what should have changed and lay elsewhere keeps its old value, as with a CUDA graph.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = 'simulated_gpu'

_aten = torch.ops.aten
_COPIES = (_aten._to_copy.default, _aten.copy_.default)
_WITH_HOST_INDEX = (_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default)
_LOOKS = (_aten._local_scalar_dense.default, _aten.nonzero.default, _aten.masked_select.default)

_recording: list | None = None


class _Module(_DummyBackendModule):
    """What torch asks about a device, whether or not it is in use, once it has heard of it."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def get_autocast_dtype(self):
        return torch.bfloat16

    def get_rng_state(self, device=None):
        return torch.get_rng_state()

    def set_rng_state(self, state, device=None):
        """Leave the random numbers of the host alone: there are no others here."""


@functools.cache
def _register():
    """Make the name known to torch: once per process, and for ever."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())


class _OnGpu(torch.Tensor):
    """A tensor that says it is on the GPU; `host` is where its values are."""

    @staticmethod
    def __new__(cls, host):
        return torch.Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(),
            dtype=host.dtype, device=f'{NAME}:0')

    def __init__(self, host):
        self.host = host

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _do(func, args, kwargs or {})

    def tolist(self):
        return self.cpu().tolist()

    def __repr__(self, **_):
        return f'{NAME}, {tuple(self.shape)} {self.dtype}'


class _Mode(TorchDispatchMode):
    """Sees the operations that no tensor of ours takes part in, such as making one."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _do(func, args, kwargs or {})


def _do(func, args, kwargs):
    # Without inference mode: its tensors and ours would be mixed, which torch forbids for views.
    with torch.inference_mode(False), torch.no_grad():
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        ours = [tensor for tensor in tensors if isinstance(tensor, _OnGpu)]
        result_is_ours = _is_ours(kwargs['device']) if kwargs.get('device') else bool(ours)
        if func not in _COPIES:
            _check_places(func, ours, [t for t in tensors if not isinstance(t, _OnGpu)])
        if _recording is not None:
            _check_recordable(func, tensors, ours, result_is_ours)
        host_args, host_kwargs = tree_map(_host, args), tree_map(_host, kwargs)
        result = func(*host_args, **host_kwargs)
        if _recording is not None:
            _recording.append((func, host_args, host_kwargs, result))
        if _changes_first_argument(func):
            return args[0]
        return tree_map(_on_gpu, result) if result_is_ours else result


def _check_places(func, ours, others):
    # A single number may lie anywhere, and so may an index.
    if ours and any(t.dim() for t in others) and func not in _WITH_HOST_INDEX:
        raise RuntimeError(f'{func}: expected all tensors to be on the same device')


def _check_recordable(func, tensors, ours, result_is_ours):
    by_mask = func is _aten.index.Tensor and any(t.dtype == torch.bool for t in tensors[1:])
    crosses = func in _COPIES and (len(ours) < len(tensors) or not result_is_ours)
    if func in _LOOKS or by_mask or crosses:
        raise RuntimeError(f'{func}: operation not permitted while work is recorded')


def _changes_first_argument(func):
    name = func._schema.name
    return name.endswith('_') and not name.endswith('__')


def _is_ours(device):
    return torch.device(device).type == NAME


def _host(leaf):
    if isinstance(leaf, _OnGpu):
        return leaf.host
    return torch.device('cpu') if isinstance(leaf, torch.device) else leaf


def _on_gpu(leaf):
    return _OnGpu(leaf) if isinstance(leaf, torch.Tensor) else leaf


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()


def _made_on_the_host(function):
    """Wrap torch.tensor or torch.as_tensor, which make things on a device behind every mode."""
    @functools.wraps(function)
    def made(data, *args, device=None, **kwargs):
        if not isinstance(data, _OnGpu):
            data = tree_map(lambda leaf: leaf.item() if isinstance(leaf, _OnGpu) else leaf, data)
            data = function(data, *args, **kwargs)
        return data if device is None else data.to(device)
    return made


@contextmanager
def simulated_gpu() -> Iterator[torch.device]:
    """Give this thread a GPU; yields its device."""
    _register()
    with _Mode(), mock.patch.object(torch, 'tensor', _made_on_the_host(torch.tensor)), \
            mock.patch.object(torch, 'as_tensor', _made_on_the_host(torch.as_tensor)):
        yield torch.device(NAME)


def record(work):
    """Record work on the simulated GPU: a Recorder."""
    global _recording
    work()
    _recording = []
    try:
        result = work()
        operations = _recording
    finally:
        _recording = None

    def again():
        with torch.inference_mode(False), torch.no_grad():
            for func, args, kwargs, before in operations:
                now = func(*args, **kwargs)
                for old, new in zip(tree_leaves(before), tree_leaves(now), strict=True):
                    # Same memory: it was changed in place, or is a view of what is renewed.
                    if isinstance(old, torch.Tensor) and _memory(old) != _memory(new):
                        old.copy_(new)

    return again, result
