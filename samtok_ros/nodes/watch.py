# SPDX-License-Identifier: Apache-2.0
"""Shows what running nodes find, and what is wrong with them; for `samtok watch`."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage

from samtok_ros.errors import SamtokError
from samtok_ros.interface.ros_names import BOTH
from samtok_ros.lifting.target import LiftStatus
from samtok_ros.msg import LiftedTarget, RegionMask, RegionMasks
from samtok_ros.nodes.conversions import stamp_to_ns
from samtok_ros.nodes.health import Level
from samtok_ros.nodes.lifting_messages import masks_to_set
from samtok_ros.nodes.perception_client import PerceptionClient, Say
from samtok_ros.nodes.publishers import picture_qos, results_qos
from samtok_ros.runtime.lifting_records import MaskSet

_NODE_NAME = 'samtok_watch'
_MEET_S = 10.0
_LAST_PICTURE_S = 2.0
_PICTURES_DUE = 100
_EARLY_PICTURES = 20


@dataclass(frozen=True, eq=False)
class Seen:
    """One thing to show.

    Attributes:
        line: for people.
        is_result: it is a target, not a complaint.
        stamp_ns: of its image; 0 for a complaint.
        mask: (H, W) bool to be written, or None.
        jpeg: picture to be written, or None.
    """

    line: str = ''
    is_result: bool = False
    stamp_ns: int = 0
    mask: np.ndarray | None = None
    jpeg: bytes | None = None


def watch(namespace: str, count: int, say: Say, *, with_files: bool) -> Iterator[Seen]:
    """Yield what running nodes find, as it comes.

    Args:
        namespace: of the nodes.
        count: end after so many results; 0: go on for ever.
        say: told that nothing is heard.
        with_files: whether masks and pictures are wanted.
    Raises:
        ConfigError: the namespace is no ROS name, or ROS does not start.
    """
    with PerceptionClient(_NODE_NAME, namespace) as client:
        watcher = _Watcher(client, say, with_files)
        results = 0
        for seen in watcher.run():
            yield seen
            results += seen.is_result
            if count and results == count:
                break
        yield from watcher.last_pictures()


class _Watcher:
    """Subscriptions, and what has come and was not shown yet."""

    def __init__(self, client: PerceptionClient, say: Say, with_files: bool) -> None:
        self._client = client
        self._say = say
        self._with_files = with_files
        self._is_ending = False
        self._waiting: deque[Seen] = deque()
        self._pictures_due: deque[int] = deque(maxlen=_PICTURES_DUE)
        # Made behind the masks, but on a busy machine masks wait here and pictures do not.
        self._early_pictures: deque[Seen] = deque(maxlen=_EARLY_PICTURES)
        self._health: tuple[Level, frozenset[str]] | None = None
        node = client.node
        # Of what is latched only the news are of interest: the last target may be of last week.
        node.create_subscription(RegionMasks, 'masks', self._on_masks, results_qos())
        node.create_subscription(LiftedTarget, 'target/box', self._on_lifted, results_qos())
        if with_files:
            node.create_subscription(CompressedImage, 'overlay/compressed', self._on_overlay,
                                     picture_qos())

    def run(self) -> Iterator[Seen]:
        self._meet()
        while True:
            self._client.spin()
            self._look_at_health()
            yield from self._take()

    def _meet(self) -> None:
        """Wait until the nodes know us: pictures are made only for those they know of."""
        try:
            self._client.meet(BOTH, 'masks', time.monotonic() + _MEET_S, lambda _: None,
                              active=False)
            self._client.learn_time()
        except SamtokError as error:
            self._say(f'{error} Waiting.')
        if self._with_files:
            self._waiting.clear()

    def last_pictures(self) -> Iterator[Seen]:
        """Yield the pictures of results that were shown; they are made behind the masks."""
        self._is_ending = True
        self._waiting = deque(seen for seen in self._waiting if seen.jpeg is not None)
        self._client.wait_for(lambda: not self._pictures_due,
                              time.monotonic() + _LAST_PICTURE_S)
        yield from (seen for seen in self._take() if seen.jpeg is not None)

    def _take(self) -> Iterator[Seen]:
        while self._waiting:
            seen = self._waiting.popleft()
            if seen.mask is not None:
                self._await_picture(seen.stamp_ns)
            yield seen

    def _await_picture(self, stamp_ns: int) -> None:
        picture = next((one for one in self._early_pictures if one.stamp_ns == stamp_ns), None)
        if picture is None:
            self._pictures_due.append(stamp_ns)
        else:
            self._waiting.appendleft(picture)

    def _look_at_health(self) -> None:
        level, bad = self._client.health.worst()
        now = level, frozenset(bad)
        # Texts hold figures that change every second; which part is at fault does not.
        if now == self._health or self._client.health.is_empty:
            return
        self._health = now
        self._waiting.append(Seen(_health_line(level, bad)))

    def _on_masks(self, message: RegionMasks) -> None:
        if not message.complete or self._is_ending:
            return
        try:
            found = masks_to_set(message)
            shown = next((mask for mask in message.masks
                          if found.target and mask.id == found.target.region_id), None)
            wanted = self._with_files and shown is not None and not shown.lost
            mask = found.target.read_mask() if wanted else None
        except SamtokError as error:
            self._waiting.append(Seen(f'masks that cannot be read: {error}'))
            return
        age_s = self._client.age_s(message.header.stamp)
        self._waiting.append(Seen(_masks_line(age_s, found, shown), True, found.stamp_ns, mask))

    def _on_lifted(self, message: LiftedTarget) -> None:
        line = _lifted_line(self._client.age_s(message.header.stamp), message)
        self._waiting.append(Seen(line, True, stamp_to_ns(message.header.stamp)))

    def _on_overlay(self, message: CompressedImage) -> None:
        picture = Seen(stamp_ns=stamp_to_ns(message.header.stamp), jpeg=bytes(message.data))
        if picture.stamp_ns in self._pictures_due:
            self._pictures_due.remove(picture.stamp_ns)
            self._waiting.append(picture)
        else:
            self._early_pictures.append(picture)


def _masks_line(age_s: float, found: MaskSet, target: RegionMask | None) -> str:
    parts = [_head(age_s, found.origin.name.lower(), found.status.name)]
    if target is None:
        parts.append(repr(found.goal))
    else:
        box = target.box
        parts += [target.label or repr(found.goal), f'score {target.score:.2f}']
        parts += ['lost'] if target.lost else [
            f'box {box.x_offset} {box.y_offset} {box.x_offset + box.width} '
            f'{box.y_offset + box.height}', f'{target.area_px} px']
        if len(found.things) > 1:
            parts.append(f'and {len(found.things) - 1} more')
    return '  '.join([*parts, found.message] if found.message else parts)


def _lifted_line(age_s: float, target: LiftedTarget) -> str:
    head = _head(age_s, 'lifted', LiftStatus(target.status).name)
    name = target.label or repr(target.goal)
    if target.status != LiftedTarget.OK:
        return f'{head}  {name}  {target.message}'
    size = target.box_size
    centre = target.box_pose.position if size.x else target.centroid
    return (f'{head}  {name}  centre {centre.x:.3f} {centre.y:.3f} {centre.z:.3f} m  '
            f'size {size.x:.3f} {size.y:.3f} {size.z:.3f} m')


def _head(age_s: float, source: str, status: str) -> str:
    return f'{age_s:5.2f} s  {source:<8}  {status:<9}'


def _health_line(level: Level, bad: Mapping[str, str]) -> str:
    complaints = '; '.join(f'{name}: {text}' for name, text in bad.items())
    return f'diagnostics {level.name}' + (f'  {complaints}' if complaints else '')
