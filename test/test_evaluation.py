# SPDX-License-Identifier: Apache-2.0
"""Evaluation with models whose answers are known by hand."""
import json
import sys

import numpy as np
import pytest
from hand_scenes import THINGS, scene_of, store_with
from scripted_model import VOCABULARY, PerfectTokenizer, ScriptedModel, listed

from samtok_ros.errors import ConfigError, DeviceError
from samtok_ros.evaluation import tabletop
from samtok_ros.evaluation.heldout_scenes import heldout_scenes
from samtok_ros.evaluation.one_image import OneImageTokenizer
from samtok_ros.evaluation.report import BARS, RunFacts, report, table
from samtok_ros.evaluation.samples import (
    Figure,
    GoalSample,
    MaskSample,
    RegionSample,
    Samples,
    figures_by_area,
    figures_by_kind,
    figures_by_task,
    headline_figures,
)
from samtok_ros.evaluation.scene_questions import (
    Goal,
    QuestionPlan,
    RegionQuestion,
    SceneQuestions,
    questions_for,
)
from samtok_ros.evaluation.scene_tasks import ask_task
from samtok_ros.language.instructions import RegionReference
from samtok_ros.masks.scores import Overlap
from samtok_ros.training.question import Question
from samtok_ros.training.texts import SpanOf, mask_list

GOALS = (Goal('single', 'colour shape', 'the red box', (1,)),
         Goal('single', 'leftmost', 'rightmost object', (3,)),
         Goal('several', 'several', 'all red objects', (1, 2)),
         Goal('none', 'no attribute', 'green cone', ()),
         Goal('unknown', 'unknown', 'the banana', ()))
REGIONS = (RegionQuestion('colour of region', 'What colour is <region:1>?', 3, 'It is blue.'),
           RegionQuestion('shape of region', '<region:1>\nWhat shape is it?', 2, 'It is a mug.'))
TASKS = (
    Question('choice', 'choice of colour', ('Which letter is ', SpanOf(2), '?'), ('B',)),
    Question('rounds', 'left of a region', ('Segment what is left of ', SpanOf(3), '.'),
             mask_list([(1, 'box')]), earlier=((('Segment it.',), mask_list([(3, 'it')])),)))
RIGHT = {
    'Which letter is <1>?': 'B',
    'Segment what is left of <2>.': listed(0),
    'Please segment the red box in this image.': listed(0),
    'Please segment rightmost object in this image.': listed(2),
    'Please segment all red objects in this image.': listed(0, 1),
    'Please segment green cone in this image.': 'No target.',
    'Please segment the banana in this image.': 'No target.',
    'What colour is <2>?': 'It is blue.',
    '<1>\nWhat shape is it?': 'It is a mug.',
}


@pytest.fixture
def by_hand(monkeypatch):
    """Ask the questions above instead of drawn ones."""
    monkeypatch.setattr(tabletop, 'questions_for', lambda *_: SceneQuestions(GOALS, REGIONS))
    monkeypatch.setattr(tabletop, 'task_questions', lambda *_: TASKS)


def measured(changes=None, tokenizer=None):
    model = ScriptedModel({**RIGHT, **(changes or {})})
    tokenizer = tokenizer or PerfectTokenizer()
    pipeline = tabletop.Pipeline(model, tokenizer)
    return tabletop.measure(pipeline, [scene_of()]), tokenizer


def test_measure_when_tasks_are_asked_then_each_has_figures_and_rounds_have_a_history(by_hand):
    samples, _ = measured()
    figures = {task: {name: figure.value for name, figure in group.items()}
               for task, group in figures_by_task(samples).items()}
    assert figures == {'choice': {'right': 1.0}, 'rounds': {'giou': 1.0}}
    wrong, _ = measured({'Which letter is <1>?': 'A', 'Segment what is left of <2>.': listed(1)})
    assert [sample.value for sample in wrong.tasks] == [0.0, 0.0]


def test_ask_task_when_there_was_a_round_before_then_its_answer_holds_the_true_words():
    model, scene = ScriptedModel(RIGHT), scene_of()
    codes = {number: (0, number - 1) for number in (1, 2, 3)}
    tokenizer = PerfectTokenizer()
    tokenizer.encode(None, np.stack([scene.mask(number) for number in (1, 2, 3)]))
    ask_task(tabletop.Pipeline(model, tokenizer), scene, TASKS[1], codes, tabletop.LIMITS)
    (earlier,) = model.remembered
    assert earlier.instruction == ('Segment it.',)
    assert VOCABULARY.codes_to_words((0, 2)) in earlier.answer


