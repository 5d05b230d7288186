# SPDX-License-Identifier: Apache-2.0
"""Masks meet the depth image and the calibration of their own stamp.

Masks come later than their image, depth images before or after them. A mask is never paired with
depth of another moment: while a camera or a thing moves, that is a point cloud of the wrong place.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from samtok_ros.lifting.stamp_ring import StampRing
from samtok_ros.runtime.frame_cache import stamp_text
from samtok_ros.runtime.lifting_records import Calibration, DepthImage, MaskSet, Pair
from samtok_ros.runtime.records import Status
from samtok_ros.settings.lifting import LiftingSettings

_MOST_WAITING = 1000
_CALIBRATION_BYTES = 1 << 20
_SAYS_WHAT_IS_THERE = (Status.OK, Status.NO_TARGET, Status.TRUNCATED)


@dataclass(frozen=True)
class _Waiting:
    """Masks whose depth image or calibration has not come yet."""

    masks: MaskSet
    until: float


class LiftingPairs:
    """Pairs by exact stamp; what cannot be paired is handed on with the reason.

    Pairs are handed on in the order in which their masks came, as far as depth images come in the
    order of their stamps.
    """

    def __init__(
        self, ready: Callable[[Pair], None], why_no_depth: Callable[[], str] = lambda: '',
        why_no_calibration: Callable[[], str] = lambda: '',
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire it up; `configure` gives it settings.

        Args:
            ready: takes each pair; must return at once.
            why_no_depth: says why no depth image has come at all.
            why_no_calibration: says why no calibration has come at all.
            now: a clock in seconds; tests pass their own.
        """
        self._ready = ready
        self._why_no_depth = why_no_depth
        self._why_no_calibration = why_no_calibration
        self._now = now
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self.configure(LiftingSettings())

    def configure(self, settings: LiftingSettings) -> None:
        """Take settings and forget everything."""
        with self._lock:
            depth = settings.depth
            self._settings = settings
            self.depth: StampRing[DepthImage] = StampRing(
                depth.keep_s, depth.megabytes * 1_000_000, lambda image: image.nbytes)
            self._calibrations: StampRing[Calibration] = StampRing(
                depth.keep_s, _CALIBRATION_BYTES, lambda calibration: 256)
            self._waiting.clear()

    def change_settings(self, settings: LiftingSettings) -> None:
        """Take changed live settings."""
        self._settings = settings

    def forget_after(self, stamp_ns: int) -> None:
        """Forget what is newer: time jumped back, and it is of a time that is gone.

        Args:
            stamp_ns: newest stamp that is kept; -1 for none.
        """
        with self._lock:
            self.depth.forget_after(stamp_ns)
            self._calibrations.forget_after(stamp_ns)
            self._waiting = deque(entry for entry in self._waiting
                                  if entry.masks.stamp_ns <= stamp_ns)

    @property
    def has_calibration(self) -> bool:
        """Whether any calibration is kept."""
        return len(self._calibrations) > 0

    @property
    def waiting(self) -> int:
        """Mask sets that wait."""
        return len(self._waiting)

    def put_masks(self, masks: MaskSet) -> None:
        """Hand complete masks over."""
        with self._lock:
            pair = self._pair(masks)
            if pair is not None:
                self._ready(pair)
                return
            self._waiting.append(_Waiting(masks, self._now() + self._settings.wait_s))
            if len(self._waiting) > _MOST_WAITING:
                self._ready(Pair(self._waiting.popleft().masks, refusal='too many masks wait for '
                                 'their depth image'))

    def put_depth(self, depth: DepthImage) -> bool:
        """Keep a depth image; True when its stamp is a step back in time."""
        with self._lock:
            is_back = self.depth.put(depth.stamp_ns, depth)
            self._look_again()
            return is_back

    def put_calibration(self, calibration: Calibration) -> bool:
        """Keep a calibration; True when its stamp is a step back in time."""
        with self._lock:
            is_back = self._calibrations.put(calibration.stamp_ns, calibration)
            self._look_again()
            return is_back

    def close_expired(self) -> None:
        """Hand masks on that have waited long enough; call it several times a second."""
        now = self._now()
        with self._lock:
            while self._waiting and self._waiting[0].until <= now:
                masks = self._waiting.popleft().masks
                self._ready(self._pair(masks, is_last_call=True))

    def _look_again(self) -> None:
        """Hand on what needs to wait no longer."""
        if not self._waiting:
            return
        still = deque()
        for entry in self._waiting:
            pair = self._pair(entry.masks)
            if pair is None:
                still.append(entry)
            else:
                self._ready(pair)
        self._waiting = still

    def _pair(self, masks: MaskSet, is_last_call: bool = False) -> Pair | None:
        """Return the pair, or why there will be none; None while that is open.

        Args:
            masks: of an image.
            is_last_call: whether they have waited long enough.
        """
        if not self._needs_depth(masks):
            return Pair(masks)
        stamp_ns = masks.stamp_ns
        depth, calibration = self.depth.get(stamp_ns), self._calibrations.get(stamp_ns)
        # Where something of a later stamp has come, ours was left out: it would be here by now.
        is_late = is_last_call or _is_past(self._calibrations, stamp_ns)
        if calibration is None and (is_late or not self._come_together()):
            calibration = self._constant_calibration(stamp_ns)
        if depth is not None and calibration is not None:
            return Pair(masks, depth, calibration, _misfit(masks, depth, calibration))
        gone = is_last_call or (depth is None and _is_past(self.depth, stamp_ns)) or (
            calibration is None and _is_past(self._calibrations, stamp_ns))
        return Pair(masks, refusal=self._missing(masks)) if gone else None

    def _needs_depth(self, masks: MaskSet) -> bool:
        target = masks.target
        has_target = target is not None and not target.lost
        return masks.status in _SAYS_WHAT_IS_THERE and (
            has_target or self._settings.scene.enabled)

    def _come_together(self) -> bool:
        """Tell whether this driver gives depth images and their calibration the same stamps."""
        return any(self._calibrations.get(depth.stamp_ns) is not None
                   for depth in reversed(self.depth.items()))

    def _constant_calibration(self, stamp_ns: int) -> Calibration | None:
        """Return what the calibrations before and after a stamp agree on, None where they do not.

        Where all of them are on one side, the two nearest must agree, or there is but one.
        """
        if self._settings.camera.stamp == 'exact':
            return None
        kept = sorted(self._calibrations.items(), key=lambda one: one.stamp_ns)
        before = [one for one in kept if one.stamp_ns < stamp_ns]
        after = [one for one in kept if one.stamp_ns > stamp_ns]
        asked = [before[-1], after[0]] if before and after else [*before[-2:], *after[:2]]
        return asked[-1] if len({one.key for one in asked}) == 1 else None

    def _missing(self, masks: MaskSet) -> str:
        """Say what masks lack."""
        stamp_ns = masks.stamp_ns
        if self.depth.get(stamp_ns) is None:
            return _no_such('depth image', self.depth, stamp_ns, self._why_no_depth)
        why = _no_such('camera_info', self._calibrations, stamp_ns, self._why_no_calibration)
        changes = self._settings.camera.stamp == 'constant' and len(self._calibrations) > 0
        return f'{why}, and the calibration is changing' if changes else why


