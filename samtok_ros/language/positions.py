# SPDX-License-Identifier: Apache-2.0
"""Position ids and attention masks for one image followed by one or several questions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def position_ids_for(
    text_before: int, grid_hw: tuple[int, int], lengths_after: Sequence[int]
) -> 'torch.Tensor':
    """Give the 3-D positions of: text, one image, then several texts that each follow the image.

    With one length this is what Qwen3-VL computes itself (`model.model.get_rope_index`). With more,
    every text starts at the same position, as if the others were not there; pair it with
    `packed_attention_mask`. Text after an image resumes at image start + max(h, w).

    Args:
        text_before: tokens in front of the first visual token.
        grid_hw: visual tokens down and across, after spatial merging (7, 10 for a 4:3 camera).
        lengths_after: tokens of each text behind the image.
    Returns:
        (3, T) int64: time, row and column position of each token; the model wants (3, B, T).
    """
    import torch

    height, width = grid_hw
    rows = torch.arange(height).repeat_interleave(width)
    columns = torch.arange(width).repeat(height)
    image = torch.stack([torch.zeros_like(rows), rows, columns]) + text_before
    resume = text_before + max(height, width)
    texts = [torch.arange(length) + resume for length in lengths_after]
    after = torch.cat(texts).expand(3, -1) if texts else torch.empty(3, 0, dtype=torch.int64)
    return torch.cat([torch.arange(text_before).expand(3, -1), image, after], dim=1)


def position_ids_with_images(
    length: int, images: Sequence[tuple[int, tuple[int, int]]]
) -> 'torch.Tensor':
    """Give the 3-D positions of a text with any number of images in it.

    With one image this is `position_ids_for` with one text behind it.

    Args:
        length: T, visual tokens included.
        images: of each image, in order, the place of its first visual token and its visual tokens
            down and across.
    Returns:
        (3, T) int64.
    """
    import torch

    parts, at, position = [], 0, 0
    for start, (height, width) in images:
        text = torch.arange(start - at) + position
        position += start - at
        rows = torch.arange(height).repeat_interleave(width)
        columns = torch.arange(width).repeat(height)
        parts += [text.expand(3, -1),
                  torch.stack([torch.zeros_like(rows), rows, columns]) + position]
        position += max(height, width)
        at = start + height * width
    return torch.cat([*parts, (torch.arange(length - at) + position).expand(3, -1)], dim=1)


def packed_attention_mask(prefix_length: int, lengths_after: Sequence[int]) -> 'torch.Tensor':
    """Let every text see the prefix and its own past, but no other text.

    Args:
        prefix_length: tokens before the first text, visual tokens included.
        lengths_after: tokens of each text.
    Returns:
        (T, T) bool, True where the row's token may attend to the column's; the model takes
        (B, 1, T, T), bool with attention 'sdpa', additive float (0 and -inf) with 'eager'.
    """
    import torch

    lengths = torch.tensor([prefix_length, *lengths_after])
    text_of = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    same_text = text_of[:, None] == text_of[None, :]
    in_prefix = (text_of == 0)[None, :]
    causal = torch.ones(len(text_of), len(text_of), dtype=torch.bool).tril()
    return causal & (same_text | in_prefix)
