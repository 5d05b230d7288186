# SPDX-License-Identifier: Apache-2.0
"""Pictures: what is drawn where, and what is left alone."""
import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.masks.overlay import PALETTE_RGB, contact_sheet, draw_regions, region_colour
from samtok_ros.regions import Region

GREY = np.full((120, 200, 3), 128, np.uint8)


def disc(centre_xy, radius, hole=0):
    y, x = np.mgrid[: GREY.shape[0], : GREY.shape[1]]
    distance = np.hypot(x - centre_xy[0], y - centre_xy[1])
    return (distance <= radius) & (distance >= hole)


def region(mask, region_id=1, label='red mug', score=0.5):
    return Region(region_id, (1, 2), label, score, mask=mask)


def pixels_of(picture, colour):
    return (picture == np.array(colour, np.uint8)).all(axis=2)


def changed(picture):
    return (picture != GREY).any(axis=2)


def test_draw_regions_when_drawn_then_the_input_is_unchanged():
    image = GREY.copy()
    image.flags.writeable = False
    assert changed(draw_regions(image, [region(disc((100, 60), 20))])).any()


def test_draw_regions_when_inside_then_translucent_colour_of_the_region():
    picture = draw_regions(GREY, [region(disc((100, 80), 20))])
    expected = 0.55 * 128 + 0.45 * np.array(PALETTE_RGB[0])
    assert np.abs(picture[80, 100] - expected).max() <= 1


def test_draw_regions_when_the_mask_has_a_hole_then_the_hole_is_not_filled():
    picture = draw_regions(GREY, [region(disc((100, 80), 30, hole=15))])
    assert (picture[80, 100] == 128).all()
    rim = disc((100, 80), 17, hole=13)
    assert pixels_of(picture, PALETTE_RGB[0])[rim].sum() > 60, 'the hole has no contour'


def test_draw_regions_when_label_fits_then_it_stands_outside_the_region():
    mask = disc((100, 80), 25)
    picture = draw_regions(GREY, [region(mask)])
    box = pixels_of(picture, PALETTE_RGB[0])
    box[mask.any(axis=1).argmax() - 3:] = False
    rows = np.flatnonzero(box.any(axis=1))
    assert len(rows) > 8
    assert rows[-1] < 80 - 25


@pytest.mark.parametrize(('centre', 'why'), [
    ((100, 5), 'top edge'), ((100, 115), 'bottom edge'), ((3, 60), 'left edge'),
    ((197, 60), 'right edge'), ((2, 2), 'corner')])
def test_draw_regions_when_at_the_edge_then_a_whole_label_is_drawn_somewhere(centre, why):
    mask = disc(centre, 20)
    picture = draw_regions(GREY, [region(mask)])
    far = pixels_of(picture, PALETTE_RGB[0]) & ~disc(centre, 25)
    assert far.sum() > 300


def test_draw_regions_when_the_region_fills_the_picture_then_the_label_is_on_it():
    picture = draw_regions(GREY, [region(np.ones(GREY.shape[:2], bool))])
    assert pixels_of(picture, PALETTE_RGB[0])[3:20].sum() > 300


def test_draw_regions_when_two_labels_want_one_place_then_both_stay_readable():
    masks = disc((100, 80), 20), disc((104, 80), 22)
    picture = draw_regions(GREY, [region(mask, n) for n, mask in enumerate(masks, start=1)])
    for number in range(2):
        outside = pixels_of(picture, PALETTE_RGB[number]) & ~disc((102, 80), 27)
        assert outside.sum() > 300, f'label {number + 1} is covered'


def test_region_colour_when_id_is_the_same_then_so_is_the_colour():
    first = draw_regions(GREY, [region(disc((60, 80), 20), 3), region(disc((150, 80), 20), 1)])
    second = draw_regions(GREY, [region(disc((60, 80), 20), 3)])
    assert (first[80, 60] == second[80, 60]).all()
    assert [region_colour(n) for n in range(1, 8)] == list(PALETTE_RGB)
    assert region_colour(8) == region_colour(1)


@pytest.mark.parametrize('label', ['', 'x' * 1000, 'word ' * 50, 'Tässchen ☕ 杯', 'a\nb\x00c'])
@pytest.mark.parametrize('score', [0.987, float('nan')])
def test_draw_regions_when_label_is_odd_then_something_is_drawn(label, score):
    picture = draw_regions(GREY, [region(disc((100, 80), 20), label=label, score=score)])
    assert pixels_of(picture, PALETTE_RGB[0]).sum() > 300


def test_draw_regions_when_the_picture_is_tiny_then_no_error():
    tiny = np.zeros((3, 2, 3), np.uint8)
    assert draw_regions(tiny, [region(np.ones((3, 2), bool))]).shape == (3, 2, 3)


def test_draw_regions_when_no_mask_or_an_empty_one_then_left_out():
    empty = np.zeros(GREY.shape[:2], bool)
    assert not changed(draw_regions(GREY, [region(None), region(empty)])).any()


def test_draw_regions_when_mask_is_of_another_size_then_refused():
    with pytest.raises(ImageError, match='mask of region 4 is not of the size of the image: '
                                         'expected 120 x 200, got 60 x 100'):
        draw_regions(GREY, [region(np.ones((60, 100), bool), 4)])


def test_draw_regions_when_a_label_is_one_long_word_then_its_beginning_is_written():
    picture, mask = np.full((200, 900, 3), 120, np.uint8), np.zeros((200, 900), bool)
    mask[90:110, 400:500] = True
    label = 'screw_m3_x_10_left_front_corner_of_gearbox_cover'
    drawn, begun, bare = (draw_regions(picture, [region(mask, label=text)])
                          for text in (label, label[:37] + '...', '...'))
    np.testing.assert_array_equal(drawn, begun)
    assert (drawn != bare).any()


def test_contact_sheet_when_sizes_differ_then_tiles_stand_in_a_grid_with_captions():
    tiles = [np.full((40, 90, 3), value, np.uint8) for value in (50, 60, 70)]
    tiles[1] = tiles[1][:20, :30]
    sheet = contact_sheet(tiles, ['one', 'two', 'a caption too long for one line of its cell'], 2)
    assert [(sheet == value).all(axis=2).sum() >= tile[..., 0].size
            for value, tile in zip((50, 60, 70), tiles, strict=True)] == [True] * 3
    assert (sheet[:8, :] == 255).all()
    assert (sheet < 100).any(axis=2)[50:, :90].any()
    assert sheet.shape[1] == 2 * 90 + 3 * 8


@pytest.mark.parametrize(('tiles', 'captions', 'columns'), [
    ([], [], 2), ([GREY], [], 2), ([GREY], ['a'], 0)])
def test_contact_sheet_when_it_cannot_be_laid_out_then_refused(tiles, captions, columns):
    with pytest.raises(ImageError, match='contact sheet cannot be laid out'):
        contact_sheet(tiles, captions, columns)
