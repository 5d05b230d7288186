# SPDX-License-Identifier: Apache-2.0
"""Regions -> a picture that people look at."""

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.regions import Region

PALETTE_RGB = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Distinguishable with every common colour vision deficiency. Source: Okabe and Ito; differs:
their black is left out, being no colour on a photograph."""

_FILL = 0.45
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_MAX_LABEL = 40
_SHEET_GAP_PX = 8


@dataclass(frozen=True)
class _Rectangle:
    """A box of whole pixels, right and bottom edges outside."""

    left: int
    top: int
    width: int
    height: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[self.top : self.top + self.height, self.left : self.left + self.width]


def region_colour(region_id: int) -> tuple[int, int, int]:
    """Return the RGB colour of a region; the same id has the same colour in every frame."""
    return PALETTE_RGB[(region_id - 1) % len(PALETTE_RGB)]


def draw_regions(image_rgb: np.ndarray, regions: Sequence[Region]) -> np.ndarray:
    """Return a copy of an image with regions drawn in: fill, contour, label and score.

    A label stands outside its region where there is room, and off the other regions and labels as
    far as possible. Regions without a mask, or with an empty one, are left out.

    Args:
        image_rgb: (H, W, 3) uint8.
        regions: of this image, with masks of its size.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ImageError: not an RGB image, or a mask of another size.
    """
    size = check_rgb(image_rgb)
    picture = np.ascontiguousarray(image_rgb).copy()
    shown = [region for region in regions if region.mask is not None]
    for region in shown:
        if region.mask.shape != (size.height, size.width):
            raise ImageError(
                f'mask of region {region.region_id} is not of the size of the image',
                expected=f'{size.height} x {size.width}',
                got=' x '.join(map(str, region.mask.shape)),
            )
    boxes = {region: _Rectangle(*cv2.boundingRect(region.mask.view(np.uint8))) for region in shown}
    shown = [region for region in shown if boxes[region].width]
    taken = np.zeros(picture.shape[:2], np.uint8)
    for region in shown:
        _draw_mask_(picture, region, boxes[region])
        boxes[region].of(taken)[:] |= boxes[region].of(region.mask)
    for region in shown:
        _draw_label_(picture, region, boxes[region], taken)
    return picture


def contact_sheet(
    tiles: Sequence[np.ndarray], captions: Sequence[str], columns: int
) -> np.ndarray:
    """Return one picture of many, in rows, each with its caption below.

    Args:
        tiles: (H, W, 3) uint8 each; smaller ones are centred in cells of the largest size.
        captions: one per tile; wrapped to the width of a cell.
        columns: tiles of a row.
    Returns:
        (H', W', 3) uint8 on white.
    Raises:
        ImageError: no tiles, another number of captions, no columns, or a tile that is no image.
    """
    if not tiles or len(tiles) != len(captions) or columns < 1:
        raise ImageError(
            'contact sheet cannot be laid out',
            expected='tiles, one caption each, and at least 1 column',
            got=f'{len(tiles)} tiles, {len(captions)} captions, {columns} columns',
        )
    sizes = [check_rgb(tile) for tile in tiles]
    height, width = max(s.height for s in sizes), max(s.width for s in sizes)
    scale = _text_scale(height)
    texts = [_wrap(caption, width, scale) for caption in captions]
    line_px = _text_size('Xg', scale)[1] + 6
    cell = (height + line_px * max(map(len, texts)) + _SHEET_GAP_PX, width + _SHEET_GAP_PX)
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * cell[0] + _SHEET_GAP_PX, columns * cell[1] + _SHEET_GAP_PX, 3), 255,
                    np.uint8)
    for index, (tile, lines) in enumerate(zip(tiles, texts, strict=True)):
        top = _SHEET_GAP_PX + index // columns * cell[0]
        left = _SHEET_GAP_PX + index % columns * cell[1]
        y, x = top + (height - tile.shape[0]) // 2, left + (width - tile.shape[1]) // 2
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
        for number, line in enumerate(lines, start=1):
            _put_text_(sheet, line, (left, top + height + number * line_px - 4), scale, _BLACK)
    return sheet


def _draw_mask_(picture: np.ndarray, region: Region, box: _Rectangle) -> None:
    colour = region_colour(region.region_id)
    inside, pixels = box.of(region.mask), box.of(picture)
    # A table per channel: all that a channel's 256 values become when they are mixed.
    table = ((1 - _FILL) * np.arange(256)[:, None] + _FILL * np.array(colour)).round()
    mixed = cv2.LUT(np.ascontiguousarray(pixels), table.astype(np.uint8)[None])
    np.copyto(pixels, mixed, where=inside[..., None])
    # Two levels, so that holes have a contour too.
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE,
                                   offset=(box.left, box.top))
    line_px = max(2, picture.shape[0] // 200)
    # The dark line below keeps the contour visible on a ground of its own colour.
    cv2.drawContours(picture, contours, -1, _BLACK, line_px + 2, cv2.LINE_AA)
    cv2.drawContours(picture, contours, -1, colour, line_px, cv2.LINE_AA)


def _draw_label_(
    picture: np.ndarray, region: Region, around: _Rectangle, taken: np.ndarray,
) -> None:
    """Write label and score in a small box, and mark its place as taken."""
    scale = _text_scale(picture.shape[0])
    text = _caption(region, picture.shape[1], scale)
    text_width, text_height = _text_size(text, scale)
    pad = max(2, text_height // 3)
    box = (text_width + 2 * pad, text_height + 2 * pad)
    place = min(_places(around, box, taken.shape), key=lambda p: np.count_nonzero(p.of(taken)))
    colour = region_colour(region.region_id)
    place.of(picture)[:] = colour
    place.of(taken)[:] = 1
    _put_text_(picture, text, (place.left + pad, place.top + pad + text_height), scale,
               _readable_on(colour))


def _places(
    around: _Rectangle, box: tuple[int, int], size_hw: tuple[int, int],
) -> list[_Rectangle]:
    """Return where a box of (width, height) may stand, the favoured place first.

    Around a region where that is inside the picture, then on its upper edge.
    """
    height, width = size_hw
    box_width, box_height = min(box[0], width), min(box[1], height)
    x = min(around.left, width - box_width)
    y = min(around.top, height - box_height)
    candidates = [
        (x, around.top - box_height - 2),
        (x, around.top + around.height + 2),
        (around.left + around.width + 2, y),
        (around.left - box_width - 2, y),
    ]
    inside = [(a, b) for a, b in candidates
              if 0 <= a <= width - box_width and 0 <= b <= height - box_height]
    return [_Rectangle(a, b, box_width, box_height) for a, b in [*inside, (x, y)]]


def _caption(region: Region, width: int, scale: float) -> str:
    """Return label and score on one line that fits the picture."""
    label = _printable(region.label) or f'region {region.region_id}'
    score = f' {region.score:.2f}' if math.isfinite(region.score) else ''
    if len(label) > _MAX_LABEL:
        label = label[:_MAX_LABEL - 3].rstrip() + '...'
    while len(label) > 4 and _text_size(label + score, scale)[0] > 0.9 * width:
        label = label[:-4] + '...'
    return label + score


def _printable(text: str) -> str:
    """Return text in the letters that the font of OpenCV has; blanks become single."""
    split = unicodedata.normalize('NFKD', text)
    bare = ''.join(letter for letter in split if not unicodedata.combining(letter))
    plain = bare.encode('ascii', 'replace').decode()
    return ' '.join(''.join(c if c.isprintable() else ' ' for c in plain).split())


def _wrap(text: str, width: int, scale: float) -> list[str]:
    letter_px = _text_size('n' * 20, scale)[0] / 20
    return textwrap.wrap(_printable(text), max(8, int(width / letter_px))) or ['']


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = colour
    return _BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else _WHITE


def _text_scale(height: int) -> float:
    return max(0.4, height / 1000)


def _text_size(text: str, scale: float) -> tuple[int, int]:
    return cv2.getTextSize(text, _FONT, scale, max(1, round(scale)))[0]


def _put_text_(
    picture: np.ndarray, text: str, left_bottom: tuple[int, int], scale: float,
    colour: tuple[int, int, int],
) -> None:
    cv2.putText(picture, text, left_bottom, _FONT, scale, colour, max(1, round(scale)),
                cv2.LINE_AA)
