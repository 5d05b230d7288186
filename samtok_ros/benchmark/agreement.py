# SPDX-License-Identifier: Apache-2.0
"""Whether two sides found the same; if not, their timings mean nothing."""

from collections.abc import Iterator, Mapping

import numpy as np

from samtok_ros.benchmark.interleave import Share
from samtok_ros.masks.scores import iou

# In float32 rounding moves a few pixels at the edges of a mask, and nothing else. In short numbers
# two ways to add up the same products, such as those of one image and of many, sometimes choose
# another of the candidates for a mask, which may have nothing in common with the first choice. So
# there a single mask says nothing. With one side that adds up otherwise, 99 % of 234 masks overlap
# by 0.5, and half of them by 0.98; with the features of another image none by 0.5.
_SHORT = ((0.75, 0.5), (0.5, 0.8))
LEAST_OVERLAPS = {'float32': ((0.99, 1.0),), 'float16': _SHORT, 'bfloat16': _SHORT}
"""Pairs of an IoU and the share of masks that must have it, by number format.

The two short formats share them: against either, the published pipeline is in bfloat16 on a GPU."""

_LEAST_IOU_AT = 0.5
_FEWEST_AT = 5
"""Repetitions from which on each of the N masks must overlap by that much in half of them: one mask
of twenty that is always wrong is a small share of all."""

# With one side that adds up otherwise 96 % of codes and 92 % of choices are the same at the least;
# with the features of another image 38 % of the codes of five masks or more.
LEAST_EQUAL = {'float32': 1.0, 'float16': 0.6, 'bfloat16': 0.6}
"""Smallest share of masks whose codes, and whose chosen candidate, must be equal."""

# Where two tokens are almost as likely, rounding decides; with random weights that is often so.
LEAST_CHOICES = {'float32': 0.95, 'bfloat16': 0.70}
"""Smallest share of tokens that two sides must agree on, by number format."""


def codes_differ(
    side: str, theirs: np.ndarray, ours: np.ndarray, dtype: str = 'float32',
) -> Iterator[str | Share]:
    """Hold (N, D) codes against each other."""
    if theirs.shape != ours.shape:
        yield f'{side} has codes of shape {theirs.shape}, ours {ours.shape}'
        return
    yield Share(f'codes of {side} are ours', int((theirs == ours).all(axis=1).sum()), len(ours),
                LEAST_EQUAL[dtype])


def index_differs(
    side: str, theirs: np.ndarray, ours: np.ndarray, dtype: str = 'float32',
) -> Iterator[Share]:
    """Hold against each other which of the candidates was chosen, (N,) each."""
    yield Share(f'{side} chooses our candidates', int((theirs == ours).sum()), len(ours),
                LEAST_EQUAL[dtype])


def masks_differ(
    side: str, theirs: np.ndarray, ours: np.ndarray, dtype: str = 'float32',
) -> Iterator[str | Share]:
    """Say whether masks overlap as far as rounding lets them.

    Args:
        side: name of the other side.
        theirs: (N, H, W), not 0 inside.
        ours: the same; two empty masks are the same mask.
        dtype: number format in which they were drawn.
    """
    if theirs.shape != ours.shape:
        yield f'{side} has masks of shape {theirs.shape}, ours {ours.shape}'
        return
    overlaps = [iou(*pair) for pair in zip(theirs != 0, ours != 0, strict=True)]
    for wanted, least in LEAST_OVERLAPS[dtype]:
        yield Share(f'masks of {side} overlap with ours by {wanted}',
                    sum(one >= wanted for one in overlaps), len(overlaps), least)
    if dtype != 'float32':
        for number, one in enumerate(overlaps, start=1):
            yield Share(f'mask {number} of {side} overlaps with ours by {_LEAST_IOU_AT}',
                        int(one >= _LEAST_IOU_AT), 1, 0.5, _FEWEST_AT)


def choices_differ(
    side: str, theirs: Mapping[int, int], ours: Mapping[int, int], words: range, dtype: str,
) -> Iterator[Share]:
    """Say at how many positions two sides would have said the same if there were no script.

    Args:
        side: name of the other side.
        theirs: token by position in the answer.
        ours: the same.
        words: ids of mask words. Our grammar allows them in spans only, so where the other side
            would have said one, the two cannot be compared.
        dtype: number format of the model.
    """
    both = [theirs[at] == ours[at] for at in theirs.keys() & ours.keys() if theirs[at] not in words]
    yield Share(f'{side} would have said what we say', sum(both), len(both), LEAST_CHOICES[dtype])


def texts_differ(side: str, theirs: str, ours: str) -> Iterator[str]:
    """Say so when two answers are not the same."""
    if theirs != ours:
        yield f'{side} says {theirs[:60]!r}, we say {ours[:60]!r}'
