# SPDX-License-Identifier: Apache-2.0
"""Two models on the same scenes: values by hand, intervals that hold what is known."""

import numpy as np
import pytest

from samtok_ros.evaluation.comparison import answer_values, compare, table
from samtok_ros.evaluation.samples import (
    GoalSample,
    RegionSample,
    Samples,
    TaskSample,
    figures_by_task,
    headline_figures,
)
from samtok_ros.masks.scores import Overlap


def _goal(iou_percent):
    return GoalSample('single', 'shape', 0.1, Overlap(100, 100 * iou_percent // 100,
                                                      100 * iou_percent // 100), 1, False)


def _scene(*iou_percents, right=True):
    return Samples(goals=[_goal(one) for one in iou_percents],
                   regions=[RegionSample('colour of region', 0.1, right)],
                   tasks=[TaskSample('choice', 'choice of colour', 'right', 1.0)])


def _by_name(pairs):
    return {one.figure: one for one in compare(pairs)}


def test_answer_values_when_averaged_then_the_figures_of_a_report():
    goals = [_goal(80), _goal(30),
             GoalSample('several', 'several', 0.1, Overlap(0, 10, 0), 0, True),
             GoalSample('none', 'no size', 0.0, Overlap(0, 0, 0), 0, True)]
    samples = Samples(goals=goals, regions=_scene(right=False).regions, tasks=_scene().tasks)
    values = {name: np.mean(one) for name, one in answer_values(samples).items()}
    reported = {name: figure.value for name, figure in headline_figures(samples).items()
                if figure.count}
    reported['choice: right'] = figures_by_task(samples)['choice']['right'].value
    assert {name: values[name] for name in reported} == pytest.approx(reported)
    assert values['several_giou'] == 0.0


def test_compare_when_every_scene_gains_the_same_then_certain_and_exact():
    one = _by_name([(_scene(50, 60), _scene(60, 70)) for _ in range(8)])['grounding_giou']
    assert (one.count, one.before, one.after) == (16, pytest.approx(0.55), pytest.approx(0.65))
    assert (one.low, one.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert one.is_certain


def test_compare_when_gains_and_losses_cancel_then_not_certain():
    pairs = [(_scene(50), _scene(70)), (_scene(70), _scene(50))] * 10
    one = _by_name(pairs)['grounding_giou']
    assert one.before == one.after
    assert one.low < 0 < one.high
    assert not one.is_certain


def test_compare_when_scenes_are_drawn_then_the_interval_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    gains = rng.integers(-5, 12, 400)
    pairs = [(_scene(50), _scene(50 + int(gain))) for gain in gains]
    one = _by_name(pairs)['grounding_giou']
    half = 1.96 * gains.std() / 100 / np.sqrt(len(gains))
    assert one.low == pytest.approx(gains.mean() / 100 - half, abs=0.1 * half)
    assert one.high == pytest.approx(gains.mean() / 100 + half, abs=0.1 * half)


def test_compare_when_answers_of_a_scene_move_together_then_the_interval_is_wider():
    rng = np.random.default_rng(1)
    gains = rng.choice([-20, 20], 60)
    together = [(_scene(50, 50), _scene(50 + gain, 50 + gain)) for gain in gains.tolist()]
    apart = [(_scene(50, 50), _scene(70, 30)) for _ in gains]
    wide, narrow = (_by_name(pairs)['grounding_giou'] for pairs in (together, apart))
    assert wide.high - wide.low > 0.08
    assert narrow.high - narrow.low < 1e-9


def test_table_when_printed_then_certain_ones_have_a_star():
    text = table(compare([(_scene(50), _scene(60)), (_scene(50), _scene(60))]))
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines['grounding_giou'].endswith('+0.1000 .. +0.1000 *')
    assert lines['region_qa'].endswith('+0.0000 .. +0.0000')
