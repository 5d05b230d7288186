# SPDX-License-Identifier: Apache-2.0
"""Residual quantizer: mask embedding <-> codes by two codebooks.

Shapes: N regions, D codebook depth, K codebook size, C channels.
"""

import torch
from torch import nn

from samtok_ros.errors import SpanError
from samtok_ros.regions import NO_CODE


class Codebook(nn.Embedding):
    """One table of K entries and a padding row that is never searched.

    The two buffers are the running statistics of training; they are stored because the published
    checkpoints hold them.
    """

    cluster_size_ema: torch.Tensor
    embed_ema: torch.Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__(size + 1, dim, padding_idx=size)
        self.size = size
        self.weight.requires_grad_(False)
        self.register_buffer('cluster_size_ema', torch.ones(size))
        self.register_buffer('embed_ema', self.weight[:size].detach().clone())

    def nearest(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the code of the nearest entry for each vector.

        Args:
            vectors: (N, C) float.
        Returns:
            (N,) int64 in [0, K); the lowest code on ties.
        """
        entries = self.weight[:self.size].float()
        vectors = vectors.float()
        distance = (vectors.square().sum(1, keepdim=True) + entries.square().sum(1)
                    - 2 * vectors @ entries.T)
        return distance.argmin(dim=1)


class ResidualQuantizer(nn.Module):
    """Quantise in D steps, each one the rest that the steps before have left.

    Source: samtok-spec 1.6.
    """

    def __init__(self, size: int, depth: int, dim: int) -> None:
        super().__init__()
        self.codebooks = nn.ModuleList(Codebook(size, dim) for _ in range(depth))

    @property
    def size(self) -> int:
        """K, entries per codebook."""
        return self.codebooks[0].size

    def embeddings_to_codes(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Quantise mask embeddings.

        Args:
            embeddings: (N, C) float.
        Returns:
            (N, D) int64 codes, each in [0, K).
        """
        rest = embeddings.float()
        codes = []
        for codebook in self.codebooks:
            code = codebook.nearest(rest)
            rest = rest - codebook.weight[code].float()
            codes.append(code)
        return torch.stack(codes, dim=1)

    def codes_to_embeddings(
        self, codes: torch.Tensor, missing_as_zero: bool = False,
    ) -> torch.Tensor:
        """Look codes up and sum the rows.

        Args:
            codes: (N, d) int64 with 1 <= d <= D; fewer levels give a coarser embedding. NO_CODE
                marks a level that is missing in some of them. Best in host memory, where looking
                at their values does not wait for a device.
            missing_as_zero: use entry 0 where NO_CODE stands, instead of leaving the level out.
        Returns:
            (N, C) quantised mask embeddings, on the device of the codebooks.
        Raises:
            SpanError: a code is outside [0, K), the first one is missing, one behind a missing one
                is not, or there are more levels than codebooks.
        Source: samtok-spec 1.6: the published code means to leave a missing level out, but uses
            entry 0.
        """
        depth = len(self.codebooks)
        if codes.ndim != 2 or not 1 <= codes.shape[1] <= depth:
            raise SpanError('codes have the wrong shape', expected=f'(N, 1..{depth})',
                            got=tuple(codes.shape))
        present = codes != NO_CODE
        present[:, 0] = True
        found = codes[present]
        if found.numel() and (found.min() < 0 or found.max() >= self.size):
            raise SpanError('code out of range', expected=f'0..{self.size - 1}',
                            got=f'{int(found.min())}..{int(found.max())}')
        if (present[:, 1:] & ~present[:, :-1]).any():
            raise SpanError('codes have a gap', expected='no code behind a missing one',
                            got=codes.tolist())
        device = self.codebooks[0].weight.device
        entries = codes.clamp(min=0).to(device)
        rows = [book.weight[entries[:, level]]
                for level, book in enumerate(list(self.codebooks)[:codes.shape[1]])]
        used = (torch.ones_like(present) if missing_as_zero else present).to(device)
        return (torch.stack(rows, dim=1) * used.unsqueeze(-1)).sum(dim=1)
