# SPDX-License-Identifier: Apache-2.0
"""Losses of mask tokenizer training, one formula each.

Shapes: N regions, 3 mask candidates, t x t target cells.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from samtok_ros.tokenizer.network import MaskCandidates

# Cross-entropy is a mean over all cells, of which an object covers a few per cent: the weight lifts
# it to the scale of Dice.
BCE_WEIGHT = 10.0


def mask_losses(
    candidates: MaskCandidates, targets: torch.Tensor, logit_threshold: float,
) -> torch.Tensor:
    """Return weighted binary cross-entropy plus Dice for every candidate.

    Logits are shifted by the threshold first, so that cutting there is cutting at one half.

    Args:
        candidates: of the decoder.
        targets: (N, 1, t, t) share of each cell that the mask covers, 0..1.
        logit_threshold: of the model.
    Returns:
        (N, 3) losses.
    """
    logits = F.interpolate(candidates.low_res_logits, size=targets.shape[-2:], mode='bilinear',
                           align_corners=False) - logit_threshold
    wanted = targets.expand_as(logits)
    bce = F.binary_cross_entropy_with_logits(logits, wanted, reduction='none').mean(dim=(2, 3))
    drawn = logits.sigmoid()
    overlap = (drawn * wanted).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (drawn.sum(dim=(2, 3)) + wanted.sum(dim=(2, 3)) + 1)
    return BCE_WEIGHT * bce + dice


@torch.no_grad()
def candidate_ious(
    candidates: MaskCandidates, targets: torch.Tensor, logit_threshold: float,
) -> torch.Tensor:
    """Return (N, 3) IoU of the candidates with the targets, both cut to masks."""
    logits = F.interpolate(candidates.low_res_logits, size=targets.shape[-2:], mode='bilinear',
                           align_corners=False)
    drawn, wanted = logits > logit_threshold, targets > 0.5
    overlap = (drawn & wanted).sum(dim=(2, 3))
    return overlap / (drawn | wanted).sum(dim=(2, 3)).clamp(min=1)


def attention_loss(mass: torch.Tensor) -> torch.Tensor:
    """Return minus the mean log of the attention that falls inside the mask.

    Args:
        mass: any shape, 0..1, summed attention inside the mask.
    """
    return -(mass + 1e-4).log().mean()


class CrossAttentionProbe:
    """Keeps the inputs of attention modules, to compute their weights afterwards.

    The sam2 package's attention is fused and gives no weights; training supervises where its
    queries look.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        """Start watching; call `close` when done."""
        self._inputs: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []
        self._hooks = [module.register_forward_pre_hook(self._keep, with_kwargs=True)
                       for module in modules]

    def _keep(self, module: nn.Module, _: tuple, kwargs: dict[str, torch.Tensor]) -> None:
        self._inputs.append((module, kwargs['q'], kwargs['k']))

    def mass_inside(self, inside: torch.Tensor, tokens: list[int]) -> torch.Tensor:
        """Return the attention of chosen queries inside a mask, and forget the inputs.

        Args:
            inside: (N, h*w) float, 1 inside the mask.
            tokens: positions of the queries.
        Returns:
            (modules, N, len(tokens)), averaged over heads.
        """
        result = []
        for module, queries, keys in self._inputs:
            q = module._separate_heads(module.q_proj(queries[:, tokens].float()), module.num_heads)
            k = module._separate_heads(module.k_proj(keys.float()), module.num_heads)
            weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
            result.append((weights * inside[:, None, None]).sum(dim=-1).mean(dim=1))
        self._inputs.clear()
        return torch.stack(result)

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()
