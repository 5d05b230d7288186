# SPDX-License-Identifier: Apache-2.0
"""Ways to find things of an earlier image again, with nothing but words."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from samtok_ros.masks.scores import iou
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tracking.records import Found, Track

_MOVED_IOU = 0.7
"""Of what words draw with what they drew first: below, the thing has moved and needs new words."""


class Policy(Protocol):
    """Finds things again; for the thread that runs the model.

    Its methods raise SamtokError: the image cannot be read, or the model failed.
    """

    words_fit: bool
    """Whether the words of what is found are words of the image that it is found in."""
    walks: bool
    """Whether what is found depends on what was found in the image before."""

    def begin(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """Look at things whose masks in this image are known from an answer."""

    def find(self, frame: Frame, tracks: Sequence[Track]) -> list[Found]:
        """Return what each of the things is in a later image."""

    def forget(self) -> None:
        """Forget all things."""


class Hold:
    """The mask stays as it was answered: what a consumer does that knows nothing of tracking."""

    words_fit = walks = False

    def begin(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """See Policy; there is nothing to prepare."""

    def find(self, frame: Frame, tracks: Sequence[Track]) -> list[Found]:
        """See Policy."""
        return [track.found for track in tracks]

    def forget(self) -> None:
        """See Policy; nothing is kept."""


class Redecode(Hold):
    """The words of the answer, drawn on the newer image.

    Words say roughly where a thing is and of which form; the image says the rest.
    """

    words_fit = True

    def __init__(self, access: LocalMaskAccess) -> None:
        self._access = access

    def find(self, frame: Frame, tracks: Sequence[Track]) -> list[Found]:
        """See Policy."""
        drawn = self._access.draw(frame, [track.found.codes for track in tracks])
        return [Found(*drawn[track.found.codes], track.found.codes, track.found.worded)
                for track in tracks]


class Reencode(Redecode):
    """As Redecode, but the words of a thing that has moved are replaced by new ones.

    They are those of what the old words still draw, so they follow a thing that moves. Not with
    each image: words of words drift away from the thing, and words that fit cost nothing.
    """

    walks = True

    def find(self, frame: Frame, tracks: Sequence[Track]) -> list[Found]:
        """See Policy."""
        found = super().find(frame, tracks)
        moved = [index for index, one in enumerate(found)
                 if one.mask.any() and iou(one.mask, one.worded) < _MOVED_IOU]
        if moved:
            masks = np.stack([found[index].mask for index in moved])
            codes = [tuple(words) for words in self._access.encode(frame, masks).tolist()]
            drawn = self._access.draw(frame, codes)
            for index, words in zip(moved, codes, strict=True):
                found[index] = Found(*drawn[words], words, drawn[words][0])
        return found


def make_policy(settings: TrackSettings, access: LocalMaskAccess) -> Policy | None:
    """Return the policy that the settings ask for, None for none.

    Args:
        settings: name it.
        access: mask tokenizer; for memory with its video memory.
    """
    if settings.policy == 'memory':
        # Imported here: it needs torch, which the other ways do without.
        from samtok_ros.tracking.memory import Memory
        return Memory(access)
    if settings.policy == 'none':
        return None
    return Hold() if settings.policy == 'hold' else _BY_WORDS[settings.policy](access)


_BY_WORDS = {'redecode': Redecode, 'reencode': Reencode}
