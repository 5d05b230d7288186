# SPDX-License-Identifier: Apache-2.0
"""How well targets in 3D fit the rendered truth."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.demo.lifted_results import LiftedResult
from samtok_ros.demo.truth import FrameTruth, TrueObject
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.lifting.target import LiftStatus
from samtok_ros.masks.scores import iou

NEAR_M = 0.005
_MM = 1000.0
# Enough for a share that is exact to one in a hundred.
_MOST_POINTS = 4000

Surface = Callable[[np.ndarray], np.ndarray]
"""Gives the (N, 3) true points, metres, of an (H, W) bool mask."""


@dataclass(frozen=True)
class LiftScore:
    """One target in 3D against the true thing.

    Attributes:
        centroid_mm: distance between the centroid and that of the true visible surface.
        near_share: share of the points within NEAR_M of the true visible surface, 0..1; None
            without points.
        box_centre_mm: distance between the centres of the boxes; None without a box.
        size_errors: of the longer horizontal length, the shorter one and the height, each as a
            share of the true one, negative for too short; None without a box.
    """

    centroid_mm: float
    near_share: float | None
    box_centre_mm: float | None
    size_errors: tuple[float, float, float] | None

    @property
    def size_error(self) -> float | None:
        """The worst of the three, without its sign."""
        return None if self.size_errors is None else max(map(abs, self.size_errors))


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile of some values, and how many there are."""

    p50: float
    p95: float
    count: int


@dataclass(frozen=True)
class LiftSummary:
    """All targets in 3D of goals that name something.

    Attributes:
        refused: how many ended in which status, those that ended well left out.
        centroid_mm, box_centre_mm, size_error, near_share: see LiftScore; None without any. The
            95th percentile of near_share is the one from below: all but a twentieth are better.
    """

    refused: dict[str, int]
    centroid_mm: Spread | None
    box_centre_mm: Spread | None
    size_error: Spread | None
    near_share: Spread | None


def score_lifted(
    lifted: LiftedResult, region_mask: np.ndarray, truth: FrameTruth, targets: Sequence[int],
    surface: Surface,
) -> LiftScore:
    """Compare a target with the thing it stands for: of those asked for, the one it covers best.

    Args:
        lifted: the target; its status is OK.
        region_mask: (H, W) bool mask that was lifted.
        truth: of the image.
        targets: ids of the things that were asked for, at least one.
        surface: gives true points of the image.
    """
    asked = [thing for thing in truth.objects if thing.object_id in targets]
    thing = max(asked, key=lambda thing: iou(region_mask, thing.mask))
    return _compare(lifted, thing, surface(thing.mask))


def summarise(results: Sequence[LiftedResult], scores: Sequence[LiftScore]) -> LiftSummary:
    """Sum up targets and the scores of those that ended well."""
    refused = Counter(result.status.name for result in results if result.status != LiftStatus.OK)
    near = spread([score.near_share for score in scores], worst_percent=5)
    return LiftSummary(dict(refused), spread([score.centroid_mm for score in scores]),
                       spread([score.box_centre_mm for score in scores]),
                       spread([score.size_error for score in scores]), near)


def spread(values: Sequence[float | None], worst_percent: float = 95) -> Spread | None:
    """Return median and percentile of the values that are there; None when none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    middle, worst = np.percentile(known, (50, worst_percent))
    return Spread(float(middle), float(worst), len(known))


def _compare(lifted: LiftedResult, thing: TrueObject, surface_m: np.ndarray) -> LiftScore:
    centroid_mm = float(np.linalg.norm(lifted.centroid_m - surface_m.mean(axis=0))) * _MM
    if lifted.box is None:
        return LiftScore(centroid_mm, _near_share(lifted.points_m, surface_m), None, None)
    centre_mm = float(np.linalg.norm(lifted.box.centre_m - thing.box.centre_m)) * _MM
    sizes, true_sizes = _sizes(lifted.box), _sizes(thing.box)
    errors = tuple(float(error) for error in (sizes - true_sizes) / true_sizes)
    return LiftScore(centroid_mm, _near_share(lifted.points_m, surface_m), centre_mm, errors)


def _sizes(box: OrientedBox) -> np.ndarray:
    """Return (3,) the longer horizontal length, the shorter one and the height, metres."""
    short, long = sorted(box.extents_m[:2])
    return np.array([long, short, box.extents_m[2]])


def _near_share(points_m: np.ndarray, surface_m: np.ndarray) -> float | None:
    from scipy.spatial import cKDTree

    if not len(points_m):
        return None
    some = points_m[::1 + len(points_m) // _MOST_POINTS]
    distances, _ = cKDTree(surface_m).query(some, distance_upper_bound=NEAR_M)
    return float(np.isfinite(distances).mean())
