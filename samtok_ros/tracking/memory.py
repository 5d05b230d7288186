# SPDX-License-Identifier: Apache-2.0
"""Following by SAM2's own streaming memory, for models that have it."""

from collections.abc import Sequence

from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.tokenizer.video_tracker import ThingMemory, VideoTracker
from samtok_ros.tracking.records import Found, Track


class Memory:
    """Each thing has a memory of its first image and of the newest ones; see Policy.

    SAM2 judges itself whether a thing is in the image. Masks do not come from words.
    """

    words_fit = False
    walks = True

    def __init__(self, access: LocalMaskAccess) -> None:
        """Wrap a mask tokenizer that was loaded with its video memory."""
        self._access = access
        self._tracker = VideoTracker(access.loaded.model)
        self._memories: dict[int, ThingMemory] = {}

    def begin(self, frame: Frame, tracks: Sequence[Track]) -> None:
        """See Policy."""
        features = self._access.features_of(frame)
        self._memories = {track.track_id: self._tracker.start(features, track.found.mask)
                          for track in tracks}

    def find(self, frame: Frame, tracks: Sequence[Track]) -> list[Found]:
        """See Policy."""
        features = self._access.features_of(frame)
        found = []
        for track in tracks:
            seen = self._tracker.step(features, self._memories[track.track_id])
            found.append(Found(seen.mask, seen.score, (), seen.mask))
        return found

    def forget(self) -> None:
        """See Policy."""
        self._memories = {}
