# SPDX-License-Identifier: Apache-2.0
"""Answers against the truth, by hand: which answer counts for which goal, and what is reported."""

import json

import numpy as np
import pytest
from demo_samples import sample_goals, sample_masks, sample_truth, sample_view, stamp

from samtok_ros.demo.report import REPORT_FILE, SHEET_FILE, report, write_pictures, write_report
from samtok_ros.demo.results import GoalAnswer, Results
from samtok_ros.demo.score_table import table
from samtok_ros.demo.scoring import score_demo
from samtok_ros.errors import ConfigError
from samtok_ros.regions import Region
from samtok_ros.runtime.records import Status

FRAMES = 9
GOALS = sample_goals(FRAMES)
TRUTH = {stamp(index): sample_truth(index) for index in range(FRAMES)}
SHOWN = tuple(stamp(index) for index in range(FRAMES))


def answer(index, goal_id, *masks, status=Status.OK, latency_ms=100.0, text=''):
    regions = tuple(Region(number, (number, 7), 'thing', 0.9, mask)
                    for number, mask in enumerate(masks, start=1))
    return GoalAnswer(stamp(index), goal_id, 'a goal', status, text, regions, latency_ms,
                      'fake@1')


def denial(index, goal_id, **facts):
    return answer(index, goal_id, status=Status.NO_TARGET, text='No target.', **facts)


def score(*answers):
    return score_demo(GOALS, Results(SHOWN, answers), TRUTH, {})


def test_score_when_all_is_right_then_it_is_full():
    masks = sample_masks(6)
    found = score(answer(0, 1, sample_masks(0)[1]), denial(3, 2),
                  answer(6, 3, masks[1], masks[2]))
    assert [goal.iou for goal in found.goals] == [1.0, None, 1.0]
    assert all(goal.is_correct for goal in found.goals)
    assert (found.mean_iou, found.no_target_correct) == (1.0, 1.0)
    assert (found.frames_in, found.frames_processed, found.frames_dropped) == (9, 3, 6)


def test_iou_when_a_mask_is_half_off_then_it_is_a_third():
    mask = np.roll(sample_masks(0)[1], 6, axis=1)
    found = score(answer(0, 1, mask))
    assert found.goals[0].iou == pytest.approx(1 / 3)
    assert not found.goals[0].is_correct


def test_iou_when_the_image_is_a_later_one_then_the_truth_of_that_image_counts():
    assert score(answer(2, 1, sample_masks(2)[1])).goals[0].iou == 1.0
    assert score(answer(2, 1, sample_masks(0)[1])).goals[0].iou == pytest.approx(10 / 14)


def test_goal_when_one_of_two_targets_is_found_then_it_counts_in_part():
    found = score(answer(6, 3, sample_masks(6)[1])).goals[2]
    assert found.iou == pytest.approx(144 / (144 + 140))


def test_goal_when_answered_twice_then_the_first_image_judges_and_both_are_counted():
    late = answer(1, 1, np.zeros((48, 64), bool))
    found = score(late, answer(0, 1, sample_masks(0)[1])).goals[0]
    assert (found.iou, found.answers, found.frame_ious) == (1.0, 2, (1.0, 0.0))
    assert found.answer.stamp_ns == stamp(0)


@pytest.mark.parametrize('wrong', [
    answer(3, 1, sample_masks(3)[1]),  # the goal does not hold for that image any more
    answer(0, 2, sample_masks(0)[1]),  # another goal
    answer(0, 1, sample_masks(0)[1], status=Status.CANCELLED),
])
def test_answer_when_it_is_not_one_to_the_goal_then_it_does_not_count(wrong):
    found = score(wrong).goals[0]
    assert (found.answer, found.iou, found.is_correct) == (None, 0.0, False)


def test_answer_when_it_failed_then_the_goal_gets_nothing_and_the_image_is_not_processed():
    found = score(answer(0, 1, status=Status.FAILED))
    assert found.goals[0].iou == 0.0
    assert found.frames_processed == 0
    assert found.latency_ms_p50 is None


