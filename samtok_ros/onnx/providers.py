# SPDX-License-Identifier: Apache-2.0
"""Execution providers: which one is wanted, whether it is there, and whether we really got it.

ONNX Runtime answers a provider that it cannot start with a warning and the CPU. Here that is an
error: a robot that silently thinks on its CPU is broken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from samtok_ros.errors import DeviceError

PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider',
             'tensorrt': 'TensorrtExecutionProvider'}
"""Values of `model.provider` besides auto, and what ONNX Runtime calls them."""

CPU = PROVIDERS['cpu']
CHECK_VERSIONS = ('check that GPU driver, CUDA, cuDNN and TensorRT have the versions that this '
                  'onnxruntime was built for, use another dtype, or set model.provider to cpu')
"""The way out when a provider is there and does not work."""
_WAY_OUT = {
    'cuda': 'install onnxruntime-gpu for the CUDA of this machine, or set model.provider to cpu',
    'tensorrt': 'install an onnxruntime with TensorRT for this machine, or set model.provider to '
                'cuda or cpu'}
_HEAVY = {'MatMul', 'Gemm', 'Conv', 'ConvTranspose', 'FusedMatMul', 'FusedGemm', 'FusedConv',
          'Attention', 'MultiHeadAttention'}


@dataclass(frozen=True)
class Choice:
    """The provider that will be asked for.

    Attributes:
        provider: 'cpu', 'cuda' or 'tensorrt'.
        fallback: why it is not the GPU that this machine has; empty when all is well.
    """

    provider: str
    fallback: str = ''


def choose_provider(
    asked: str, device: str, available: Sequence[str], has_gpu: bool, has_engines: bool,
) -> Choice:
    """Say which provider to ask for.

    Args:
        asked: `model.provider`: 'auto', 'cpu', 'cuda' or 'tensorrt'.
        device: `model.device`, which auto goes by: 'auto', 'cpu' or 'cuda'.
        available: what this ONNX Runtime was built with.
        has_gpu: whether the driver shows a GPU.
        has_engines: whether TensorRT engines for this GPU were built.
    Raises:
        DeviceError: what is asked for is not there.
    """
    if asked != 'auto':
        return Choice(_there(asked, available, f'model.provider: {asked}'))
    if device == 'cpu' or (device == 'auto' and not has_gpu):
        return Choice('cpu')
    if device == 'auto' and PROVIDERS['cuda'] not in available:
        return Choice('cpu', 'there is a GPU, but this onnxruntime has no CUDA provider: '
                      f'{_WAY_OUT["cuda"]}')
    if has_engines and PROVIDERS['tensorrt'] in available:
        return Choice('tensorrt')
    return Choice(_there('cuda', available, f'model.device: {device}'))


def check_got(asked: str, got: Sequence[str], explain: Callable[[str], str]) -> None:
    """Compare the provider asked for with those that a session really has.

    Args:
        asked: 'cpu', 'cuda' or 'tensorrt'.
        got: names of ONNX Runtime, by priority.
        explain: says why a provider cannot be had, '' if it knows no reason.
    Raises:
        DeviceError: the one asked for is not the first.
    """
    if not got or got[0] != PROVIDERS[asked]:
        reason = explain(asked)
        raise DeviceError(
            f'onnxruntime dropped the provider {asked}' + (f' ({reason})' if reason else ''),
            expected=PROVIDERS[asked], got=', '.join(got) or 'none', fix=CHECK_VERSIONS)


def check_assignment(asked: str, nodes: Sequence[tuple[str, str]]) -> None:
    """Refuse a session that does its heavy work on the CPU although a GPU was asked for.

    Args:
        asked: 'cpu', 'cuda' or 'tensorrt'.
        nodes: provider and operator of each node of the session.
    Raises:
        DeviceError: matrix products or convolutions run on the CPU.
    """
    stranded = sorted({operator for provider, operator in nodes
                       if provider == CPU and operator in _HEAVY})
    if asked != 'cpu' and stranded:
        raise DeviceError(f'the provider {asked} leaves heavy work to the CPU',
                          expected=f'all of it on {PROVIDERS[asked]}', got=', '.join(stranded),
                          fix='use a newer onnxruntime, another dtype, or model.provider: cpu')


def _there(provider: str, available: Sequence[str], because: str) -> str:
    if PROVIDERS[provider] not in available:
        raise DeviceError(f'this onnxruntime has no {PROVIDERS[provider]} ({because})',
                          got=', '.join(available), fix=_WAY_OUT.get(provider))
    return provider
