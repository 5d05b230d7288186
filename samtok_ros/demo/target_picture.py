# SPDX-License-Identifier: Apache-2.0
"""A target in 3D, drawn into the image it comes from, and seen from the side in a corner of it."""

import cv2
import numpy as np

from samtok_ros.demo.camera_views import CameraView
from samtok_ros.demo.lifted_results import LiftedResult
from samtok_ros.lifting.oriented_box import OrientedBox

_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4),
          (0, 4), (1, 5), (2, 6), (3, 7))
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (110, 110, 110)
_PAPER, _TABLE = (245, 245, 245), (205, 205, 205)
_POINT_OPACITY = 0.75
_INSET_SHARE = 0.36
_INSET_MARGIN = 0.1
_INSET_POINTS = 3000
# The inset looks from the side, a little from above: the camera's view turned around the vertical.
_TURN_DEG, _DOWN_DEG = 75.0, 20.0


def draw_target(
    picture: np.ndarray, taken: np.ndarray, lifted: LiftedResult, view: CameraView,
) -> np.ndarray:
    """Return a copy of a picture with the points and the box of a target, and its view from aside.

    Args:
        picture: (H, W, 3) uint8, of the size of the camera's images; may have regions drawn in.
        taken: (H, W) bool, what the view from aside should not cover.
        lifted: target of that image.
        view: what the camera saw.
    """
    drawn = np.ascontiguousarray(picture).copy()
    if not len(lifted.points_m):
        return drawn  # Refused: there may be a box all the same, but nobody should believe it.
    _draw_points_(drawn, lifted, view)
    if lifted.box is None:
        return drawn
    corners = view.camera.project(lifted.box.corners())
    _draw_box_(drawn, corners, _hidden_corner(lifted.box))
    taken = cv2.fillConvexPoly(taken.astype(np.uint8), cv2.convexHull(_whole(corners)), 1)
    _put_inset_(drawn, side_view(lifted, view, round(_INSET_SHARE * drawn.shape[0])), taken)
    return drawn


def side_view(lifted: LiftedResult, view: CameraView, size_px: int) -> np.ndarray:
    """Draw points in their own colours, and their box, as seen from the side, without perspective.

    What the camera cannot see stays empty: there the box is all that is known.

    Args:
        lifted: a target with points and a box.
        view: what the camera saw.
        size_px: height and width of the drawing.
    Returns:
        (size_px, size_px, 3) uint8.
    """
    box = lifted.box
    axes = _side_axes(box)
    corners = (box.corners() - box.centre_m) @ axes.T
    scale = size_px * (1 - 2 * _INSET_MARGIN) / np.ptp(corners[:, :2], axis=0).max()
    middle = (corners[:, :2].max(axis=0) + corners[:, :2].min(axis=0)) / 2

    def to_pixels(points: np.ndarray) -> np.ndarray:
        return (points[:, :2] - middle) * scale + size_px / 2

    drawing = np.full((size_px, size_px, 3), _PAPER, np.uint8)
    cv2.fillConvexPoly(drawing, _whole(to_pixels(corners[:4] * [1.25, 1.25, 1])), _TABLE,
                       cv2.LINE_AA)
    points = lifted.points_m[::1 + len(lifted.points_m) // _INSET_POINTS]
    colours = _colours(points, view)
    seen = (points - box.centre_m) @ axes.T
    hidden = int(corners[:, 2].argmax())
    _draw_edges_(drawing, to_pixels(corners), [edge for edge in _EDGES if hidden in edge], _GREY)
    far_first = np.argsort(-seen[:, 2])
    for (x, y), colour in zip(_whole(to_pixels(seen))[far_first].tolist(),
                              colours[far_first].tolist(), strict=True):
        cv2.circle(drawing, (x, y), 1, colour, -1)
    _draw_edges_(drawing, to_pixels(corners), [edge for edge in _EDGES if hidden not in edge],
                 _BLACK)
    return cv2.rectangle(drawing, (0, 0), (size_px - 1, size_px - 1), _BLACK, 1)


def _draw_points_(picture: np.ndarray, lifted: LiftedResult, view: CameraView) -> None:
    """Colour the pixel of each point by its depth, near ones yellow, far ones violet."""
    columns, rows = _inside(view.camera.project(lifted.points_m), picture.shape[:2])
    depths = lifted.points_m[:, 2]
    span = max(float(np.ptp(depths)), 1e-3)
    shades = np.round(255 * (1 - (depths - depths.min()) / span)).astype(np.uint8)
    colours = cv2.applyColorMap(shades[:, None], cv2.COLORMAP_PLASMA)[:, 0, ::-1]
    mixed = _POINT_OPACITY * colours + (1 - _POINT_OPACITY) * picture[rows, columns]
    picture[rows, columns] = mixed.round().astype(np.uint8)


def _hidden_corner(box: OrientedBox) -> int:
    """Return the corner that is farthest from the camera; its edges lie behind the thing."""
    return int(np.linalg.norm(box.corners(), axis=1).argmax())


def _draw_box_(picture: np.ndarray, corners: np.ndarray, hidden: int) -> None:
    for colour, grow in ((_BLACK, 2), (_WHITE, 0)):
        _draw_edges_(picture, corners, [e for e in _EDGES if hidden not in e], colour, 2 + grow)
    _draw_edges_(picture, corners, [edge for edge in _EDGES if hidden in edge], _WHITE)


def _draw_edges_(picture: np.ndarray, corners: np.ndarray, edges: list[tuple[int, int]],
                 colour: tuple[int, int, int], width_px: int = 1) -> None:
    ends = _whole(corners)
    for start, end in edges:
        cv2.line(picture, ends[start].tolist(), ends[end].tolist(), colour, width_px, cv2.LINE_AA)


def _put_inset_(picture: np.ndarray, inset: np.ndarray, taken: np.ndarray) -> None:
    """Paste a drawing into the corner of a picture where it covers least of what is taken."""
    size, (height, width) = inset.shape[0], picture.shape[:2]
    places = [(x, y) for y in (height - size, 0) for x in (width - size, 0)]
    left, top = min(places, key=lambda place: np.count_nonzero(
        taken[place[1]:place[1] + size, place[0]:place[0] + size]))
    picture[top:top + size, left:left + size] = inset


def _side_axes(box: OrientedBox) -> np.ndarray:
    """Return (3, 3) rows: right, down and forward of the view from the side, optical frame."""
    up = box.rotation[:, 2]
    away = box.centre_m - (box.centre_m @ up) * up  # level, from the camera to the thing
    away /= np.linalg.norm(away)
    turn, down = np.radians(_TURN_DEG), np.radians(_DOWN_DEG)
    level = np.cos(turn) * away + np.sin(turn) * np.cross(up, away)
    forward = np.cos(down) * level - np.sin(down) * up
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _colours(points_m: np.ndarray, view: CameraView) -> np.ndarray:
    image = view.image_rgb
    columns, rows = _inside(view.camera.project(points_m), image.shape[:2])
    return image[rows, columns]


def _inside(pixels: np.ndarray, size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return whole columns and rows, those outside moved to the border."""
    columns, rows = _whole(pixels).T
    return columns.clip(0, size_hw[1] - 1), rows.clip(0, size_hw[0] - 1)


def _whole(pixels: np.ndarray) -> np.ndarray:
    return np.round(pixels).astype(np.int32)