@pytest.mark.parametrize(('given', 'right'), [
    ((), False),
    ((denial(3, 2),), True),
    ((answer(3, 2, sample_masks(3)[1]),), False),
    # Silence without a word is no denial.
    ((answer(3, 2),), False),
    ((denial(3, 2), answer(4, 2, sample_masks(4)[1])), True),
])
def test_no_target_when_answered_then_only_a_denial_is_right(given, right):
    found = score(*given)
    assert found.goals[1].is_correct == right
    assert found.no_target_correct == float(right)


def test_latency_when_several_then_percentiles_are_over_all_answers():
    found = score(*(denial(index, 2, latency_ms=100.0 * (index + 1)) for index in range(5)))
    assert (found.latency_ms_p50, found.latency_ms_p95) == (300.0, pytest.approx(480.0))


def test_score_when_there_is_no_truth_for_an_answer_then_it_is_said():
    with pytest.raises(ConfigError, match='no truth for an answer'):
        score_demo(GOALS, Results(SHOWN, (answer(0, 1),)), {}, {})


# Report

SOME = (answer(0, 1, sample_masks(0)[1], text='one'), denial(3, 2, latency_ms=300.0))


def test_report_when_made_then_it_has_every_key_and_is_json():
    found = json.loads(json.dumps(report(score(*SOME), {'model': 'fake'})))
    assert set(found) == {
        'goals', 'mean_iou', 'no_target_correct', 'latency_ms_p50', 'latency_ms_p95', 'frames_in',
        'frames_processed', 'frames_dropped', 'mask_age_ms', 'answer_age_ms', 'lifting', 'run'}
    assert (found['mean_iou'], found['no_target_correct']) == (0.5, 1.0)
    assert (found['latency_ms_p50'], found['frames_in'], found['frames_dropped']) == (200.0, 9, 7)
    first, second, third = found['goals']
    assert (first['text'], first['kind'], first['iou'], first['answer']) == (
        'one mug', 'attribute', 1.0, 'one')
    assert first['words'] == ['<|mt_start|><|mt_0001|><|mt_0263|><|mt_end|>']
    assert (first['stamp_ns'], first['latency_ms']) == (stamp(0), 100.0)
    assert (second['iou'], second['correct'], second['words']) == (None, True, [])
    assert (third['iou'], third['answer'], third['stamp_ns']) == (0.0, None, None)


def test_report_when_nothing_was_answered_then_it_says_so():
    found = report(score(), {})
    assert (found['mean_iou'], found['latency_ms_p50'], found['frames_processed']) == (0.0, None, 0)
    assert 'no answer' in table(score())


def test_table_when_printed_then_it_has_a_line_per_goal_and_one_in_all():
    lines = table(score(*SOME)).splitlines()
    assert len(lines) == 1 + len(GOALS) + 2
    assert lines[1].split() == ['1', 'one', 'mug', '1-7', '1.00', '100']
    assert 'No target.' in lines[2]
    assert lines[2].split()[-2:] == ['right', '300']
    assert lines[-2] == ('mean IoU 0.500, "No target." where right 100%, latency 200 ms '
                         '(p95 290 ms), 2 of 9 images processed')
    assert lines[-1] == 'age of masks 200 (290) ms (p95), of the answers behind them 200 (290) ms'


def test_pictures_when_written_then_there_is_one_per_goal_and_a_sheet(tmp_path):
    from PIL import Image

    found = score(*SOME)
    write_pictures(tmp_path, found, {stamp(index): sample_view(index) for index in (0, 3, 6)})
    write_report(tmp_path, found, {})
    overlays = [json.loads((tmp_path / REPORT_FILE).read_text())['goals'][i]['overlay']
                for i in range(3)]
    assert all((tmp_path / name).is_file() for name in overlays)
    tile = np.asarray(Image.open(tmp_path / overlays[0]))
    plain = np.asarray(Image.open(tmp_path / overlays[2]))
    assert (tile[:56] != plain[:56]).any()
    assert Image.open(tmp_path / SHEET_FILE).width > 3 * 64
