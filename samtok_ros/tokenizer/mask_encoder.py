# SPDX-License-Identifier: Apache-2.0
"""Mask encoder: mask and box, seen against the image, become one mask embedding."""

import torch
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import nn


class MaskEncoder(nn.Module):
    """A two-way transformer like SAM's decoder's whose one learned query gathers the mask.

    Source: samtok-spec 1.5.
    """

    def __init__(self, transformer: TwoWayTransformer, dim: int) -> None:
        super().__init__()
        self.mask_tokens = nn.Embedding(1, dim)
        self.transformer = transformer

    def forward(
        self,
        image_embedding: torch.Tensor,
        image_positions: torch.Tensor,
        sparse_prompt: torch.Tensor,
        dense_prompt: torch.Tensor,
    ) -> torch.Tensor:
        """Return mask embeddings.

        Args:
            image_embedding: (N, C, h, w), with the no-memory embedding added.
            image_positions: (1, C, h, w) dense positional encoding.
            sparse_prompt: (N, 3, C) two box corners and the padding point.
            dense_prompt: (N, C, h, w) embedded masks.
        Returns:
            (N, C) mask embeddings.
        """
        count = sparse_prompt.shape[0]
        query = self.mask_tokens.weight.unsqueeze(0).expand(count, -1, -1)
        tokens = torch.cat([query, sparse_prompt], dim=1)
        keys = image_embedding + dense_prompt
        output, _ = self.transformer(keys, image_positions.expand(count, -1, -1, -1), tokens)
        return output[:, 0]
