# SPDX-License-Identifier: Apache-2.0
"""Optimisers and schedule of all trainings: Muon for matrices, AdamW for the rest."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Tables are looked up row by row: orthogonalising their update would mix unrelated rows.
_TABLE_MODULES = (nn.Embedding,)


def split_parameters(model: nn.Module, keep_out: Callable[[str], bool] | None = None,
                     ) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Divide the trainable parameters into those for Muon (hidden matrices) and the others.

    Args:
        model: module whose parameters with `requires_grad` are divided; a tied one is listed once.
        keep_out: names of matrices that belong to AdamW all the same, e.g. output heads.
    Returns:
        (matrices, others); matrices are exactly two-dimensional and not lookup tables.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, _TABLE_MODULES)}
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_matrix = parameter.ndim == 2 and min(parameter.shape) > 1 and id(parameter) not in tables
        if is_matrix and not (keep_out and keep_out(name)):
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others


def build_optimizers(model: nn.Module, lr_matrix: float, lr_other: float, weight_decay: float,
                     keep_out: Callable[[str], bool] | None = None) -> list[torch.optim.Optimizer]:
    """Build Muon for the matrices and AdamW for everything else.

    Each parameter group remembers its peak rate as `peak_lr`, which `set_learning_rate_` scales.

    Args:
        model: module to train.
        lr_matrix: peak rate of Muon, in AdamW's scale, e.g. 2e-3.
            0 gives the matrices to AdamW too.
        lr_other: peak rate of AdamW.
        weight_decay: decoupled decay of matrices; vectors and tables get none.
        keep_out: names of matrices for AdamW, see `split_parameters`.
    Returns:
        One or two optimisers.
    Source: differs from the published fine-tuning (AdamW only): a model trained from scratch in CPU
        hours learned faster with Muon.
    """
    matrices, others = split_parameters(model, keep_out)
    optimizers: list[torch.optim.Optimizer] = []
    if lr_matrix > 0 and matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=lr_matrix, weight_decay=weight_decay,
                                           adjust_lr_fn='match_rms_adamw'))
        matrices = []
    groups = [{'params': others, 'weight_decay': 0.0},
              {'params': matrices, 'weight_decay': weight_decay}]
    groups = [group for group in groups if group['params']]
    if groups:
        optimizers.append(torch.optim.AdamW(groups, lr=lr_other, betas=(0.9, 0.98)))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group['peak_lr'] = group['lr']
    return optimizers


def learning_rate_factor(progress: float, warm_up: float = 0.02, floor: float = 0.0) -> float:
    """Return the factor on the peak rate: linear warm-up, then linear decay.

    Args:
        progress: share of the training that is over, 0..1.
        warm_up: share of the training spent rising.
        floor: factor at the very end.
    """
    if progress < warm_up:
        # Not from zero: the first step would do nothing.
        return max(progress / warm_up, 0.02)
    return floor + (1.0 - floor) * max(0.0, 1.0 - progress) / max(1.0 - warm_up, 1e-9)


def set_learning_rate_(optimizers: list[torch.optim.Optimizer], factor: float) -> None:
    """Set every group to `factor` times its peak rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group['lr'] = group['peak_lr'] * factor


def optimizer_states(optimizers: list[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    """Return the states for a checkpoint; `load_optimizer_states_` takes them back."""
    return [optimizer.state_dict() for optimizer in optimizers]


def load_optimizer_states_(optimizers: list[torch.optim.Optimizer],
                           states: list[dict[str, Any]]) -> None:
    """Put the states of `optimizer_states` back into optimisers built for the same model."""
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict(state)


class WeightAverage:
    """Exponential moving average of the weights: better than the last step."""

    def __init__(self, model: nn.Module, decay: float = 0.999):
        """Start from the present weights of the model."""
        self.decay = decay
        self.step = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the present weights; early on faster, so that the start is forgotten."""
        self.step += 1
        decay = min(self.decay, (1.0 + self.step) / (10.0 + self.step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value.detach(), 1.0 - decay)
            else:
                self.weights[name].copy_(value)

    def state(self) -> dict[str, Any]:
        """Return weights and step for a checkpoint; `load_state_` takes them back."""
        return {'average': self.weights, 'average_step': self.step}

    def load_state_(self, state: dict[str, Any]) -> None:
        """Go on from `state`, on the device where the weights are now.

        Args:
            state: what `state` has returned; other entries are left alone.
        Raises:
            RuntimeError: a weight of other size.
            KeyError: a weight is missing.
        """
        # A checkpoint is read into host memory, whatever it was written from.
        for name, weight in self.weights.items():
            weight.copy_(state['average'][name])
        self.step = state['average_step']
