# SPDX-License-Identifier: Apache-2.0
"""The points of one thing, where a mask has spilled over to another one.

Seen from above, as marks on the support, the points of a thing hang together; those on its
neighbour do not. What hides a part of itself, as a bowl does behind its rim, leaves a gap all the
same: parts that lie behind each other, and together are no deeper than wide, are one thing. So are
parts between which something nearer is seen, a post or a finger that hides the middle; between two
things their support is seen, or what is behind them.
"""

import cv2
import numpy as np

_CELL_M = 0.004
_PIXELS_PER_CELL = 2
_LINK_CELLS = 3
_MOST_CELLS = 2000
_DEEPER = 1.25
_ROBUST = (2, 98)
_LINES = 64
_MOST_ENDS = 2000
_MOST_STEPS = 256
_NEARER_M, _NEARER_SHARE = 0.006, 0.0075


def main_part(
    footprint_m: np.ndarray, pixel_m: float, pixels: np.ndarray, depth_m: np.ndarray,
) -> np.ndarray:
    """Mark the points that belong to the largest thing.

    Args:
        footprint_m: (N, 2) points on the support: to the right, and away from the camera.
        pixel_m: width of a pixel at their distance; neighbours may be a few times as far apart.
        pixels: (N, 2) row and column of each.
        depth_m: (H, W) depth image, to see what lies between them.
    Returns:
        (N,) bool.
    """
    if not len(footprint_m):
        return np.zeros(0, np.bool_)
    labels = _parts(footprint_m, max(_CELL_M, _PIXELS_PER_CELL * pixel_m))
    sizes = np.bincount(labels)
    order = [part for part in np.argsort(-sizes) if sizes[part]]
    chosen = labels == order[0]
    for part in order[1:]:
        candidate = labels == part
        if _is_behind(footprint_m[chosen], footprint_m[candidate]) or _is_cut_off(
                pixels[chosen], pixels[candidate], depth_m):
            chosen |= candidate
    return chosen


def _parts(footprint_m: np.ndarray, cell_m: float) -> np.ndarray:
    """Return the number of the part that each point belongs to, (N,)."""
    cells = np.floor((footprint_m - footprint_m.min(axis=0)) / cell_m).astype(int)
    # What lies farther out has a part of its own: the border, away from everything.
    cells = np.minimum(cells, _MOST_CELLS) + _LINK_CELLS
    taken = np.zeros(cells.max(axis=0) + _LINK_CELLS + 1, np.uint8)
    taken[cells[:, 0], cells[:, 1]] = 1
    joined = cv2.dilate(taken, np.ones((_LINK_CELLS, _LINK_CELLS), np.uint8))
    return cv2.connectedComponents(joined)[1][cells[:, 0], cells[:, 1]]


def _is_behind(whole_m: np.ndarray, part_m: np.ndarray) -> bool:
    """Tell whether a part lies behind or before the rest, as the far side of a thing does."""
    low, high = np.percentile(whole_m[:, 0], _ROBUST)
    middle = np.median(part_m[:, 0])
    both = np.concatenate([whole_m[:, 1], part_m[:, 1]])
    return bool(low <= middle <= high and np.ptp(both) <= _DEEPER * (high - low))


def _is_cut_off(whole: np.ndarray, part: np.ndarray, depth_m: np.ndarray) -> bool:
    """Tell whether something in front cuts a part off the rest.

    On the way from one to the other, something nearer than both is seen, and nothing farther. A
    plane that both stand on is never nearer than both.
    """
    starts, ends = _some(part, _LINES), _some(whole, _MOST_ENDS)
    squares = ((starts[:, None] - ends) ** 2).sum(axis=2)
    ends = ends[squares.argmin(axis=1)]
    steps = min(int(np.sqrt(squares.min(axis=1).max())) + 2, _MOST_STEPS)
    lines = np.linspace(starts, ends, steps).round().astype(int)  # (steps, lines, 2)
    own = np.zeros(depth_m.shape, np.bool_)
    own[tuple(whole.T)] = own[tuple(part.T)] = True
    rows, columns = lines[..., 0], lines[..., 1]
    on_own, depths = own[rows, columns], depth_m[rows, columns]
    # The last pixel of the one before the gap, and the first of the other after it.
    line = np.arange(len(starts))
    before = depths[np.maximum(on_own.argmin(axis=0) - 1, 0), line]
    after = depths[np.minimum(steps - on_own[::-1].argmin(axis=0), steps - 1), line]
    near, far = np.minimum(before, after), np.maximum(before, after)
    nearer = depths < near - np.maximum(_NEARER_M, _NEARER_SHARE * near)
    farther = depths > far + np.maximum(_NEARER_M, _NEARER_SHARE * far)
    is_cut = (nearer & ~on_own).any(axis=0) & ~(farther & ~on_own).any(axis=0)
    return bool(is_cut.mean() >= 0.5)


def _some(pixels: np.ndarray, most: int) -> np.ndarray:
    """Return up to so many pixels, evenly chosen."""
    return pixels[::-(-len(pixels) // most)]
