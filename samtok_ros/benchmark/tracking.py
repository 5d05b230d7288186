# SPDX-License-Identifier: Apache-2.0
"""What it costs to follow things into the next image, by policy; the published code does not.

The time is that of a new image to regions that can be published: its features, the masks, and the
look whether they are to be trusted. `reencode` is timed at its dearest, with new words for all.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from samtok_ros.benchmark.interleave import Case, Comparison, Outcome
from samtok_ros.evaluation.synthetic_network import synthetic_image
from samtok_ros.masks.boxes import with_mask
from samtok_ros.regions import Region
from samtok_ros.runtime.backend import LoadedMaskModel, MaskModel
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tokenizer.video_memory import MEMORY_SLOTS
from samtok_ros.tracking.policies import Reencode, make_policy
from samtok_ros.tracking.records import Found, Track
from samtok_ros.tracking.tracker import Tracker

_ANY = {'max_colour_change': 255.0, 'max_area_change': 1e6}
"""Nothing is ever lost: a lost thing would be cheaper."""

Follow = Callable[[], object]


class _EveryWordNew(Reencode):
    """Reencode of things that have all moved."""

    def find(self, frame: Frame, tracks: list[Track]) -> list[Found]:
        return super().find(frame, [
            replace(track, found=replace(track.found, worded=~track.found.mask))
            for track in tracks])


def tracking_case(masks: MaskModel, wanted: np.ndarray, with_memory: bool) -> Case:
    """Follow things by each policy.

    Args:
        masks: the mask tokenizer, with its video memory where that is to be timed.
        wanted: (N, H, W) bool, the things.
        with_memory: whether SAM2's memory is timed too, when it is full.
    """
    policies = ('redecode', 'reencode', *(['memory'] if with_memory else []))

    def prepare(number: int) -> Mapping[str, Follow]:
        return {policy: _ready(masks, policy, wanted, number) for policy in policies}

    variants = {policy: lambda ready, policy=policy: Outcome(ready[policy]())
                for policy in policies}
    # One after the other, each alone: there is nothing that they could agree on.
    return Case(len(wanted), wanted.shape[1:], prepare, variants, lambda *_: [],
                [Comparison(policy, {'B': policy}) for policy in policies])


def _ready(masks: MaskModel, policy: str, wanted: np.ndarray, number: int) -> Follow:
    """Return the work that is timed, with all that goes before it done."""
    settings = TrackSettings(policy=policy, **_ANY)
    sizes = masks.config
    loaded = LoadedMaskModel(masks, '', '', sizes.codebook_size, sizes.codebook_depth)
    cache = FrameCache(2, 10 ** 12)
    access = LocalMaskAccess(loaded, cache, Statistics())
    tracker = Tracker(_EveryWordNew(access) if policy == 'reencode'
                      else make_policy(settings, access), settings)
    first = _frame(wanted.shape[1:], 1, 2 * number)
    codes = [tuple(one) for one in access.encode(first, wanted).tolist()]
    tracker.anchor(first, tuple(
        with_mask(Region(index, words, '', 1.0), mask, 1.0)
        for index, (words, mask) in enumerate(zip(codes, wanted, strict=True), start=1)))
    if policy == 'memory':  # Until it is full, each image costs more than the one before.
        for stamp_ns in range(2, 2 + MEMORY_SLOTS):
            again = _frame(wanted.shape[1:], stamp_ns, 2 * number)
            again.features = first.features
            tracker.follow(again)
    newest = _frame(wanted.shape[1:], 100, 2 * number + 1)
    return lambda: tracker.follow(newest)


def _frame(size_hw: tuple[int, int], stamp_ns: int, key: int) -> Frame:
    image_rgb = synthetic_image(*size_hw, key=key)
    return Frame(stamp_ns, '', lambda: image_rgb, image_rgb.nbytes)
