# SPDX-License-Identifier: Apache-2.0
"""The regions of the last answer, kept alive on the images that come after it."""

from collections.abc import Sequence
from dataclasses import replace

from samtok_ros.regions import Region
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.settings.mask_tokenizer import TrackSettings
from samtok_ros.tracking.association import associate
from samtok_ros.tracking.history import MaskHistory
from samtok_ros.tracking.policies import Policy
from samtok_ros.tracking.records import Found, Track
from samtok_ros.tracking.trust import is_trusted, mean_rgb


class Tracker:
    """Finds things again and says when they are lost; knows nothing of goals and messages.

    An answer about an older image comes in through `anchor`, each newer image through `follow`.
    """

    def __init__(self, policy: Policy, settings: TrackSettings, given: int = 0) -> None:
        """Start without things.

        Args:
            policy: how things are found again.
            settings: when a thing that was found is trusted; may be replaced at any time.
            given: numbers that things have had already; they are not given again.
        """
        self.given = given
        self.settings = settings
        self._policy = policy
        self._tracks: tuple[Track, ...] = ()
        self._history = MaskHistory()
        self._newest_ns = 0

    @property
    def alive(self) -> int:
        """Things that are followed and not lost."""
        return sum(not track.lost for track in self._tracks)

    @property
    def lost(self) -> int:
        """Things that are followed and lost."""
        return len(self._tracks) - self.alive

    @property
    def newest_ns(self) -> int:
        """Stamp of the newest image that things were looked for in, 0 before the first."""
        return self._newest_ns

    def anchor(self, frame: Frame, regions: Sequence[Region]) -> tuple[Region, ...]:
        """Take the regions of an answer as the truth about its image.

        Things that are followed and are not among them are followed no longer. What was found in
        newer images is forgotten: look again, with `follow`.

        Args:
            frame: that the answer is about.
            regions: with masks.
        Returns:
            The regions with the numbers of their things.
        Raises:
            SamtokError: the image cannot be read, or the model failed.
        """
        size = frame.size
        masks = self._history.masks_near(frame.stamp_ns, (size.height, size.width))
        known = {track.track_id: track for track in self._tracks}
        ids = associate(self._tracks, {key: mask for key, mask in masks.items() if key in known},
                        regions)
        tracks = []
        for index, region in enumerate(regions):
            found = Found(region.mask, region.mask_score or 0.0, region.codes, region.mask)
            tracks.append(Track(ids.get(index) or self._new_id(), region, found,
                                mean_rgb(frame.image_rgb(), region.mask)))
        self._tracks = tuple(tracks)
        self._policy.begin(frame, self._tracks)
        self._newest_ns = frame.stamp_ns
        # The next answer must not be compared with what this one has put right.
        self._history.drop_from(frame.stamp_ns)
        self._history.add(frame.stamp_ns, self._tracks)
        return tuple(replace(region, track_id=track.track_id)
                     for region, track in zip(regions, tracks, strict=True))

    @property
    def walks(self) -> bool:
        """Whether it helps to look at images in between before a much later one."""
        return self._policy.walks

    @property
    def words_fit(self) -> bool:
        """Whether the words of a thing are words of the newest image."""
        return self._policy.words_fit

    def follow(self, frame: Frame) -> tuple[Region, ...]:
        """Look for all things in a newer image.

        A thing that is lost is looked for where it was seen last, and is back when what is found
        there is trusted.

        Returns:
            All of them, those that are lost with empty masks.
        Raises:
            SamtokError: the image cannot be read, or the model failed.
        """
        found = self._policy.find(frame, self._tracks)
        image_rgb = frame.image_rgb()
        self._tracks = tuple(
            track.seen(one) if is_trusted(track, one, image_rgb, self.settings)
            else track.unseen() for track, one in zip(self._tracks, found, strict=True))
        self._newest_ns = frame.stamp_ns
        self._history.add(frame.stamp_ns, self._tracks)
        return tuple(track.to_region() for track in self._tracks)

    def end(self) -> tuple[Region, ...]:
        """Follow nothing any more; return all things as lost."""
        ended = tuple(track.unseen().to_region() for track in self._tracks)
        self._tracks = ()
        self._newest_ns = 0
        self._history.clear()
        self._policy.forget()
        return ended

    def _new_id(self) -> int:
        self.given += 1
        return self.given
