# SPDX-License-Identifier: Apache-2.0
"""From a layout and its masks to the description that questions are asked about."""

from collections.abc import Iterable

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.renderer import DEFAULT_SIZE_HW, RenderedScene, SceneRenderer
from samtok_ros.scenes.sampling import (
    MIN_OBJECTS,
    PlacedObject,
    SceneDescription,
    SceneLayout,
    SceneObject,
    sample_layout,
)

MIN_AREA = 0.004
MIN_VISIBLE_FRACTION = 0.35
# Nearly half of the drawings are refused; that many in a row happen to no seed in practice.
_MAX_ATTEMPTS = 200


def render_described(renderer: SceneRenderer, seed: int, split: str,
                     size_hw: tuple[int, int] = DEFAULT_SIZE_HW,
                     depth: bool = False) -> tuple[RenderedScene, SceneDescription]:
    """Render the scene of a seed in which everything can be asked for.

    Layouts in which a thing is too small or too hidden are drawn again; the judgement is made at
    DEFAULT_SIZE_HW, so that a seed gives the same scene at every size.

    Args:
        renderer: allows at least `size_hw` and DEFAULT_SIZE_HW.
        seed: see sample_layout.
        split: 'train' or 'heldout'.
        size_hw: height and width of the picture.
        depth: whether depth is wanted too.
    Raises:
        ConfigError: the split is unknown.
    """
    for attempt in range(_MAX_ATTEMPTS):
        layout = sample_layout(seed, split, attempt)
        if len(layout.objects) < MIN_OBJECTS:
            continue
        segmentation = renderer.render_segmentation(layout)
        description = describe(renderer, layout, segmentation)
        if not is_referable(description):
            continue
        if size_hw == DEFAULT_SIZE_HW and not depth:
            rgb = renderer.render_colour(layout)
            camera = layout.camera
            return RenderedScene(rgb, segmentation, None, camera.intrinsics(size_hw),
                                 camera), description
        rendered = renderer.render(layout, size_hw=size_hw, depth=depth)
        return rendered, describe(renderer, layout, rendered.segmentation)
    raise ConfigError('no usable scene for this seed', got=seed, fix='choose another seed')


def is_referable(description: SceneDescription) -> bool:
    """Say whether every thing is large and visible enough to be asked for."""
    return all(thing.area >= MIN_AREA and thing.visible_fraction >= MIN_VISIBLE_FRACTION
               for thing in description.objects)


def describe(renderer: SceneRenderer, layout: SceneLayout,
             segmentation: np.ndarray) -> SceneDescription:
    """Measure how the things of a layout appear from the layout's own camera.

    Visible fractions are exact: a thing whose pixels touch those of another one is rendered a
    second time alone; a thing that touches none is not covered by any.

    Args:
        renderer: what rendered the segmentation.
        layout: the scene.
        segmentation: (H, W) uint8 object ids.
    Returns:
        One record per thing of the layout, of area 0 and a box of zeros for the invisible.
    """
    touching = _touching_ids(segmentation)
    objects = []
    for placed in layout.objects:
        alone = None
        if placed.object_id in touching:
            alone = renderer.render_segmentation(
                layout, size_hw=segmentation.shape, shown={placed.object_id})
        objects.append(_describe_object(layout, placed, segmentation, alone))
    return SceneDescription(layout.seed, layout.split, layout.attempt, tuple(objects))


def _touching_ids(segmentation: np.ndarray) -> set[int]:
    """Ids of things with a pixel next to a pixel of another thing."""
    found: set[int] = set()
    for first, second in ((segmentation[:, 1:], segmentation[:, :-1]),
                          (segmentation[1:], segmentation[:-1])):
        pairs = (first != second) & (first > 0) & (second > 0)
        found.update(first[pairs].tolist(), second[pairs].tolist())
    return found


def _describe_object(layout: SceneLayout, placed: PlacedObject, segmentation: np.ndarray,
                     alone: np.ndarray | None) -> SceneObject:
    height, width = segmentation.shape
    rows, columns = np.nonzero(segmentation == placed.object_id)
    pixels = len(rows)
    centre, box, visible = (0.0, 0.0), (0.0, 0.0, 0.0, 0.0), 0.0
    if pixels:
        centre = ((columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height)
        box = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width,
               (rows.max() + 1) / height)
        visible = 1.0 if alone is None else pixels / np.count_nonzero(alone)
    middle = np.array(placed.position_m) + [0.0, 0.0, placed.geometry.height_m / 2]
    position = layout.camera.to_camera(middle[None])[0]
    return SceneObject(
        placed.object_id, placed.shape, placed.colour, placed.size,
        _rounded(centre), _rounded(box), _rounded([pixels / (height * width)])[0],
        round(float(visible), 4), round(float(position[2]), 4),
        round(float(np.linalg.norm(position)), 4), _rounded(position), round(placed.yaw, 4))


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)
