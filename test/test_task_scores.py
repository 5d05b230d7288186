# SPDX-License-Identifier: Apache-2.0
"""Answers judged on a scene of four things, each a block of the picture."""

from types import SimpleNamespace

import numpy as np
import pytest

from samtok_ros.evaluation.task_scores import (
    SCORES,
    SaidAnswer,
    SaidRegion,
    SceneTruth,
    descriptor_of,
)
from samtok_ros.training.descriptors import Descriptor
from samtok_ros.training.imagined_scenes import ImaginedObject
from samtok_ros.training.question import Question
from samtok_ros.training.scene_tasks import TASKS
from samtok_ros.training.texts import SpanOf, mask_list, write
from samtok_ros.words.answers import label_spans
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()
THINGS = (
    ImaginedObject(1, 'mug', 'red', 'large', (0.1, 0.5), 0.8, (0.0, 0.0, 0.25, 1.0)),
    ImaginedObject(2, 'box', 'blue', 'small', (0.4, 0.5), 0.5, (0.25, 0.0, 0.5, 1.0)),
    ImaginedObject(3, 'mug', 'green', 'small', (0.6, 0.5), 0.9, (0.5, 0.0, 0.75, 1.0)),
    ImaginedObject(4, 'ring', 'black', 'large', (0.9, 0.5), 0.4, (0.75, 0.0, 1.0, 1.0)),
)
SEGMENTATION = np.repeat(np.array([[1, 2, 3, 4]], np.uint8), 10, axis=1).repeat(8, axis=0)
TRUTH = SceneTruth({thing.object_id: thing for thing in THINGS}, SEGMENTATION)


def said(text):
    """An answer whose span with the first code n draws object n, and nothing for 0."""
    spans = label_spans(text, SpanParser(VOCABULARY).parse(text).spans)
    return SaidAnswer(text, tuple(
        SaidRegion(text[s.span.start:s.span.end], s.label, (s.span.codes[0] or 99) == SEGMENTATION)
        for s in spans))


def words(number):
    return VOCABULARY.codes_to_words((number, 0))


def perfect(question, wrong=None):
    """The true answer; the spans of one object may be another one's."""
    spans = {number: words(number) for number in (1, 2, 3, 4)}
    return said(write(question.reply, {**spans, **(wrong or {})}))


def drawn(family, seed):
    question = TASKS[family](THINGS, np.random.default_rng(seed))
    return question if question and question.family == family else None


@pytest.mark.parametrize('family', tuple(TASKS))
def test_score_when_the_answer_is_the_true_one_then_full_marks(family):
    seen = set()
    for seed in range(40):
        question = drawn(family, seed)
        if question is None:
            continue
        scores = SCORES[family](question, perfect(question), TRUTH)
        # The thing next to nothing clear has no place to be told.
        if family == 'caption' and ',' not in write(question.reply, {}):
            scores.pop('place')
        assert set(scores.values()) == {1.0}, (question, scores)
        seen |= set(scores)
    assert seen


@pytest.mark.parametrize('family', tuple(TASKS))
def test_score_when_the_answer_is_nonsense_then_none(family):
    question = next(filter(None, (drawn(family, seed) for seed in range(40))))
    for text in ('', 'It is a mug.', words(0), '```json\n[{"subject": 3}]\n```',
                 '```json\n[1, 2]\n```', '```json\n{"a": []}\n```'):
        if question.targets or text != write(question.reply, {}):
            assert set(SCORES[family](question, said(text), TRUTH).values()) == {0.0}


def test_caption_when_one_part_is_wrong_then_only_that_part_fails():
    question = Question('caption', '', (SpanOf(2),), ())
    def score(text):
        return SCORES['caption'](question, said(text), TRUTH)
    assert score('A small blue box, right of the red mug.') == {'attributes': 1, 'place': 1}
    assert score('A small blue box, left of the red mug.') == {'attributes': 1, 'place': 0}
    assert score('A large blue box, right of the red mug.') == {'attributes': 0, 'place': 1}
    assert score('A small blue box.') == {'attributes': 1, 'place': 0}
    assert score('A blue box, in front of the black ring.') == {'attributes': 0, 'place': 0}


def test_relation_when_another_true_one_is_said_then_right():
    question = Question('relation', 'left of', (SpanOf(1), SpanOf(2)), ())
    def score(text):
        return SCORES['relation'](question, said(text), TRUTH)
    assert score('The red mug is left of the blue box.') == {'names': 1, 'relation': 1}
    assert score('The red mug is behind the blue box.') == {'names': 1, 'relation': 1}
    assert score('The blue box is in front of the red mug.') == {'names': 0, 'relation': 0}
    assert score('The mug is left of the box.') == {'names': 0, 'relation': 1}


def test_categories_when_one_is_missed_and_one_misnamed_then_recall_and_precision_tell():
    question = Question('categories', '', ('',), mask_list([(1, 'mug'), (2, 'box'), (3, 'mug')]))
    text = write(mask_list([(1, 'mug'), (2, 'mug'), (4, 'ring'), (1, 'mug')]),
                 {number: words(number) for number in (1, 2, 3, 4)})
    assert SCORES['categories'](question, said(text), TRUTH) == {
        'recall': pytest.approx(1 / 3), 'precision': pytest.approx(1 / 4)}


def test_grounded_caption_when_phrase_and_mask_belong_to_two_things_then_it_does_not_count():
    question = Question('grounded caption', '', ('',), (SpanOf(1), SpanOf(2)))
    text = ('The picture shows <|object_ref_start|> a red mug <|object_ref_end|> ' + words(2)
            + ' and <|object_ref_start|> a blue box <|object_ref_end|> ' + words(2) + '.')
    assert SCORES['grounded caption'](question, said(text), TRUTH) == {
        'recall': 0.5, 'precision': 0.5}


def test_scene_graph_when_a_predicate_is_false_then_that_triplet_does_not_count():
    question = TASKS['scene graph'](THINGS, np.random.default_rng(0))
    text = perfect(question).text
    assert '"predicate": "' in text
    worse = text.replace('"predicate": "behind"', '"predicate": "in front of"', 1)
    assert worse != text
    wanted = len(question.targets) // 2
    scores = SCORES['scene graph'](question, said(worse), TRUTH)
    assert scores == {'recall': pytest.approx((wanted - 1) / wanted),
                      'precision': pytest.approx((wanted - 1) / wanted)}
    swapped = perfect(question, {question.targets[0]: words(4)})
    assert SCORES['scene graph'](question, swapped, TRUTH)['recall'] < 1


def test_scene_graph_when_more_is_said_than_wanted_and_true_then_it_is_not_held_against_it():
    question = TASKS['scene graph'](THINGS, np.random.default_rng(0))
    fewer = SimpleNamespace(targets=question.targets[:2])
    assert len(fewer.targets) < len(question.targets)
    assert SCORES['scene graph'](fewer, perfect(question), TRUTH) == {
        'recall': 1.0, 'precision': 1.0}


def test_descriptor_of_when_words_are_unknown_or_double_then_none():
    assert descriptor_of('large red mug') == Descriptor('large', 'red', 'mug')
    assert descriptor_of('mug') == Descriptor(None, None, 'mug')
    for text in ('', 'red green mug', 'shiny mug', 'red mug mug'):
        assert descriptor_of(text) is None
