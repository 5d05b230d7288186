# SPDX-License-Identifier: Apache-2.0
"""Regions -> one image of their numbers."""

import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.masks.label_image import label_image
from samtok_ros.regions import ImageSize, Region

SIZE = ImageSize(2, 4)


def region(number, rows, score=0.5):
    mask = np.array([[letter == '#' for letter in row] for row in rows])
    return Region(number, (1, 2), 'mug', score, mask)


LEFT, MIDDLE, ALL = ('##..', '##..'), ('.##.', '.##.'), ('####', '####')


@pytest.mark.parametrize('regions, rows, why', [
    ((), ('0000', '0000'), 'nothing found is all background'),
    ((region(7, LEFT),), ('7700', '7700'), 'the number is the id, not the place in the list'),
    ((region(1, LEFT, 0.9), region(2, MIDDLE, 0.1)), ('1120', '1120'), 'the higher score is seen'),
    ((region(1, LEFT, 0.1), region(2, MIDDLE, 0.9)), ('1220', '1220'), 'also when it comes later'),
    ((region(1, LEFT), region(2, ALL), region(3, ALL)), ('1122', '1122'), 'first among equals'),
    ((region(0, LEFT, 0.9), region(2, MIDDLE)), ('0220', '0220'), 'without a number: left out'),
    ((region(65535, LEFT, 0.9), region(2, MIDDLE)), ('0220', '0220'), 'means unlabelled elsewhere'),
    ((region(3, ('#..#', '#..#')),), ('3003', '3003'), 'several parts'),
])
def test_labels_when_painted_then_each_pixel_has_the_number_of_its_region(regions, rows, why):
    labels = label_image(regions, SIZE)
    assert labels.dtype == np.uint16
    assert labels.tolist() == [[int(letter) for letter in row] for row in rows], why


@pytest.mark.parametrize('mask', [None, np.zeros((4, 2), bool)])
def test_labels_when_a_mask_does_not_fit_then_the_region_is_named(mask):
    with pytest.raises(ImageError, match='region 3 has no mask of the size of the image'):
        label_image([Region(3, (1, 2), '', 0.5, mask)], SIZE)
