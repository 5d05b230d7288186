# SPDX-License-Identifier: Apache-2.0
"""The example that reads masks: its arrays are ours, and it runs beside the nodes."""

import re

import numpy as np
from example_bench import EXAMPLES, load_example, running_example
from harness import wait_until

from samtok_ros.masks.rle import mask_to_rle
from samtok_ros.msg import Goal

LINE = re.compile(r'(answered|followed) one bowl \(\d+\): (\d+) pixels around (\d+), (\d+)')


def test_array_when_made_of_runs_then_it_is_the_mask():
    reader = load_example('mask_reader')
    mask = np.zeros((5, 7), np.bool_)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    for one in (mask, ~mask, mask & False):
        assert np.array_equal(reader.array_of(mask_to_rle(one).tolist(), 5, 7), one)


def test_reader_when_masks_come_then_it_prints_where_they_are(world):
    world.start('perception', {'autostart': True, 'model.backend': 'fake'})
    goals = world.peer.publisher(Goal, 'goal')
    with running_example(world, 'camera', EXAMPLES / 'table.jpg'), \
            running_example(world, 'mask_reader') as run:
        goals.publish(Goal(text='one bowl'))
        wait_until(lambda: 'answered' in run.log and LINE.search(run.log), lambda: run.log)
        pixels, column, row = map(int, LINE.search(run.log).groups()[1:])
    assert 0 < pixels < 320 * 240 and column < 320 and row < 240