def _is_past(ring: StampRing, stamp_ns: int) -> bool:
    return ring.newest_ns is not None and ring.newest_ns > stamp_ns


def _no_such(what: str, ring: StampRing, stamp_ns: int, why: Callable[[], str]) -> str:
    """Say that nothing has a stamp, and which stamp comes nearest."""
    nearest_ns = ring.nearest_ns(stamp_ns)
    if nearest_ns is None:
        reason = why()
        return f'no {what} has come' + (f': {reason}' if reason else '')
    off_ms = (nearest_ns - stamp_ns) / 1e6
    side = 'later' if off_ms > 0 else 'earlier'
    return (f'no {what} has the stamp {stamp_text(stamp_ns)} of the image; the nearest is '
            f'{stamp_text(nearest_ns)}, {abs(off_ms):.1f} ms {side}')


def _misfit(masks: MaskSet, depth: DepthImage, calibration: Calibration) -> str:
    """Say why depth and calibration do not belong to the image, '' when they do."""
    if calibration.refusal:
        return calibration.refusal
    for what, frame_id in (('depth image', depth.frame_id),
                           ('camera_info', calibration.frame_id)):
        if frame_id != masks.frame_id:
            return (f'the {what} is of frame {frame_id!r}, the image of {masks.frame_id!r}: use '
                    'depth that is aligned to the colour camera, and its camera_info')
    for what, size, more in (('depth image', depth.size, ''), (
            'camera_info', calibration.camera.size, ' after its roi and binning')):
        if size != masks.size:
            return (f'the {what} is {size.width} x {size.height}{more}, the image '
                    f'{masks.size.width} x {masks.size.height}: use depth that is aligned to the '
                    'colour camera, and its camera_info')
    return ''
