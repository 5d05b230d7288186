# SPDX-License-Identifier: Apache-2.0
"""Run lengths by hand, there and back, and what is refused."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samtok_ros.errors import ImageError
from samtok_ros.masks.rle import mask_to_rle, rle_to_mask


def mask_of(*rows):
    return np.array([[letter == '#' for letter in row] for row in rows])


CASES = [
    (mask_of('....', '....', '....', '....'), [16], 'empty: one run'),
    (mask_of('####', '####', '####', '####'), [0, 16], 'full: an empty first run'),
    (mask_of('....', '.##.', '.##.', '....'), [5, 2, 2, 2, 5], 'a square in the middle'),
    (mask_of('####', '....', '....', '....'), [0, 1, 3, 1, 3, 1, 3, 1, 3],
     'a row is many runs, as they go down the columns'),
    (mask_of('#...', '#...', '#...', '#...'), [0, 4, 12], 'a column is one run'),
    (mask_of('...#', '...#', '..##', '..##'), [10, 6], 'a run goes on in the next column'),
    (mask_of('....', '....', '....', '...#'), [15, 1], 'the last pixel'),
    (mask_of('#.#.#'), [0, 1, 1, 1, 1, 1], 'one row'),
]


@pytest.mark.parametrize(('mask', 'counts', 'why'), CASES, ids=[c[2] for c in CASES])
def test_mask_to_rle_when_drawn_by_hand_then_these_runs_and_back(mask, counts, why):
    found = mask_to_rle(mask)
    assert found.dtype == np.uint32
    assert found.tolist() == counts
    back = rle_to_mask(counts, mask.shape)
    assert back.dtype == np.bool_
    assert back.flags.c_contiguous
    assert np.array_equal(back, mask)


@settings(deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_mask_and_rle_when_there_and_back_then_unchanged(mask):
    counts = mask_to_rle(mask)
    assert np.array_equal(rle_to_mask(counts, mask.shape), mask)
    assert (counts[1:] > 0).all()
    assert counts[1::2].sum() == mask.sum()
    assert np.array_equal(mask_to_rle(mask[::-1, ::-1]), mask_to_rle(mask[::-1, ::-1].copy()))


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12).filter(sum))
def test_rle_to_mask_when_runs_are_empty_then_same_as_pixel_by_pixel(counts):
    flat = [index % 2 == 1 for index, count in enumerate(counts) for _ in range(count)]
    mask = rle_to_mask(counts, (len(flat), 1))
    assert mask[:, 0].tolist() == flat


@pytest.mark.parametrize(('counts', 'size_hw', 'text'), [
    ([15], (4, 4), 'run lengths do not fit the mask: expected a sum of 4 x 4 = 16, got 15.'),
    ([], (4, 4), 'run lengths do not fit the mask: expected a sum of 4 x 4 = 16, got 0.'),
    (np.array([2**32 - 1, 17], np.uint32), (4, 4),
     'run lengths do not fit the mask: expected a sum of 4 x 4 = 16, got 4294967312.'),
    ([20, -4], (4, 4), 'run lengths have the wrong form: expected a list of integers >= 0, '
                       'got (2,) int64.'),
    ([16.0], (4, 4), 'run lengths have the wrong form: expected a list of integers >= 0, '
                     'got (1,) float64.'),
    ([[16]], (4, 4), 'run lengths have the wrong form: expected a list of integers >= 0, '
                     'got (1, 1) int64.'),
    ([0], (0, 4), 'image has no pixels: expected height and width of at least 1, got 0 x 4.'),
    ([10**12], (10**6, 10**6), 'mask is too large: expected at most 50000000 pixels, '
                               'got 1000000 x 1000000 = 1000000000000.'),
])
def test_rle_to_mask_when_runs_do_not_fit_then_refused(counts, size_hw, text):
    with pytest.raises(ImageError) as caught:
        rle_to_mask(counts, size_hw)
    assert str(caught.value) == text


@pytest.mark.parametrize('mask', [np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4), bool)])
def test_mask_to_rle_when_not_a_mask_then_refused(mask):
    with pytest.raises(ImageError, match=r'mask has the wrong form: expected \(H, W\) bool, got'):
        mask_to_rle(mask)


def test_mask_to_rle_when_no_pixels_then_refused():
    with pytest.raises(ImageError, match='image has no pixels'):
        mask_to_rle(np.zeros((0, 4), bool))
