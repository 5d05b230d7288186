# SPDX-License-Identifier: Apache-2.0
"""Whether two sides found the same; if not, their timings mean nothing."""

from collections.abc import Iterator, Mapping

import numpy as np

from samtok_ros.masks.scores import iou

# Rounding moves a few pixels at the edges of a mask, more of them with fewer bits.
LEAST_IOU = {'float32': 0.99, 'bfloat16': 0.90}
"""Smallest IoU that two drawings of the same codes may have, by number format."""

# In short numbers a batch of one image and a batch of many are not rounded alike, and codes whose
# borders are near flip.
LEAST_EQUAL = {'float32': 1.0, 'bfloat16': 0.90}
"""Smallest share of masks whose codes, and whose chosen candidate, must be equal."""

# Where two tokens are almost as likely, rounding decides; with random weights that is often so.
LEAST_CHOICES = {'float32': 0.95, 'bfloat16': 0.70}
"""Smallest share of tokens that two sides must agree on, by number format."""


def codes_differ(
    side: str, theirs: np.ndarray, ours: np.ndarray, least: float = 1.0,
) -> Iterator[str]:
    """Say so when (N, D) codes are not equal for as large a share of the masks as they must."""
    if theirs.shape != ours.shape:
        yield f'{side} has codes of shape {theirs.shape}, ours {ours.shape}'
    elif len(ours) and (theirs == ours).all(axis=1).mean() < least:
        yield f'codes of {side} are others than ours'


def index_differs(
    side: str, theirs: np.ndarray, ours: np.ndarray, least: float = 1.0,
) -> Iterator[str]:
    """Say so when another one of the candidates was chosen for too many of the masks."""
    if len(ours) and (theirs == ours).mean() < least:
        yield f'{side} chooses another candidate for {int((theirs != ours).sum())} masks'


def masks_differ(side: str, theirs: np.ndarray, ours: np.ndarray, least: float) -> Iterator[str]:
    """Say so when two masks overlap less than rounding explains.

    Args:
        side: name of the other side.
        theirs: (N, H, W), not 0 inside.
        ours: the same; two empty masks are the same mask.
        least: smallest IoU allowed.
    """
    if theirs.shape != ours.shape:
        yield f'{side} has masks of shape {theirs.shape}, ours {ours.shape}'
        return
    worst = min((iou(*pair) for pair in zip(theirs != 0, ours != 0, strict=True)), default=1.0)
    if worst < least:
        yield f'masks of {side} overlap with ours by {worst:.3f} only'


def choices_differ(
    side: str, theirs: Mapping[int, int], ours: Mapping[int, int], words: range, least: float,
) -> Iterator[str]:
    """Say so when two sides would have said other things than the script.

    Args:
        side: name of the other side.
        theirs: token by position in the answer.
        ours: the same.
        words: ids of mask words. Our grammar allows them in spans only, so where the other side
            would have said one, the two cannot be compared.
        least: share of the positions that must be equal.
    """
    both = [theirs[at] == ours[at] for at in theirs.keys() & ours.keys() if theirs[at] not in words]
    if both and sum(both) / len(both) < least:
        yield f'{side} would have said something else at {len(both) - sum(both)} of {len(both)}'


def texts_differ(side: str, theirs: str, ours: str) -> Iterator[str]:
    """Say so when two answers are not the same."""
    if theirs != ours:
        yield f'{side} says {theirs[:60]!r}, we say {ours[:60]!r}'
