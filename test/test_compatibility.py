# SPDX-License-Identifier: Apache-2.0
"""Pairing as in the official demo, its odd results included."""
import pytest

from samtok_ros.words.compatibility import NO_CODE, pair_by_order

LETTERS = {'S': '<|mt_start|>', 'E': '<|mt_end|>', 'a': '<|mt_0230|>', 'b': '<|mt_0345|>',
           'c': '<|mt_0007|>', 'x': '<|mt_0600|>'}


def spell(short):
    return ''.join(LETTERS.get(letter, letter) for letter in short)


CASES = [
    ('no mask', [], 'no words'),
    ('SabE', [(230, 89)], 'well formed'),
    ('ab', [(230, 89)], 'even: start and end words do not matter'),
    ('SaE ScE', [(230, NO_CODE)], 'even: two damaged spans become one pair'),
    ('SaE SabE ScE', [(230, NO_CODE), (345, NO_CODE)], 'even: every pair behind shifts'),
    ('SabcE', [(230, 89)], 'odd: words behind the second are dropped'),
    ('SabE SaE', [(230, 89), (230, NO_CODE)], 'odd: missing second word'),
    ('SabE Sa', [(230, 89), (230, NO_CODE)], 'odd: missing second word and end word'),
    ('SabE Sa, SabE', [(230, 89), (230, NO_CODE), (230, 89)], 'odd: the same in the middle'),
    ('SabE a', [(230, 89)], 'odd: a stray word is ignored after repair'),
    ('SxbE', [(600, 89)], 'the first number is not checked'),
    ('SaxE', [(230, NO_CODE)], 'the second number is'),
    ('SacE', [(230, NO_CODE)], 'a second word of the first level is no code'),
]


@pytest.mark.parametrize(('short', 'pairs', 'why'), CASES, ids=[c[2] for c in CASES])
def test_pair_by_order_when_text_of_table_then_pairs_of_the_demo(short, pairs, why):
    assert pair_by_order(spell(short)) == pairs
