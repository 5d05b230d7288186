# SPDX-License-Identifier: Apache-2.0
"""Targets of mask words follow the distances of the sums of codebook rows."""

import numpy as np

from samtok_ros.training.code_targets import CodeTargets

RNG = np.random.default_rng(0)
CODEBOOKS = np.stack([10 * RNG.normal(size=(8, 4)), RNG.normal(size=(8, 4))])


def test_distances_when_compared_with_plain_sums_then_equal():
    table = CodeTargets(CODEBOOKS, 1.0, 0.0).distances((3, 5))
    wanted = CODEBOOKS[0][3] + CODEBOOKS[1][5]
    for first in range(8):
        for second in range(8):
            there = CODEBOOKS[0][first] + CODEBOOKS[1][second]
            assert np.isclose(table[first, second], ((there - wanted) ** 2).sum(), atol=1e-3)


def test_draw_when_temperature_is_zero_then_hard():
    targets = CodeTargets(CODEBOOKS, 0.0, 0.5).draw((3, 5), RNG)
    assert targets.codes == (3, 5)
    assert targets.distributions.argmax(1).tolist() == [3, 5]
    assert targets.distributions.sum() == 2.0


def test_draw_when_soft_then_true_codes_are_the_most_likely():
    for codes in ((0, 0), (7, 2), (4, 6)):
        targets = CodeTargets(CODEBOOKS, 0.5, 0.0).draw(codes, RNG)
        assert targets.codes == codes
        assert tuple(targets.distributions.argmax(1)) == codes
        assert np.allclose(targets.distributions.sum(1), 1.0, atol=1e-5)


def test_draw_when_two_first_codes_are_twins_then_both_are_taught_and_written():
    codebooks = CODEBOOKS.copy()
    codebooks[0][1] = codebooks[0][0]
    maker = CodeTargets(codebooks, 0.2, 1.0)
    drawn = [maker.draw((0, 4), RNG) for _ in range(60)]
    assert {targets.codes[0] for targets in drawn} == {0, 1}
    assert {targets.codes[1] for targets in drawn} == {4}
    assert np.isclose(drawn[0].distributions[0][0], drawn[0].distributions[0][1])
