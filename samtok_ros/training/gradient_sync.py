# SPDX-License-Identifier: Apache-2.0
"""Data-parallel training by a few processes of one machine: one core, one process."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn


def join_group(rank: int, count: int, meeting_file: Path) -> None:
    """Join `count` processes over a file that none of them may find from an earlier run."""
    if count > 1:
        dist.init_process_group('gloo', init_method=f'file://{meeting_file.resolve()}',
                                rank=rank, world_size=count)


def rank() -> int:
    """Return this process's number, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def wait_for_all() -> None:
    """Go on only when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def average_(parameters: list[nn.Parameter], shared: float) -> float:
    """Average the gradients of all processes in place, and one number with them.

    The number (how much of the budget is used) keeps their clocks together: all take the same
    decisions about learning rate and end.

    Args:
        parameters: the same ones, in the same order, in every process.
        shared: this process's number.
    Returns:
        the mean of the numbers.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return shared
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    grads = [parameter.grad for parameter in parameters]
    flat = torch.cat([grad.reshape(-1) for grad in grads] + [grads[0].new_tensor([shared])])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    pieces = flat[:-1].split([grad.numel() for grad in grads])
    for grad, piece in zip(grads, pieces, strict=True):
        grad.copy_(piece.view_as(grad))
    return float(flat[-1])