def values(samples):
    return {name: figure.value for name, figure in headline_figures(samples).items()}


PERFECT = {'mask_miou': 1.0, 'grounding_giou': 1.0, 'grounding_iou50': 1.0,
           'no_target_recall': 1.0, 'unknown_recall': 1.0, 'false_refusal': 0.0, 'region_qa': 1.0}


def test_measure_when_every_answer_is_right_then_figures_are_perfect(by_hand):
    samples, tokenizer = measured()
    assert values(samples) == PERFECT
    assert {name: figure.count for name, figure in headline_figures(samples).items()} == {
        'mask_miou': 3, 'grounding_giou': 2, 'grounding_iou50': 2, 'no_target_recall': 1,
        'unknown_recall': 1, 'false_refusal': 3, 'region_qa': 2}
    assert all(BARS[name].holds(value) for name, value in values(samples).items())
    assert tokenizer.embedded == 1  # for three masks and four answers with masks


# The box is 8 x 10 pixels, the ball 8 x 10, the mug 8 x 6; none overlap.
@pytest.mark.parametrize(('changes', 'worse'), [
    pytest.param({'Please segment the red box in this image.': listed(2)},
                 {'grounding_giou': 0.5, 'grounding_iou50': 0.5}, id='wrong thing'),
    pytest.param({'Please segment the red box in this image.': listed(0, 1)},
                 {'grounding_giou': (80 / 128 + 1) / 2}, id='one mask too many, IoU above 0.5'),
    pytest.param({'Please segment the red box in this image.': 'No target.'},
                 {'grounding_giou': 0.5, 'grounding_iou50': 0.5, 'false_refusal': 1 / 3},
                 id='refusal'),
    pytest.param({'Please segment the red box in this image.': 'It is over there.'},
                 {'grounding_giou': 0.5, 'grounding_iou50': 0.5, 'false_refusal': 1 / 3},
                 id='no mask in other words'),
    pytest.param({'Please segment all red objects in this image.': 'No target.'},
                 {'false_refusal': 1 / 3}, id='refusal of several'),
    pytest.param({'Please segment all red objects in this image.': listed(2)}, {},
                 id='several wrong things, in the breakdown only'),
    pytest.param({'Please segment green cone in this image.': listed(0)},
                 {'no_target_recall': 0.0}, id='something found where nothing is'),
    pytest.param({'Please segment green cone in this image.': 'no target'},
                 {'no_target_recall': 0.0}, id='not exactly the agreed words'),
    pytest.param({'Please segment the banana in this image.': listed(0)},
                 {'unknown_recall': 0.0}, id='a strange word taken for something known'),
    pytest.param({'What colour is <2>?': 'It is red.'}, {'region_qa': 0.5}, id='wrong colour'),
    pytest.param({'<1>\nWhat shape is it?': 'It is a mug'}, {'region_qa': 0.5},
                 id='nearly the right words'),
])
def test_measure_when_one_answer_is_wrong_then_only_its_figures_fall(by_hand, changes, worse):
    samples, _ = measured(changes)
    assert values(samples) == pytest.approx({**PERFECT, **worse})


def test_measure_when_masks_come_back_wrong_then_mask_figure_falls(by_hand):
    class Upside(PerfectTokenizer):
        def decode(self, features, codes):
            found = super().decode(features, codes)
            found.masks[:, :, 5:] = False
            return found

    samples, _ = measured(tokenizer=Upside())
    # Columns 2..4 stay: 3 of 10 of the box, 3 of 6 of the mug, nothing of the ball.
    assert values(samples)['mask_miou'] == pytest.approx((0.3 + 0.5 + 0) / 3)


def test_measure_when_answers_are_damaged_or_cut_then_they_are_counted(by_hand):
    samples, _ = measured({'Please segment green cone in this image.': '<|mt_start|><|mt_0001|>',
                           'Please segment the red box in this image.': (listed(0), 'length')})
    assert [goal.malformed for goal in samples.goals] == [0, 0, 0, 1, 0]
    assert [goal.cut_short for goal in samples.goals] == [True, False, False, False, False]


