# SPDX-License-Identifier: Apache-2.0
"""From a pair of masks and depth to what is said about the target, whatever has gone wrong."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.lifting.scene_points import scene_points
from samtok_ros.lifting.target import LiftedTarget, LiftStatus, lift_target
from samtok_ros.runtime.lifting_records import MaskedThing, MaskSet, Outcome, Pair
from samtok_ros.runtime.records import Origin, Status
from samtok_ros.settings.lifting import LiftingSettings


def lift_pair(pair: Pair, settings: LiftingSettings) -> Outcome:
    """Lift the target of an image.

    Args:
        pair: its masks with depth and calibration, or why there are none.
        settings: how points are chosen, and when they are good enough.
    """
    masks, target = pair.masks, pair.masks.target
    if masks.status in (Status.FAILED, Status.CANCELLED):
        ended = 'failed' if masks.status == Status.FAILED else 'was cancelled'
        return Outcome(masks, LiftStatus.REFUSED, _joined(f'the answer {ended}', masks.message))
    if target is None:
        return Outcome(masks, LiftStatus.EMPTY, _joined('there is no target in the image',
                                                        masks.message))
    if target.lost:
        return Outcome(masks, LiftStatus.LOST, 'the target was followed and is not found in this '
                       'image', target)
    try:
        lifted = _lift(pair, target, settings)
    except ImageError as error:
        return Outcome(masks, LiftStatus.REFUSED, str(error), target)
    return Outcome(masks, lifted.status, lifted.message, target, lifted)


def lift_others(pair: Pair, outcome: Outcome, settings: LiftingSettings
                ) -> Iterator[tuple[MaskedThing, LiftedTarget]]:
    """Yield every region of an image with what is known of it in 3D.

    Regions that cannot be lifted at all are left out.

    Args:
        pair: as it was lifted.
        outcome: what became of its target, which is not lifted twice.
        settings: as for the target.
    """
    for thing in pair.masks.things:
        if thing is outcome.target:
            if outcome.lifted is not None:
                yield thing, outcome.lifted
        elif not thing.lost:
            try:
                yield thing, _lift(pair, thing, settings)
            except ImageError:
                continue


def withdrawn(masks: MaskSet, why: str) -> Outcome:
    """Return what replaces the target of an image when it must not be used any longer."""
    return Outcome(replace(masks, things=()), LiftStatus.REFUSED, why)


class InOrder:
    """Tells which masks are news: tracking is ahead of the language model.

    While images are tracked, the answer about an older image may still come. It is about to be
    tracked into the present; a target in 3D must not go back in time for it. That nothing fits is
    news at any time.
    """

    def __init__(self, max_behind_s: float) -> None:
        """Start without masks.

        Args:
            max_behind_s: older answers than this are of another time, such as a bag played anew.
        """
        self._max_behind_ns = int(max_behind_s * 1e9)
        self._newest: MaskSet | None = None

    def is_news(self, masks: MaskSet) -> bool:
        """Tell whether masks are to be lifted."""
        newest = self._newest
        if newest is not None and newest.origin == Origin.TRACKED and (
                masks.origin == Origin.ANSWERED and masks.status == Status.OK):
            behind_ns = newest.stamp_ns - masks.stamp_ns
            if 0 < behind_ns <= self._max_behind_ns:
                return False
        self._newest = masks
        return True

    def forget(self) -> None:
        """Forget what came: time began anew."""
        self._newest = None


def scene_without(pair: Pair, target: MaskedThing | None, margin_px: int) -> np.ndarray:
    """Return (H, W, 3) float32 points of everything but the target, NaN where there is none.

    Args:
        pair: masks, depth and calibration of an image.
        target: left out; None leaves nothing out.
        margin_px: around the target that is left out too.
    Raises:
        ImageError: there is no depth image or camera_info that fits.
    """
    mask = None if target is None or target.lost else target.read_mask()
    return scene_points(pair.depth_m, pair.camera, mask, margin_px)


def _lift(pair: Pair, thing: MaskedThing, settings: LiftingSettings) -> LiftedTarget:
    return lift_target(thing.read_mask(), pair.depth_m, pair.camera, settings.points,
                       settings.quality)


def _joined(text: str, more: str) -> str:
    return f'{text}: {more}' if more else text
