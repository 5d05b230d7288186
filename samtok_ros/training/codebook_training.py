# SPDX-License-Identifier: Apache-2.0
"""How codebooks learn: start by k-means, running averages, restart of entries nobody uses.

Source: samtok-spec 5.1; the published run has batches of 1,024 masks, so its rule "fewer than one
use" is stated here relative to the mean use.
"""

from dataclasses import dataclass

import numpy as np
import torch

from samtok_ros.tokenizer.quantizer import Codebook, ResidualQuantizer


@dataclass(frozen=True)
class CodebookTrainingConfig:
    """Settings of codebook learning.

    Attributes:
        decay: of the running averages, per step.
        dead_share: an entry used less than this share of the mean is restarted.
        drop_second: chance that a mask is drawn from its first code alone.
    """

    decay: float = 0.99
    dead_share: float = 0.05
    drop_second: float = 0.15


@dataclass(frozen=True)
class Quantised:
    """Result of one quantisation in training.

    Attributes:
        embeddings: (N, C), gradients pass straight through.
        commitment: scalar loss that pulls mask embeddings to their entries.
        codes: (N, D) int64.
    """

    embeddings: torch.Tensor
    commitment: torch.Tensor
    codes: torch.Tensor


def kmeans(vectors: torch.Tensor, count: int, seed: int, rounds: int = 25) -> torch.Tensor:
    """Return (count, C) centres; an empty one is moved to a random vector.

    With fewer vectors than centres, some centres are alike.
    """
    generator = torch.Generator().manual_seed(seed)
    first = (torch.randperm(len(vectors), generator=generator)[:count] if len(vectors) >= count
             else torch.randint(len(vectors), (count,), generator=generator))
    centres = vectors[first].clone()
    for _ in range(rounds):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        counts = torch.bincount(nearest, minlength=count).unsqueeze(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        spare = vectors[torch.randint(len(vectors), (count,), generator=generator)]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), spare)
    return centres


@torch.no_grad()
def start_codebooks_(quantizer: ResidualQuantizer, vectors: torch.Tensor, seed: int) -> None:
    """Set every codebook by k-means on what the levels before leave of the vectors (M, C)."""
    rest = vectors.float().cpu()
    for codebook in quantizer.codebooks:
        centres = kmeans(rest, codebook.size, seed)
        codebook.weight[:codebook.size] = centres
        codebook.weight[codebook.size] = 0
        nearest = torch.cdist(rest, centres).argmin(dim=1)
        codebook.cluster_size_ema.copy_(torch.bincount(nearest, minlength=codebook.size))
        # The averages of training are per batch; only their ratio matters for the rows.
        codebook.cluster_size_ema.clamp_(min=0.5)
        codebook.embed_ema.copy_(centres * codebook.cluster_size_ema.cpu().unsqueeze(1))
        rest = rest - centres[nearest]


def quantise(
    quantizer: ResidualQuantizer, embeddings: torch.Tensor, config: CodebookTrainingConfig,
    rng: np.random.Generator,
) -> Quantised:
    """Quantise a batch, update the codebooks' averages and rows, and pass gradients through.

    The result uses the rows as they were before the update.
    """
    rest = embeddings.detach().float()
    total = torch.zeros_like(rest)
    first_only = torch.as_tensor(rng.random(len(rest)) < config.drop_second, device=rest.device)
    codes, commitments, drawn = [], [], None
    for level, codebook in enumerate(quantizer.codebooks):
        code = codebook.nearest(rest)
        rows = codebook.weight[code].float()
        total = total + rows
        commitments.append((embeddings.float() - total).square().mean())
        _update_(codebook, rest, code, config, rng)
        drawn = rows if level == 0 else torch.where(first_only[:, None], drawn, drawn + rows)
        rest = rest - rows
        codes.append(code)
    straight = embeddings + (drawn - embeddings).detach()
    return Quantised(straight, torch.stack(commitments).mean(), torch.stack(codes, dim=1))


@torch.no_grad()
def _update_(
    codebook: Codebook, vectors: torch.Tensor, codes: torch.Tensor,
    config: CodebookTrainingConfig, rng: np.random.Generator,
) -> None:
    counts = torch.bincount(codes, minlength=codebook.size).float()
    sums = torch.zeros_like(codebook.embed_ema).index_add_(0, codes, vectors)
    codebook.cluster_size_ema.mul_(config.decay).add_(counts, alpha=1 - config.decay)
    codebook.embed_ema.mul_(config.decay).add_(sums, alpha=1 - config.decay)
    mean_use = codebook.cluster_size_ema.mean()
    dead = torch.nonzero(codebook.cluster_size_ema < config.dead_share * mean_use).flatten()
    if len(dead):
        chosen = torch.as_tensor(rng.integers(len(vectors), size=len(dead)), device=vectors.device)
        codebook.cluster_size_ema[dead] = mean_use
        codebook.embed_ema[dead] = vectors[chosen] * mean_use
    codebook.weight[:codebook.size] = (codebook.embed_ema
                                       / codebook.cluster_size_ema.clamp(min=1e-8).unsqueeze(1))