def test_measure_when_region_is_asked_about_then_it_is_given_by_its_own_words(by_hand,
                                                                              monkeypatch):
    monkeypatch.setattr(tabletop, 'task_questions', lambda *_: ())
    model = ScriptedModel(RIGHT)
    tabletop.measure(tabletop.Pipeline(model, PerfectTokenizer()), [scene_of()])
    assert [part for heard in model.heard for part in heard
            if isinstance(part, RegionReference)] == [RegionReference((0, 2)),
                                                      RegionReference((0, 1))]


def test_one_image_tokenizer_when_image_changes_then_embedded_anew():
    inner = PerfectTokenizer()
    tokenizer = OneImageTokenizer(inner)
    first, second = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    assert tokenizer.embed_image(first) is tokenizer.embed_image(first)
    assert inner.embedded == 1
    tokenizer.embed_image(second)
    assert inner.embedded == 2
    assert tokenizer.tokenizer_id == 'perfect@0'


def test_questions_when_drawn_then_each_names_what_it_says():
    rich = (*THINGS, (4, 'box', 'green', 'small', (14, 22), (22, 30)))
    things = {one[0]: one for one in rich}
    plan = QuestionPlan(3, 1, 2, 1, 2)
    for seed in range(20):
        questions = questions_for(scene_of(rich, seed).description, plan, 0)
        groups = [goal.group for goal in questions.goals]
        assert groups == sorted(groups, key=('single', 'several', 'none', 'unknown').index)
        assert groups.count('single') == 3
        assert (groups.count('none'), groups.count('unknown')) == (2, 1)
        for goal in questions.goals:
            assert (goal.group in ('none', 'unknown')) == (goal.targets == ())
            assert (goal.group == 'single') == (len(goal.targets) == 1)
            if goal.kind == 'colour shape':
                assert f'{things[goal.targets[0]][2]} {things[goal.targets[0]][1]}' in goal.text
        assert len({goal.text for goal in questions.goals}) == len(questions.goals)
        assert [question.kind for question in questions.regions] == [
            'colour of region', 'shape of region']
        colour, shape = questions.regions
        assert colour.object_id != shape.object_id
        assert colour.reply == f'It is {things[colour.object_id][2]}.'
        assert things[shape.object_id][1] in shape.reply
        assert all('<region:1>' in question.text for question in questions.regions)


def test_questions_when_drawn_again_then_equal_and_groups_are_independent():
    description = scene_of().description
    questions = questions_for(description, QuestionPlan(), 7)
    assert questions == questions_for(description, QuestionPlan(), 7)
    assert questions != questions_for(description, QuestionPlan(), 8)
    fewer = questions_for(description, QuestionPlan(single=0), 7)
    assert fewer.goals == tuple(goal for goal in questions.goals if goal.group != 'single')
    assert fewer.regions == questions.regions


def test_questions_when_scene_is_poor_then_fewer_and_never_wrong_ones():
    lonely = scene_of(THINGS[:1]).description
    questions = questions_for(lonely, QuestionPlan(2, 2, 1, 3), 0)
    assert [goal for goal in questions.goals if goal.group == 'several'] == []
    assert {question.object_id for question in questions.regions} == {1}


def test_plan_when_negative_then_config_error():
    with pytest.raises(ConfigError, match='number of none questions is negative'):
        QuestionPlan(none=-1)


def goal(group, kind, prediction_px, truth_px, intersection_px, area=0.02):
    return GoalSample(group, kind, area, Overlap(prediction_px, truth_px, intersection_px),
                      int(prediction_px > 0), prediction_px == 0)


def test_breakdowns_when_samples_differ_then_each_class_alone():
    samples = Samples(
        [MaskSample('box', 0.005, 0.5), MaskSample('mug', 0.02, 0.9), MaskSample('box', 0.2, 0.7)],
        [goal('single', 'colour', 10, 10, 10, area=0.03), goal('single', 'left of', 10, 10, 5),
         goal('several', 'several', 0, 10, 0), goal('none', 'no size', 3, 0, 0, area=0.0)],
        [RegionSample('colour of region', 0.009, True),
         RegionSample('shape of region', 0.5, False)])
    kinds, areas = figures_by_kind(samples), figures_by_area(samples)
    assert kinds['single'] == {'colour': Figure(1.0, 1), 'left of': Figure(pytest.approx(1 / 3), 1)}
    assert kinds['several'] == {'several': Figure(0.0, 1)}
    assert kinds['none'] == {'no size': Figure(0.0, 1)}
    assert kinds['mask'] == {'box': Figure(pytest.approx(0.6), 2), 'mug': Figure(0.9, 1)}
    assert areas['mask_miou'] == {'0% to 1%': Figure(0.5, 1), '1% to 3%': Figure(0.9, 1),
                                  '3% to 100%': Figure(0.7, 1)}
    assert areas['grounding_giou']['3% to 100%'] == Figure(1.0, 1)
    assert areas['region_qa'] == {'0% to 1%': Figure(1.0, 1), '3% to 100%': Figure(0.0, 1)}


