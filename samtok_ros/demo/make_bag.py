# SPDX-License-Identifier: Apache-2.0
"""Render the demo's bag: a camera moves over tables with shapes that no model was trained on."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.demo.camera_bag import CameraBagWriter, CameraFrame
from samtok_ros.demo.camera_path import orbit
from samtok_ros.demo.goals import DemoGoal, draw_goal, save_goals
from samtok_ros.demo.truth import FrameTruth, TrueObject, save_truth
from samtok_ros.errors import ConfigError

if TYPE_CHECKING:
    from samtok_ros.scenes.renderer import SceneRenderer
    from samtok_ros.scenes.sampling import SceneDescription, SceneLayout

logger = logging.getLogger(__name__)

DATA_DIR = Path(__file__).parent / 'data'
CAMERA_BAG, TRUTH_FILE, GOALS_FILE = 'camera', 'truth.jsonl', 'goals.json'
START_NS = 1_767_268_800_123_456_789
"""First stamp, in 2026; its last digits show whether stamps are copied to the nanosecond."""

# One row per scene, one goal per entry: which kinds are asked for, in order.
_PROGRAMME = (('attribute', 'several', 'none'), ('superlative', 'relation', 'several'),
              ('none', 'attribute', 'relation'), ('several', 'superlative', 'none'))
# Base seeds of scenes: 0 and 1000 are the held-out scenes of evaluation and model selection.
_BASE_SEED = 2000
_SEEDS_PER_BASE = 10 ** 7
_MOST_SEEDS = 500
_FEWEST_THINGS = 5
_EDGE_MARGIN = 0.01
_NO_READING_M = 6.0


@dataclass(frozen=True)
class BagPlan:
    """What a bag shows.

    Attributes:
        seed: other seeds give other scenes.
        scenes: how many, 1 to 4.
        frames_per_scene: images of each, one goal at least for each three.
        size_hw: height and width of the images.
        rate_hz: images a second.
        jpeg_quality: of the colour images.
    """

    seed: int = 0
    scenes: int = len(_PROGRAMME)
    frames_per_scene: int = 25
    size_hw: tuple[int, int] = (480, 640)
    rate_hz: int = 10
    jpeg_quality: int = 95

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: a number is out of range.
        """
        if not 1 <= self.scenes <= len(_PROGRAMME) or self.frames_per_scene < 3:
            raise ConfigError('no such bag', expected=f'1 to {len(_PROGRAMME)} scenes of at least '
                              '3 frames', got=f'{self.scenes} of {self.frames_per_scene}')

    def stamp_ns(self, index: int) -> int:
        """Return the stamp of an image, or where it would be."""
        return START_NS + index * 1_000_000_000 // self.rate_hz


@dataclass(frozen=True, eq=False)
class _Tour:
    """A scene that can be shown: its layout seen from each place, and its goals."""

    scene: int
    views: tuple['SceneLayout', ...]
    goals: tuple[DemoGoal, ...]


def make_bag(out: Path, plan: BagPlan | None = None) -> None:
    """Render a camera bag with truth and goals; they appear when all of it is written.

    Args:
        out: the folder; it may exist, but must hold no bag yet.
        plan: what to show; None for the bag that ships with the package.
    Raises:
        ConfigError: there is a bag already, or no scene of these seeds will do.
        DeviceError: nothing can be rendered here.
    """
    plan = plan or BagPlan()
    if (out / CAMERA_BAG).exists():
        raise ConfigError('bag cannot be written', got=f'{out / CAMERA_BAG} exists already',
                          fix='name another folder, or remove this one')
    with closing(_open_renderer(plan)) as renderer:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix='.', suffix='.part', dir=out) as part:
            _write_bag(Path(part), renderer, plan)
            # The bag last: where it is, its truth and its goals are.
            for name in (TRUTH_FILE, GOALS_FILE, CAMERA_BAG):
                (Path(part) / name).replace(out / name)


def _open_renderer(plan: BagPlan) -> 'SceneRenderer':
    from samtok_ros.scenes.renderer import DEFAULT_SIZE_HW, SceneRenderer

    largest = tuple(max(pair) for pair in zip(plan.size_hw, DEFAULT_SIZE_HW, strict=True))
    return SceneRenderer(largest)


def _write_bag(folder: Path, renderer: 'SceneRenderer', plan: BagPlan) -> None:
    truth: list[FrameTruth] = []
    goals: list[DemoGoal] = []
    with CameraBagWriter(folder / CAMERA_BAG, plan.jpeg_quality) as bag:
        for tour in _tours(renderer, plan):
            logger.info('scene %d: %s', tour.scene, ', '.join(goal.text for goal in tour.goals))
            goals += tour.goals
            for frame, frame_truth in _render(renderer, tour, plan):
                bag.write(frame)
                truth.append(frame_truth)
    save_truth(folder / TRUTH_FILE, truth)
    save_goals(folder / GOALS_FILE, goals)


