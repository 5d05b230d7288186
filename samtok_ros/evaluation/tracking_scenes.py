# SPDX-License-Identifier: Apache-2.0
"""Rendered sequences with a known truth: a camera that moves, things that move, hide and leave.

Speeds are those of a robot's table at 30 images a second: a camera on a slow arm, a thing that is
pushed, another one that is carried past it, and one that is taken away and put back.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.demo.camera_path import orbit
from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.heldout_scenes import SPLIT
from samtok_ros.scenes.camera import Camera
from samtok_ros.scenes.sampling import PlacedObject, SceneLayout, sample_layout

if TYPE_CHECKING:
    from samtok_ros.scenes.renderer import SceneRenderer

RATE_HZ = 30
SEQUENCE_FRAMES = 3 * RATE_HZ
KINDS = ('camera', 'object', 'occlusion', 'leaving')

PLAIN, GONE = 0.6, 0.05
"""Shares of a thing that are visible: plain to see from the first on, gone up to the second."""

# Base seeds 0, 1000 and 2000 are those of other measurements and of the demo.
_BASE_SEED = 3000
_SEEDS_PER_BASE = 10 ** 7
_MOST_SEEDS = 2000
_SIDEWAYS_M_PER_S, _PUSH_M_PER_S, _TURN_RAD_PER_S = 0.06, 0.08, 0.5
_GAP_M = 0.01
_AWAY_M = 0.9
_MIN_AREA = 0.002
_GLANCE_HW, _GLANCE_EVERY = (120, 160), 9


@dataclass(frozen=True, eq=False)
class SequenceFrame:
    """One image of a sequence and the truth about the thing that is followed in it.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        segmentation: (H, W) uint8 object ids, 0 where there is none.
        visible: share of the target's pixels that no other thing covers, 0 where it is outside the
            image, or so small that nobody could tell.
    """

    image_rgb: np.ndarray
    segmentation: np.ndarray
    visible: float


@dataclass(frozen=True, eq=False)
class Sequence:
    """A table that something happens on.

    Attributes:
        kind: one of KINDS.
        seed: of the layout.
        target_id: object id of the thing that is followed.
        label: what it is called; no other thing in the first image is called so.
        frames: in order, RATE_HZ a second.
    """

    kind: str
    seed: int
    target_id: int
    label: str
    frames: tuple[SequenceFrame, ...]

    def truth(self, index: int) -> np.ndarray:
        """Return the (H, W) bool mask of the target in a frame."""
        return self.frames[index].segmentation == self.target_id


def sequences(
    count: int, seed: int = 0, size_hw: tuple[int, int] = (480, 640),
    frames: int = SEQUENCE_FRAMES, kinds: tuple[str, ...] = KINDS,
) -> Iterator[Sequence]:
    """Render sequences, the kinds in turns.

    Args:
        count: how many.
        seed: other seeds give other tables.
        size_hw: height and width of the images.
        frames: of each sequence; what happens is spread over them.
        kinds: some of KINDS.
    Raises:
        ConfigError: no table of these seeds will do.
        DeviceError: nothing can be rendered here.
    """
    from samtok_ros.scenes.renderer import SceneRenderer

    first = (_BASE_SEED + seed) * _SEEDS_PER_BASE
    seeds = iter(range(first, first + _MOST_SEEDS))
    with closing(SceneRenderer(size_hw)) as renderer:
        for index in range(count):
            yield _next_sequence(renderer, kinds[index % len(kinds)], seeds, size_hw, frames)


def _next_sequence(
    renderer: 'SceneRenderer', kind: str, seeds: Iterator[int], size_hw: tuple[int, int],
    frames: int,
) -> Sequence:
    for seed in seeds:
        layout = sample_layout(seed, SPLIT)
        for target in layout.objects:
            if not _is_unique(layout, target):
                continue
            views = _MOVES[kind](layout, target, frames)
            # A glance at a few small images first: most tables will not do.
            if views is None or not _shows(kind, [_visible(renderer, view, target, _GLANCE_HW)
                                                  for view in views[::_GLANCE_EVERY]]):
                continue
            rendered = _render(renderer, views, target, size_hw)
            if _shows(kind, [frame.visible for frame in rendered]):
                return Sequence(kind, seed, target.object_id,
                                f'{target.colour} {target.shape}', rendered)
    raise ConfigError('too few tables can be shown', got=kind, fix='choose another seed')


def _is_unique(layout: SceneLayout, target: PlacedObject) -> bool:
    return not any(other.shape == target.shape and other.colour == target.colour
                   for other in layout.objects if other is not target)


def _render(renderer: 'SceneRenderer', views: tuple[SceneLayout, ...], target: PlacedObject,
            size_hw: tuple[int, int]) -> tuple[SequenceFrame, ...]:
    found = []
    for view in views:
        picture = renderer.render(view, size_hw=size_hw)
        found.append(SequenceFrame(picture.rgb, picture.segmentation,
                                   _visible(renderer, view, target, size_hw)))
    return tuple(found)


def _visible(renderer: 'SceneRenderer', view: SceneLayout, target: PlacedObject,
             size_hw: tuple[int, int]) -> float:
    """Return the share of the target that no other thing covers, 0 where it is not in the image."""
    alone = renderer.render_segmentation(view, size_hw=size_hw, shown={target.object_id})
    seen = renderer.render_segmentation(view, size_hw=size_hw)
    whole = np.count_nonzero(alone)
    if whole < _MIN_AREA * alone.size:
        return 0.0
    return float(np.count_nonzero(seen == target.object_id) / whole)


def _shows(kind: str, visible: list[float]) -> bool:
    """Say whether the target is plain to see at first, and what is to happen to it happens."""
    if visible[0] < PLAIN:
        return False
    if kind in ('camera', 'object'):
        return min(visible) >= PLAIN
    # It hides or leaves, and is back before the end.
    return min(visible) <= GONE and visible[-1] >= PLAIN


def _camera_moves(layout: SceneLayout, target: PlacedObject,
                  frames: int) -> tuple[SceneLayout, ...] | None:
    """An arm with the camera swings around the table, 7 degrees a second, and sideways."""
    clockwise = bool(layout.seed % 2)
    drift_m = _SIDEWAYS_M_PER_S * frames / RATE_HZ
    views = []
    for fraction in np.linspace(-0.5, 0.5, frames):
        camera = orbit(layout.camera, fraction, clockwise)
        sideways = fraction * drift_m * camera.rotation[:, 0]
        views.append(replace(layout, camera=replace(
            camera, position_m=camera.position_m + sideways)))
    return tuple(views)


def _object_moves(layout: SceneLayout, target: PlacedObject,
                  frames: int) -> tuple[SceneLayout, ...] | None:
    """The target is pushed over the table, past the others, and turns a little."""
    start = np.array(target.position_m[:2])
    length = _PUSH_M_PER_S * frames / RATE_HZ
    for angle in np.linspace(0, 2 * np.pi, 16, endpoint=False) + layout.seed:
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        if _path_is_free(layout, target, start, end) and _is_in_picture(layout, target, end):
            steps = np.linspace(0, 1, frames)
            return tuple(_moved(layout, target, start + step * (end - start),
                                target.yaw + _TURN_RAD_PER_S * step * frames / RATE_HZ)
                         for step in steps)
    return None


def _another_passes(layout: SceneLayout, target: PlacedObject,
                    frames: int) -> tuple[SceneLayout, ...] | None:
    """Another thing is carried past, close in front of the target."""
    place = np.array(target.position_m[:2])
    towards = layout.camera.position_m[:2] - place
    towards /= np.linalg.norm(towards)
    across = np.array([-towards[1], towards[0]])
    for other in layout.objects:
        if other is target or other.geometry.height_m < target.geometry.height_m:
            continue
        apart = target.geometry.radius_m + other.geometry.radius_m + _GAP_M
        middle = place + apart * towards
        only = replace(layout, objects=tuple(
            thing for thing in layout.objects if thing in (target, other) or _clear_of(
                thing, other, middle - 0.35 * across, middle + 0.35 * across)))
        return tuple(_moved(only, other, middle + step * across, other.yaw)
                     for step in np.linspace(-0.35, 0.35, frames))
    return None


def _target_leaves(layout: SceneLayout, target: PlacedObject,
                   frames: int) -> tuple[SceneLayout, ...] | None:
    """The target is lifted out of the picture, is gone for a second, and is put back."""
    third = frames // 3
    rise = np.concatenate([np.zeros(third // 2), np.linspace(0, 1, third - third // 2),
                           np.ones(third), np.linspace(1, 0, third - third // 2)])
    rise = np.concatenate([rise, np.zeros(frames - len(rise))])
    place = np.array(target.position_m[:2])
    return tuple(_moved(layout, target, place, target.yaw, _AWAY_M * float(part) ** 2)
                 for part in rise)


_MOVES: dict[str, Callable[[SceneLayout, PlacedObject, int], tuple[SceneLayout, ...] | None]] = {
    'camera': _camera_moves, 'object': _object_moves, 'occlusion': _another_passes,
    'leaving': _target_leaves}


def _moved(layout: SceneLayout, thing: PlacedObject, place: np.ndarray, yaw: float,
           height_m: float = 0.0) -> SceneLayout:
    position = (float(place[0]), float(place[1]), height_m)
    return replace(layout, objects=tuple(
        replace(one, position_m=position, yaw=yaw) if one.object_id == thing.object_id else one
        for one in layout.objects))


def _path_is_free(layout: SceneLayout, target: PlacedObject, start: np.ndarray,
                  end: np.ndarray) -> bool:
    return all(_clear_of(other, target, start, end)
               for other in layout.objects if other is not target)


def _clear_of(still: PlacedObject, moving: PlacedObject, start: np.ndarray,
              end: np.ndarray) -> bool:
    """Say whether a thing stands clear of the way of another."""
    way = end - start
    place = np.array(still.position_m[:2])
    along = np.clip((place - start) @ way / (way @ way), 0, 1)
    distance = float(np.linalg.norm(place - start - along * way))
    return distance > still.geometry.radius_m + moving.geometry.radius_m + _GAP_M


def _is_in_picture(layout: SceneLayout, target: PlacedObject, place: np.ndarray) -> bool:
    return _corners_inside(layout.camera, np.array([*place, 0.0]), target)


def _corners_inside(camera: Camera, foot: np.ndarray, target: PlacedObject) -> bool:
    radius, height = target.geometry.radius_m, target.geometry.height_m
    corners = foot + np.array([(x, y, z) for x in (-radius, radius) for y in (-radius, radius)
                               for z in (0.0, height)])
    xy = camera.project(corners)
    return bool(((xy > 0) & (xy < 1)).all())
