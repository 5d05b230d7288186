# SPDX-License-Identifier: Apache-2.0
"""The zoom-in rule: which regions are shown enlarged, how they are cut, and the published way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.image.zoom import ZoomRule, zoomed

OURS, PUBLISHED = ZoomRule(0.3), ZoomRule(0.3, compatible=True)


def scene(height, width, rows, columns):
    """Return an image of which each pixel tells its place, and a mask of those rows and columns."""
    y, x = np.mgrid[:height, :width]
    image_rgb = np.stack([y % 256, x % 256, (y + x) % 256], axis=2).astype(np.uint8)
    mask = np.zeros((height, width), np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return image_rgb, mask


# Rule, image size, rows and columns of the region, rows and columns that are cut, size then.
CUTS = [
    (OURS, (1000, 1000), (300, 600), (200, 500), (300, 600), (200, 500), (300, 300),
     'large enough: as it is'),
    (PUBLISHED, (1000, 1000), (300, 600), (200, 500), (300, 599), (200, 499), (299, 299),
     'the last row and column are lost'),
    (OURS, (1000, 1000), (500, 540), (500, 540), (450, 590), (450, 590), (280, 280),
     'widened to 140, enlarged to 280'),
    (PUBLISHED, (1000, 1000), (500, 541), (500, 541), (450, 590), (450, 590), (280, 280),
     'a box of 40: widened to the same'),
    (OURS, (480, 640), (0, 20), (620, 640), (0, 80), (560, 640), (280, 280), 'cut at the corner'),
    (OURS, (1000, 1000), (100, 500), (300, 440), (100, 500), (300, 440), (800, 280),
     'long and narrow: the shorter side is enlarged'),
    (PUBLISHED, (1000, 1000), (100, 501), (300, 441), (100, 500), (300, 440), (400, 140),
     'long and narrow: the longer side decides against it'),
    (PUBLISHED, (1000, 1000), (100, 301), (300, 441), (100, 300), (300, 440), (400, 280),
     'the longer side is too short, the shorter one becomes 280'),
]


@pytest.mark.parametrize(('rule', 'size', 'rows', 'columns', 'cut_rows', 'cut_columns', 'shape',
                          'why'), CUTS, ids=[row[-1] for row in CUTS])
def test_zoomed_when_region_of_table_then_that_cut(rule, size, rows, columns, cut_rows, cut_columns,
                                                   shape, why):
    image_rgb, mask = scene(*size, rows, columns)
    crop = zoomed(image_rgb, mask, rule)
    assert crop.mask.shape == crop.image_rgb.shape[:2] == shape
    cut = image_rgb[slice(*cut_rows), slice(*cut_columns)]
    if shape == cut.shape[:2]:
        np.testing.assert_array_equal(crop.image_rgb, cut)
        np.testing.assert_array_equal(crop.mask, mask[slice(*cut_rows), slice(*cut_columns)])
    else:
        assert abs(crop.mask.mean() - mask[slice(*cut_rows), slice(*cut_columns)].mean()) < 0.02
        # The corners of an enlarged picture are those of the part that was cut out.
        assert abs(int(crop.image_rgb[0, 0, 1]) - int(cut[0, 0, 1])) <= 1


@pytest.mark.parametrize(('rule', 'side', 'is_zoomed'), [
    (ZoomRule(0.25), 49, True), (ZoomRule(0.25), 50, False), (ZoomRule(0.0), 1, False),
    (ZoomRule(0.25, compatible=True), 50, True), (ZoomRule(0.25, compatible=True), 51, False),
    (ZoomRule(1.0), 99, True), (ZoomRule(1.0), 100, False)])
def test_zoomed_when_box_is_at_the_bound_then_only_below_it(rule, side, is_zoomed):
    image_rgb, mask = scene(100, 100, (0, side), (0, side))
    assert (zoomed(image_rgb, mask, rule) is not None) == is_zoomed


@pytest.mark.parametrize('below', [-0.1, 1.1, float('nan')])
def test_rule_when_share_is_none_then_refused(below):
    with pytest.raises(ConfigError, match='zoom is out of range'):
        ZoomRule(below)


def test_zoomed_when_mask_is_empty_then_refused():
    image_rgb, mask = scene(50, 60, (0, 0), (0, 0))
    with pytest.raises(ImageError, match='an empty region'):
        zoomed(image_rgb, mask, OURS)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.data(), st.booleans())
def test_zoomed_when_any_region_then_some_of_it_is_seen_and_crop_and_mask_fit(
        height, width, data, compatible):
    top, left = (data.draw(st.integers(0, side - 1)) for side in (height, width))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    image_rgb, mask = scene(height, width, (top, bottom), (left, right))
    crop = zoomed(image_rgb, mask, ZoomRule(1.0, compatible))
    if crop is not None:
        assert crop.mask.any()
        assert crop.image_rgb.dtype == np.uint8
        assert crop.image_rgb.shape == (*crop.mask.shape, 3)
