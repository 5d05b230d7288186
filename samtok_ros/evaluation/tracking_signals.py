# SPDX-License-Identifier: Apache-2.0
"""What tells a thing that was found from something else that was found in its place.

Whatever a policy draws is believed here, and each measure is asked how well it would have told the
right masks from the wrong ones.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from samtok_ros.masks.scores import iou
from samtok_ros.regions import Region
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.tracking.trust import mean_rgb

SIGNALS = ('colour', 'area', 'consecutive IoU', 'mask score', 'round trip')
_REFUSED = 0.95


@dataclass(frozen=True)
class SignalSample:
    """One mask that was found.

    Attributes:
        right: it is the thing; else the thing is gone or is elsewhere.
        values: by signal, the greater the more it speaks for the thing.
    """

    right: bool
    values: Mapping[str, float]


@dataclass(frozen=True)
class Sighting:
    """A mask in an image: (H, W) bool, not empty, and what else is known of it."""

    frame: Frame
    region: Region


def signals_of(now: Sighting, answer: Sighting, before: Region,
               access: LocalMaskAccess) -> dict[str, float]:
    """Return all signals of a mask that was found.

    Args:
        now: the mask.
        answer: the thing in the image of the answer.
        before: the thing in the image before.
        access: mask tokenizer, for the way through words and back.
    """
    mask = now.region.mask
    words = tuple(access.encode(now.frame, mask[None])[0].tolist())
    back = access.draw(now.frame, [words])[words][0]
    areas = (np.count_nonzero(mask), np.count_nonzero(answer.region.mask))
    colours = (mean_rgb(one.frame.image_rgb(), one.region.mask) for one in (now, answer))
    return {
        'colour': -float(np.abs(np.subtract(*colours)).max()),
        'area': -float(abs(np.log(areas[0] / areas[1]))),
        'consecutive IoU': iou(mask, before.mask),
        'mask score': now.region.mask_score or 0.0,
        'round trip': iou(mask, back)}


def signal_figures(samples: Iterable[SignalSample]) -> dict[str, dict[str, float | None]]:
    """Return for each signal how well it tells right from wrong.

    auc: chance that a right mask has more of it than a wrong one, 0.5 for no use at all.
    kept: share of the right masks that are left when 95 % of the wrong ones are refused by it.
    """
    samples = list(samples)
    return {name: _figures([one.values[name] for one in samples if one.right],
                           [one.values[name] for one in samples if not one.right])
            for name in SIGNALS}


def _figures(right: list[float], wrong: list[float]) -> dict[str, float | None]:
    if not right or not wrong:
        return {'auc': None, 'kept': None}
    order = np.sort(wrong)
    # Ties count half.
    below = (np.searchsorted(order, right, 'left') + np.searchsorted(order, right, 'right')) / 2
    limit = np.quantile(wrong, _REFUSED)
    return {'auc': round(float(below.mean() / len(wrong)), 4),
            'kept': round(float(np.mean(np.array(right) > limit)), 4)}


def signal_lines(figures: Mapping[str, Mapping[str, float | None]]) -> Iterator[str]:
    """Yield the figures as lines of a table."""
    yield f'{"what tells right from wrong":<36}{"auc":>8}{"kept":>8}'
    for name, row in figures.items():
        yield f'{name:<36}' + ''.join(
            f'{"-" if value is None else f"{value:.3f}":>8}' for value in row.values())
