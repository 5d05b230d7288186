# SPDX-License-Identifier: Apache-2.0
"""How well masks are lifted: on rendered tables with exact geometry, measured by a depth camera.

Masks are the true ones: what is measured is lifting, not the model that draws masks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from samtok_ros.evaluation.depth_sensor import DepthSensor
from samtok_ros.evaluation.lifting_scenes import LiftingScene, LiftingThing
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.target import LiftedTarget, LiftStatus, lift_target
from samtok_ros.settings.lifting import PointSettings, QualitySettings

NEAR_M = 0.005
SCALES: Mapping[str, float] = {'metres read as millimetres': 0.001,
                               'millimetres read as metres': 1000.0,
                               'tenths of millimetres read as millimetres': 10.0}
SHIFTS_PX = (4, 8, 16, 32)
_ROUGH_PX = 3


@dataclass(frozen=True)
class LiftSample:
    """One thing, lifted.

    Attributes:
        shape, distance_m: of the thing.
        status: how lifting ended.
        near_share: of the points within 5 mm of the true surface; NaN without points.
        centroid_m: distance of their mean from that of the visible surface.
        centre_m: distance of the middle of the box from the true one.
        extents: relative error of its longer, its shorter and its upright length.
        caught_scales: wrong scales that were noticed.
        caught_shifts: of SHIFTS_PX, those that were noticed.
        unnoticed_m: error of the centroid with each shift that was not noticed.
        rough_alarm: depth was called shifted because the mask was drawn a few pixels wrong.
    """

    shape: str
    distance_m: float
    status: LiftStatus
    near_share: float
    centroid_m: float
    centre_m: float
    extents: tuple[float, float, float]
    caught_scales: tuple[str, ...]
    caught_shifts: tuple[int, ...]
    unnoticed_m: Mapping[int, float]
    rough_alarm: bool


def measure(scenes: Iterable[LiftingScene], sensor: DepthSensor | None = None
            ) -> Iterator[LiftSample]:
    """Lift every thing of scenes.

    Args:
        scenes: with their truth.
        sensor: that measures depth; the usual one when left out.
    """
    for scene in scenes:
        rng = np.random.default_rng([scene.seed, 11])
        depth_m = (sensor or DepthSensor()).measure(scene.depth_m, rng)
        for thing in scene.things:
            yield _sample(thing, scene, depth_m, rng)


def _sample(thing: LiftingThing, scene: LiftingScene, depth_m: np.ndarray,
            rng: np.random.Generator) -> LiftSample:
    lifted = _lift(thing, depth_m, scene.camera)
    scales = tuple(name for name, factor in SCALES.items()
                   if not _is_good(_lift(thing, depth_m * np.float32(factor), scene.camera)))
    angle = rng.uniform(0, 2 * np.pi)
    caught, unnoticed = [], {}
    for pixels in SHIFTS_PX:
        offset = tuple(int(v) for v in np.round([pixels * np.sin(angle), pixels * np.cos(angle)]))
        wrong = _lift(thing, np.roll(depth_m, offset, (0, 1)), scene.camera)
        if _is_good(wrong):
            unnoticed[pixels] = centroid_error_m(wrong, thing, scene)
        else:
            caught.append(pixels)
    return LiftSample(
        thing.shape, thing.distance_m, lifted.status, near_share(lifted, thing),
        centroid_error_m(lifted, thing, scene), *box_errors(lifted, thing), scales, tuple(caught),
        unnoticed, any(
            _lift(replace(thing, mask=mask), depth_m, scene.camera).status == LiftStatus.MISALIGNED
            for mask in rough_masks(thing.mask)))


def rough_masks(mask: np.ndarray) -> Iterator[np.ndarray]:
    """Yield masks as a model draws them on a bad day: too small, too large, and a little aside."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _ROUGH_PX + 1,) * 2)
    yield cv2.erode(mask.astype(np.uint8), disc) > 0
    yield cv2.dilate(mask.astype(np.uint8), disc) > 0
    for offset in ((_ROUGH_PX, 0), (-_ROUGH_PX, 0), (0, _ROUGH_PX), (0, -_ROUGH_PX)):
        yield np.roll(mask, offset, (0, 1))


def near_share(lifted: LiftedTarget, thing: LiftingThing) -> float:
    """Return the share of the points within 5 mm of the true surface."""
    from scipy.spatial import cKDTree

    if not len(lifted.surface.points_m):
        return float('nan')
    distances, _ = cKDTree(thing.surface_m).query(lifted.surface.points_m)
    return float((distances <= NEAR_M).mean())


def centroid_error_m(lifted: LiftedTarget, thing: LiftingThing, scene: LiftingScene) -> float:
    """Return how far the mean of the points lies from that of the visible surface."""
    if not len(lifted.surface.points_m):
        return float('nan')
    rows, columns = np.nonzero(thing.mask)
    exact = scene.camera.points(rows, columns, scene.depth_m[rows, columns].astype(np.float64))
    return float(np.linalg.norm(lifted.surface.points_m.mean(axis=0) - exact.mean(axis=0)))


def box_errors(lifted: LiftedTarget, thing: LiftingThing
               ) -> tuple[float, tuple[float, float, float]]:
    """Return the distance of the middles of the boxes, and the relative errors of the extents."""
    if lifted.box is None:
        return float('nan'), (float('nan'),) * 3
    off = lifted.box.extents_m / thing.box.extents_m - 1
    return (float(np.linalg.norm(lifted.box.centre_m - thing.box.centre_m)),
            tuple(float(value) for value in off))


