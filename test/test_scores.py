# SPDX-License-Identifier: Apache-2.0
"""Scores of hand-drawn masks, empty ones above all."""
import numpy as np
import pytest

from samtok_ros.errors import ImageError
from samtok_ros.masks.scores import (
    Overlap,
    ciou,
    giou,
    iou,
    iou_share,
    mean_iou,
    n_acc,
    overlap,
    t_acc,
)


def mask_of(*rows):
    return np.array([[letter == '#' for letter in row] for row in rows])


EMPTY = mask_of('....', '....', '....', '....')
LEFT = mask_of('##..', '##..', '##..', '##..')
TOP = mask_of('####', '####', '....', '....')
CORNER = mask_of('##..', '##..', '....', '....')
RIGHT = mask_of('..##', '..##', '..##', '..##')

# Empty truth and empty prediction, in the four combinations of the GRES protocol.
HIT, MISSED, REFUSED, WRONG = (
    overlap(EMPTY, EMPTY), overlap(LEFT, EMPTY), overlap(EMPTY, LEFT), overlap(RIGHT, LEFT))
HALF = overlap(CORNER, LEFT)
THIRD = overlap(TOP, LEFT)


@pytest.mark.parametrize(('prediction', 'truth', 'expected', 'why'), [
    (LEFT, LEFT, 1.0, 'the same'),
    (LEFT, RIGHT, 0.0, 'nothing in common'),
    (CORNER, LEFT, 0.5, '4 of 8 pixels'),
    (TOP, LEFT, 4 / 12, '4 shared, 12 in either'),
    (EMPTY, EMPTY, 1.0, 'nothing there, nothing found'),
    (LEFT, EMPTY, 0.0, 'found what is not there'),
    (EMPTY, LEFT, 0.0, 'found nothing'),
])
def test_iou_when_drawn_by_hand_then_as_counted(prediction, truth, expected, why):
    assert iou(prediction, truth) == expected
    assert iou(truth, prediction) == expected


def test_overlap_when_counted_then_pixels():
    assert overlap(TOP, LEFT) == Overlap(prediction_px=8, truth_px=8, intersection_px=4)
    assert overlap(TOP, LEFT).union_px == 12


# samples -> mean IoU, gIoU, cIoU, share above 0.5, N-acc, T-acc
TABLE = [
    ([], None, None, None, None, None, None, 'no samples'),
    ([HIT], None, 1, None, None, 1, None, 'no target, none found: no pixels for cIoU'),
    ([MISSED], None, 0, 0, None, 0, None, 'no target, one found'),
    ([REFUSED], 0, 0, 0, 0, None, 0, 'target not found'),
    ([WRONG], 0, 0, 0, 0, None, 1, 'another thing found'),
    ([HALF], 1 / 2, 1 / 2, 1 / 2, 0, None, 1, 'exactly one half is not above it'),
    ([HALF, THIRD], 5 / 12, 5 / 12, 8 / 20, 0, None, 1, 'cIoU weighs by size'),
    ([overlap(LEFT, LEFT), HIT, MISSED, REFUSED], 1 / 2, 1 / 2, 8 / 24, 1 / 2, 1 / 2, 1 / 2,
     'area found for nothing counts in the union'),
]


@pytest.mark.parametrize(('samples', 'mean', 'g', 'c', 'above', 'n', 't', 'why'), TABLE,
                         ids=[row[-1] for row in TABLE])
def test_scores_when_samples_of_table_then_as_by_hand(samples, mean, g, c, above, n, t, why):
    assert mean_iou(samples) == pytest.approx(mean)
    assert giou(samples) == pytest.approx(g)
    assert ciou(samples) == pytest.approx(c)
    assert iou_share(samples, 0.5) == pytest.approx(above)
    assert n_acc(samples) == pytest.approx(n)
    assert t_acc(samples) == pytest.approx(t)


@pytest.mark.parametrize(('prediction', 'text'), [
    (np.zeros((4, 5), bool), r'got \(4, 5\) bool'),
    (np.zeros((4, 4), np.uint8), r'got \(4, 4\) uint8'),
])
def test_overlap_when_masks_do_not_match_then_refused(prediction, text):
    with pytest.raises(ImageError, match='masks cannot be compared: .*' + text):
        overlap(prediction, LEFT)