def test_figures_when_nothing_was_measured_then_none_and_no_bar_holds():
    figures = headline_figures(Samples())
    assert set(figures) == set(BARS) == set(PERFECT)
    assert set(figures.values()) == {Figure(None, 0)}
    assert not any(bar.holds(None) for bar in BARS.values())


@pytest.mark.parametrize(('name', 'value', 'holds'), [
    ('mask_miou', 0.9, True), ('mask_miou', 0.8999, False), ('grounding_giou', 0.7, True),
    ('grounding_iou50', 0.8, True), ('grounding_iou50', 0.79, False),
    ('no_target_recall', 0.9, True), ('false_refusal', 0.0499, True),
    ('false_refusal', 0.05, False), ('region_qa', 0.9, True)])
def test_bar_when_value_is_at_its_border_then_as_the_issue_says(name, value, holds):
    assert BARS[name].holds(value) is holds


def test_report_when_written_then_figures_counts_and_facts(by_hand, tmp_path):
    (tmp_path / 'model.safetensors').write_bytes(b'weights')
    (tmp_path / 'config.json').write_text('{}')
    samples, _ = measured({'What colour is <2>?': 'It is red.'})
    facts = RunFacts(tmp_path, 'perfect@0', 'cpu', 'float32', 1, 3, 2.04)
    written = json.loads(json.dumps(report(samples, facts)))
    assert written['mask_miou'] == {'value': 1.0, 'count': 3, 'bar': '>= 0.90', 'holds': True}
    assert written['region_qa'] == {'value': 0.5, 'count': 2, 'bar': '>= 0.90', 'holds': False}
    assert written['by_kind']['region'] == {'colour of region': {'value': 0.0, 'count': 1},
                                            'shape of region': {'value': 1.0, 'count': 1}}
    assert (written['scenes'], written['seed'], written['seconds']) == (1, 3, 2.0)
    assert list(written['model']['weights']) == ['model.safetensors']
    assert len(written['model']['weights']['model.safetensors']) == 16
    assert written['versions']['numpy'] == np.__version__
    lines = table(samples).splitlines()
    assert lines[0].split() == ['figure', 'value', 'count', 'bar', 'holds']
    assert lines[1].split() == ['mask_miou', '1.000', '3', '>=', '0.90', 'yes']
    assert lines[7].split() == ['region_qa', '0.500', '2', '>=', '0.90', 'NO']


def test_heldout_scenes_when_cached_then_read_without_rendering(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mujoco', None)
    store_with(tmp_path, 4)
    scenes = list(heldout_scenes(3, 3, tmp_path))
    assert [scene.description.seed for scene in scenes] == [30000000, 30000001, 30000002]
    assert scenes[0].mask(1).sum() == 80
    assert scenes[0].image_rgb.shape == (480, 640, 3)


def test_heldout_scenes_when_cache_holds_others_then_config_error(tmp_path):
    store_with(tmp_path, 2)
    with pytest.raises(ConfigError, match='holds other scenes'):
        list(heldout_scenes(2, 4, tmp_path))


@pytest.mark.parametrize(('count', 'seed'), [(0, 0), (1, -1)])
def test_heldout_scenes_when_none_are_asked_for_then_config_error(count, seed):
    with pytest.raises(ConfigError, match='nothing to measure on'):
        heldout_scenes(count, seed)


def test_heldout_scenes_when_mujoco_is_missing_then_error_with_the_fix(monkeypatch, tmp_path):
    for name in ('samtok_ros.scenes.describe', 'samtok_ros.scenes.renderer',
                 'samtok_ros.scenes.scene_model'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, 'mujoco', None)
    for cache_dir in (None, tmp_path):
        with pytest.raises(DeviceError, match='MuJoCo.*install mujoco'):
            next(heldout_scenes(1, 0, cache_dir))
