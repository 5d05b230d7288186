# SPDX-License-Identifier: Apache-2.0
"""Is a thing round about an upright axis? Then the half that is hidden is known, too.

Seen from one side, the points of a bottle at one height lie on an arc. The axis is where the points
of every height are equally far from it. Flat sides have no such place, or one far behind them; so
the circle must also be about as wide as the thing is seen to be.
"""

import numpy as np

_MIN_POINTS = 60
_MAX_POINTS = 1500
_BIN_M = 0.008
_BINS = 12
_STEPS = 41
_MIN_IN_BIN = 8
_WIDTH_FIT = (0.75, 1.2)
_ROUND_TO_M = 0.0022
_ROUND_SHARE = 0.045


def find_round_shape(
    footprint_m: np.ndarray, heights_m: np.ndarray, rim_m: float,
) -> tuple[np.ndarray, float] | None:
    """Fit an upright axis to the visible side of a thing.

    Args:
        footprint_m: (N, 2) points on the support: to the right, and away from the camera.
        heights_m: (N,) above it.
        rim_m: width of the rim that was taken off the mask.
    Returns:
        Where the axis stands, (2,), and the largest radius around it; None for anything that is
        not round, or too thin to tell.
    """
    if len(footprint_m) < _MIN_POINTS:
        return None
    step = -(-len(footprint_m) // _MAX_POINTS)
    points, heights = footprint_m[::step], heights_m[::step]
    low, high = np.percentile(points[:, 0], (1, 99))
    half_width = (high - low) / 2 + rim_m
    front = np.percentile(points[:, 1], 2)
    layers = _layers(heights)
    if not layers:
        return None
    best = None
    for away in np.linspace(0.2, 1.6, _STEPS) * half_width:
        centre = np.array([(low + high) / 2, front + away])
        distances = np.linalg.norm(points - centre, axis=1)
        spread, radius = _spread(distances, layers)
        if best is None or spread < best[0]:
            best = spread, radius, centre
    spread, radius, centre = best
    is_round = spread <= max(_ROUND_TO_M, _ROUND_SHARE * half_width)
    if not is_round or not _WIDTH_FIT[0] <= radius / half_width <= _WIDTH_FIT[1]:
        return None
    return centre, radius


def _layers(heights_m: np.ndarray) -> list[np.ndarray]:
    """Return the points of each layer of equal height, (K,) indices; thin layers are left out."""
    low, high = heights_m.min(), heights_m.max()
    count = int(np.clip((high - low) / _BIN_M, 1, _BINS))
    number = np.minimum(((heights_m - low) / max(high - low, 1e-9) * count).astype(int), count - 1)
    layers = [np.flatnonzero(number == layer) for layer in range(count)]
    return [layer for layer in layers if len(layer) >= _MIN_IN_BIN]


def _spread(distances_m: np.ndarray, layers: list[np.ndarray]) -> tuple[float, float]:
    """Return how unequal the distances within layers are, and the largest of their medians."""
    medians = [float(np.median(distances_m[layer])) for layer in layers]
    off = np.concatenate([np.abs(distances_m[layer] - median)
                          for layer, median in zip(layers, medians, strict=True)])
    return float(np.median(off)), max(medians)
