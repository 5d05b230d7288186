# SPDX-License-Identifier: Apache-2.0
"""Which regions of a new answer are which of the things that are followed."""

from collections.abc import Mapping, Sequence

import numpy as np

from samtok_ros.masks.scores import iou
from samtok_ros.regions import Region
from samtok_ros.tracking.records import Track

_SAME_IOU = 0.3
"""Masks of one thing in one image overlap at least so far, as the model and the tracker see it."""

_LABEL_BONUS = 0.1
"""Of two candidates that overlap nearly equally, the one with the same label."""


def associate(
    tracks: Sequence[Track], masks: Mapping[int, np.ndarray], regions: Sequence[Region],
) -> dict[int, int]:
    """Match the regions of an answer with things that are followed; each is used once.

    A thing that was lost has no mask. It is matched by its label, where only one lost thing and
    only one region that is left over bear it.

    Args:
        tracks: things that are followed, the lost ones too.
        masks: (H, W) bool by track id, of the things that were not lost in the image of the answer.
        regions: of the answer, with masks of the same size.
    Returns:
        Track id by index of the region; regions that are new are not in it.
    """
    by_id = {track.track_id: track for track in tracks}
    pairs = []
    for index, region in enumerate(regions):
        for track_id, mask in masks.items():
            overlap = iou(region.mask, mask)
            if overlap >= _SAME_IOU:
                same = region.label == by_id[track_id].region.label
                pairs.append((overlap + _LABEL_BONUS * same, index, track_id))
    found: dict[int, int] = {}
    for _, index, track_id in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if index not in found and track_id not in found.values():
            found[index] = track_id
    return found | _by_label([track for track in tracks if track.track_id not in masks],
                             {index: region for index, region in enumerate(regions)
                              if index not in found})


def _by_label(lost: Sequence[Track], regions: Mapping[int, Region]) -> dict[int, int]:
    """Match lost things by a label that only one of them and only one region bears."""
    labels = [track.region.label for track in lost]
    spoken = [region.label for region in regions.values()]
    found = {}
    for track in lost:
        label = track.region.label
        if label and labels.count(label) == spoken.count(label) == 1:
            index = next(index for index, region in regions.items() if region.label == label)
            found[index] = track.track_id
    return found
