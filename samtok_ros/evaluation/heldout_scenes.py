# SPDX-License-Identifier: Apache-2.0
"""Scenes to measure on: held-out shapes, fixed seeds, the size of a camera image."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.generate import generate_scenes
from samtok_ros.scenes.sampling import SceneDescription
from samtok_ros.scenes.store import SceneStore, StorePlan, shard_length

SPLIT = 'heldout'
SIZE_HW = (480, 640)
SCENES = 500
BASE_SEED = 0
"""For reported figures only: models must not be selected by the scenes of this seed."""

_SHARD_SCENES = 50


@dataclass(frozen=True, eq=False)
class EvaluationScene:
    """One picture and the truth about it.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        segmentation: (H, W) uint8 object ids, 0 where there is none.
        description: what is in the picture; every thing in it can be asked for.
    """

    image_rgb: np.ndarray
    segmentation: np.ndarray
    description: SceneDescription

    def mask(self, object_id: int) -> np.ndarray:
        """Return the (H, W) bool mask of one thing."""
        return self.segmentation == object_id


def heldout_scenes(
    count: int = SCENES, seed: int = BASE_SEED, cache_dir: Path | None = None,
) -> Iterator[EvaluationScene]:
    """Give the scenes of a base seed, the same ones each time.

    Args:
        count: how many; fewer scenes are the first ones of more.
        seed: base seed.
        cache_dir: where rendered scenes are kept for the next time; None renders them as they are
            needed and keeps nothing.
    Raises:
        ConfigError: no scenes, or the cache holds other scenes.
        DeviceError, ImageError: scenes must be rendered, and MuJoCo or OpenGL is missing.
    """
    if count < 1 or seed < 0:
        raise ConfigError('there is nothing to measure on',
                          expected='1 scene or more and a seed of 0 or more',
                          got=f'{count} scenes, seed {seed}')
    return _rendered(count, seed) if cache_dir is None else _cached(count, seed, cache_dir)


def check_renderer() -> None:
    """Try whether scenes can be rendered here, before worker processes fail one by one.

    Raises:
        DeviceError, ImageError: MuJoCo or OpenGL is missing.
    """
    from samtok_ros.scenes.renderer import SceneRenderer

    SceneRenderer(SIZE_HW).close()


def _rendered(count: int, seed: int) -> Iterator[EvaluationScene]:
    # Imported late: scenes that are cached need no renderer.
    from samtok_ros.scenes.describe import render_described
    from samtok_ros.scenes.renderer import SceneRenderer

    plan = StorePlan(SPLIT, seed, SIZE_HW, _SHARD_SCENES)
    with closing(SceneRenderer(SIZE_HW)) as renderer:
        for index in range(count):
            rendered, description = render_described(renderer, plan.scene_seed(index), SPLIT,
                                                     SIZE_HW)
            yield EvaluationScene(rendered.rgb, rendered.segmentation, description)


def _cached(count: int, seed: int, cache_dir: Path) -> Iterator[EvaluationScene]:
    shard_scenes = _shard_scenes(cache_dir)
    # Whole shards, so that a cache made for a few scenes grows when more are wanted.
    shards = range(-(-count // shard_scenes))
    if any(shard_length(cache_dir, shard) < shard_scenes for shard in shards):
        check_renderer()
    generate_scenes(cache_dir, len(shards) * shard_scenes, SPLIT, seed, size_hw=SIZE_HW,
                    shard_scenes=shard_scenes)
    store = SceneStore(cache_dir)
    for index in range(count):
        yield EvaluationScene(np.asarray(store.rgb(index)), np.asarray(store.segmentation(index)),
                              store.description(index))


def _shard_scenes(cache_dir: Path) -> int:
    """Return the shard size of a store that is there already, so that it can be gone on with."""
    try:
        return SceneStore(cache_dir).plan.shard_scenes
    except ConfigError:
        return _SHARD_SCENES
