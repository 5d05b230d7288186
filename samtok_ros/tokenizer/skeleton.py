# SPDX-License-Identifier: Apache-2.0
"""Networks without memory for weights, to be filled with tensors that are mapped from a file."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch.overrides import TorchFunctionMode

from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.video_memory import add_video_memory_

_MAKERS = (torch.empty, torch.zeros)
_FILLERS = frozenset({'uniform_', 'normal_', 'kaiming_uniform_', 'fill_', 'zero_', 'erfinv_',
                      'mul_', 'add_', 'clamp_'})
"""Initialisers of torch, and what those do that cannot be caught by their own name."""


class WithoutMemory(TorchFunctionMode):
    """Puts new weights on the meta device and skips their initialisers, and nothing else.

    `torch.device('meta')` would also take away small tables that constructors compute and read;
    initialisers on the meta device would load torch's compiler, 80 MB of it.
    """

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (),
        kwargs: Mapping | None = None,
    ) -> object:
        kwargs = dict(kwargs or {})
        if func in _MAKERS and kwargs.get('device') is None:
            return torch.empty(*args, **{**kwargs, 'device': 'meta'})
        if getattr(func, '__name__', '') in _FILLERS:
            tensor = args[0] if args else kwargs['tensor']
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def build_skeleton(
    config: MaskTokenizerConfig, video_memory: bool = False,
) -> MaskTokenizerNetwork:
    """Return a network whose weights have shapes but no memory.

    Args:
        config: sizes.
        video_memory: with SAM2's memory modules, which single images do not need.
    """
    with WithoutMemory():
        network = MaskTokenizerNetwork(config)
        if video_memory:
            add_video_memory_(network.sam, config)
    return network.eval().requires_grad_(False)
