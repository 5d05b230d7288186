# SPDX-License-Identifier: Apache-2.0
"""Work that a GPU records once and does again at one command.

Where operations are short, handing them over to a GPU takes longer than the operations. A recording
(a CUDA graph) hands over a thousand of them at once. It does the same operations on the same memory
again, so what changes from run to run must be written into tensors that stay.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from samtok_ros.errors import DeviceError

Result = TypeVar('Result')
Recorder = Callable[[Callable[[], Result]], tuple[Callable[[], None], Result]]
"""Takes work; returns what does it again, and its result, which is written anew each time."""

_WARM_UPS = 3


def cuda_recorder(device: torch.device) -> Recorder:
    """Return the recorder of a GPU.

    Raises:
        DeviceError: the device is none.
    """
    if device.type != 'cuda':
        raise DeviceError('CUDA graphs need a GPU', expected='device cuda', got=f'device {device}',
                          fix='set model.cuda_graphs to false, or leave out --cuda-graphs')

    def record(work: Callable[[], Result]) -> tuple[Callable[[], None], Result]:
        with torch.cuda.device(device):
            # What is made at first use, such as work space of libraries, must not be recorded.
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(_WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Other threads may ask the device how much memory it has meanwhile.
            with torch.cuda.graph(graph, capture_error_mode='thread_local'):
                result = work()
        return graph.replay, result

    return record


class RecordedCall(Generic[Result]):
    """A function of tensors of fixed shapes, recorded when it is called first.

    Args:
        function: nothing but operations on the device: no value may be looked at, and to do it
            twice must be as good as once.
        record: of the device.
    """

    def __init__(self, function: Callable[..., Result], record: Recorder) -> None:
        self._function = function
        self._record = record
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._again: Callable[[], None] | None = None
        self._result: Result | None = None

    def __call__(self, *inputs: torch.Tensor) -> Result:
        """Run it; the next call overwrites the tensors of the result.

        Args:
            inputs: on the device; their shapes are those of the first call.
        """
        if self._again is None:
            self._inputs = tuple(one.clone() for one in inputs)
            self._again, self._result = self._record(lambda: self._function(*self._inputs))
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._again()
        return self._result