def table(samples: Sequence[LiftSample]) -> str:
    """Return the figures as text."""
    good = [sample for sample in samples if sample.status == LiftStatus.OK]
    lines = [f'{len(samples)} things, lifted OK: {len(good)} '
             f'({_cell(_ok_share(samples), form=".1%")})',
             '', f'{"":34}{"median":>10}{"worst 5 %":>10}{"bar":>24}']
    near = 100 * np.array([sample.near_share for sample in good])
    lines.append(f'{"points within 5 mm, %":34}{_cell(_of(near, np.median), 10)}'
                 f'{_cell(_of(near, _p5), 10)}{"all: 95":>24}')
    for name, values, bar in _columns(good):
        lines.append(f'{name:34}{_cell(_of(values, np.median), 10)}'
                     f'{_cell(_of(values, _p95), 10)}{bar:>24}')
    lines += ['', f'{"shape":12}{"things":>8}{"centroid mm":>14}{"centre mm":>12}'
              f'{"longer %":>11}{"shorter %":>11}{"height %":>10}']
    for shape in sorted({sample.shape for sample in good}):
        of_shape = [sample for sample in good if sample.shape == shape]
        columns = [np.median(values) for _, values, _ in _columns(of_shape)][:5]
        lines.append(f'{shape:12}{len(of_shape):8}{columns[0]:14.1f}{columns[1]:12.1f}'
                     f'{columns[2]:11.1f}{columns[3]:11.1f}{columns[4]:10.1f}')
    return '\n'.join([*lines, '', *_caught(samples)])


def figures(samples: Sequence[LiftSample]) -> dict[str, float | None]:
    """Return the figures that have a bar, and how often wrong depth was noticed.

    A figure is None where nothing was lifted that it could be taken of.
    """
    good = [sample for sample in samples if sample.status == LiftStatus.OK]
    found = {'things': len(samples), 'ok_share': _ok_share(samples),
             'points_within_5_mm': _of([sample.near_share for sample in good], np.mean)}
    for name, values, _ in _columns(good):
        found[f'{name}, median'] = _of(values, np.median)
        found[f'{name}, p95'] = _of(values, _p95)
    for name in SCALES:
        found[f'caught: {name}'] = _share(name in sample.caught_scales for sample in samples)
    for pixels in SHIFTS_PX:
        found[f'caught: shifted by {pixels} px'] = _share(
            pixels in sample.caught_shifts for sample in samples)
    found.update({f'false alarms: {name}': share for name, share in _false_alarms(samples).items()})
    return found


def _columns(samples: Sequence[LiftSample]) -> list[tuple[str, np.ndarray, str]]:
    extents = 100 * np.abs(np.reshape([sample.extents for sample in samples], (-1, 3)))
    return [
        ('centroid of the surface, mm', 1000 * np.array([s.centroid_m for s in samples]),
         'median 5, p95 15'),
        ('middle of the box, mm', 1000 * np.array([s.centre_m for s in samples]), 'median 15'),
        ('longer length, %', extents[:, 0], 'median 20'),
        ('shorter length, %', extents[:, 1], 'median 20'),
        ('height, %', extents[:, 2], 'median 20'),
        ('all lengths, %', extents.ravel(), 'median 20')]


def _caught(samples: Sequence[LiftSample]) -> Iterator[str]:
    yield f'{"wrong depth":44}{"noticed":>9}{"centroid off where not, mm (p95)":>34}'
    for name in SCALES:
        share = _share(name in sample.caught_scales for sample in samples)
        yield f'{name:44}{_cell(share, 9, ".1%")}'
    for pixels in SHIFTS_PX:
        share = _share(pixels in sample.caught_shifts for sample in samples)
        off = [1000 * s.unnoticed_m[pixels] for s in samples if pixels in s.unnoticed_m]
        yield (f'{f"shifted by {pixels} px":44}{_cell(share, 9, ".1%")}'
               + (f'{_p95(off):>34.0f}' if off else ''))
    yield f'{"right depth, called shifted":44}'
    for name, share in _false_alarms(samples).items():
        yield f'{name:44}{_cell(share, 9, ".1%")}'


def _false_alarms(samples: Sequence[LiftSample]) -> dict[str, float | None]:
    return {'exact masks': _share(s.status == LiftStatus.MISALIGNED for s in samples),
            f'masks {_ROUGH_PX} px too small, too large, aside':
                _share(s.rough_alarm for s in samples)}


def _ok_share(samples: Sequence[LiftSample]) -> float | None:
    return _share(_is_good(sample) for sample in samples)


def _share(hits: Iterable[bool]) -> float | None:
    return _of(list(hits), np.mean)


def _of(values: Sequence[float] | np.ndarray, figure: Callable) -> float | None:
    """Return a figure of values, None without any."""
    return float(figure(values)) if len(values) else None


def _p5(values: Sequence[float]) -> float:
    return np.quantile(values, 0.05)


def _p95(values: Sequence[float]) -> float:
    return np.quantile(values, 0.95)


def _cell(value: float | None, width: int = 0, form: str = '.1f') -> str:
    return ('-' if value is None else format(value, form)).rjust(width)


def _lift(thing: LiftingThing, depth_m: np.ndarray, camera: CameraModel) -> LiftedTarget:
    return lift_target(thing.mask, depth_m, camera, PointSettings(), QualitySettings())


def _is_good(lifted: LiftedTarget | LiftSample) -> bool:
    return lifted.status == LiftStatus.OK