def _tours(renderer: 'SceneRenderer', plan: BagPlan) -> Iterator[_Tour]:
    """Find scenes in the order of their seeds."""
    from samtok_ros.scenes.sampling import sample_layout

    scene = 0
    first = (_BASE_SEED + plan.seed) * _SEEDS_PER_BASE
    for seed in range(first, first + _MOST_SEEDS):
        tour = _tour(renderer, sample_layout(seed, 'heldout'), scene, plan)
        if tour is None:
            continue
        yield tour
        scene += 1
        if scene == plan.scenes:
            return
    raise ConfigError('too few scenes can be shown', expected=plan.scenes, got=scene,
                      fix='choose another seed')


def _tour(renderer: 'SceneRenderer', layout: 'SceneLayout', scene: int,
          plan: BagPlan) -> _Tour | None:
    """Return the tour of a scene, None when something hides on the way or goals cannot be found."""
    if len(layout.objects) < _FEWEST_THINGS:
        return None
    views = tuple(
        replace(layout, camera=orbit(layout.camera, fraction, clockwise=bool(scene % 2)))
        for fraction in np.linspace(-0.5, 0.5, plan.frames_per_scene))
    frames: dict[int, SceneDescription] = {}
    # Both ends first: most scenes that cannot be shown fail there.
    for index in dict.fromkeys((0, len(views) - 1, *range(len(views)))):
        frames[index] = _description(renderer, views[index])
        if not _is_presentable(frames[index]):
            return None
    things = [frames[index].objects for index in range(len(views))]
    goals = _draw_goals(things, scene, layout.seed, plan)
    return None if goals is None else _Tour(scene, views, goals)


def _description(renderer: 'SceneRenderer', layout: 'SceneLayout') -> 'SceneDescription':
    from samtok_ros.scenes.describe import describe

    return describe(renderer, layout, renderer.render_segmentation(layout))


def _is_presentable(description: 'SceneDescription') -> bool:
    from samtok_ros.scenes.describe import is_referable

    inside = all(min(thing.box_xyxy[:2]) > _EDGE_MARGIN
                 and max(thing.box_xyxy[2:]) < 1 - _EDGE_MARGIN for thing in description.objects)
    return inside and is_referable(description)


def _draw_goals(things: list, scene: int, seed: int, plan: BagPlan) -> tuple[DemoGoal, ...] | None:
    """Draw the goals of a scene, each for its stretch of images."""
    kinds = _PROGRAMME[scene]
    rng = np.random.default_rng(seed)
    borders = np.linspace(0, len(things), len(kinds) + 1).round().astype(int)
    goals: list[DemoGoal] = []
    for kind, first, end in zip(kinds, borders[:-1], borders[1:], strict=True):
        found = draw_goal(kind, things[first:end], rng, [goal.text for goal in goals])
        if found is None:
            return None
        start = scene * plan.frames_per_scene
        goals.append(DemoGoal(found[0], kind, scene, plan.stamp_ns(int(start + first)),
                              plan.stamp_ns(int(start + end)), found[1]))
    return tuple(goals)


def _render(renderer: 'SceneRenderer', tour: _Tour,
            plan: BagPlan) -> Iterator[tuple[CameraFrame, FrameTruth]]:
    for index, layout in enumerate(tour.views, start=tour.scene * plan.frames_per_scene):
        picture = renderer.render(layout, size_hw=plan.size_hw, depth=True)
        stamp_ns = plan.stamp_ns(index)
        seen = np.where(picture.depth_m < _NO_READING_M, picture.depth_m, 0.0)
        yield CameraFrame(
            stamp_ns, picture.rgb, np.round(seen * 1000).astype(np.uint16), picture.intrinsics,
            layout.camera.rotation, layout.camera.position_m
        ), FrameTruth(stamp_ns, tour.scene, plan.size_hw, tuple(
            _true_object(layout, placed, picture.segmentation) for placed in layout.objects))


def _true_object(layout: 'SceneLayout', placed: object, segmentation: np.ndarray) -> TrueObject:
    from samtok_ros.scenes.true_box import true_box

    middle = np.array(placed.position_m) + [0.0, 0.0, placed.geometry.height_m / 2]
    position = layout.camera.to_camera(middle[None])[0]
    return TrueObject(placed.object_id, placed.shape, placed.colour, placed.size,
                      tuple(round(float(value), 4) for value in position),
                      segmentation == placed.object_id, true_box(placed, layout.camera))
