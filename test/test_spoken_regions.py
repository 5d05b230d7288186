# SPDX-License-Identifier: Apache-2.0
"""Answers and span scores become regions."""

from samtok_ros.language.generation import Finished, SpanClosed
from samtok_ros.language.spoken_regions import SPELLED_OUT, spoken_answer
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()
ONE, TWO = VOCABULARY.codes_to_words((1, 2)), VOCABULARY.codes_to_words((3, 4))


def answer_of(text, spans, reason='stop', label=''):
    return spoken_answer(Finished(text, reason, 1), spans, VOCABULARY, label)


def test_answer_when_mask_list_then_labels_and_scores_in_order():
    text = (f'```json\n[{{"mask_2d": "{ONE}", "label": "the red mug"}},\n'
            f'{{"mask_2d": "{TWO}", "label": "the ball"}}]\n```')
    spans = [SpanClosed((1, 2), 0.5, text.index(ONE)), SpanClosed((3, 4), 0.25, text.index(TWO))]
    answer = answer_of(text, spans)
    assert [(r.region_id, r.codes, r.label, r.score) for r in answer.regions] == [
        (1, (1, 2), 'the red mug', 0.5), (2, (3, 4), 'the ball', 0.25)]
    assert (answer.text, answer.malformed, answer.finish_reason) == (text, (), 'stop')


def test_answer_when_cut_short_then_label_of_the_goal_and_what_is_there():
    text = f'```json\n[{{"mask_2d": "{ONE}'
    answer = answer_of(text, [SpanClosed((1, 2), 0.5, text.index(ONE))], 'cancelled', 'the mug')
    assert [(r.codes, r.label) for r in answer.regions] == [((1, 2), 'the mug')]
    assert answer.finish_reason == 'cancelled'


def test_answer_when_span_is_open_then_malformed():
    answer = answer_of('It is <|mt_start|><|mt_0001|>', [], 'length')
    assert answer.regions == ()
    assert [m.position for m in answer.malformed] == [6]


def test_answer_when_span_is_only_spelled_then_reported_and_no_region():
    text = f'You wrote {ONE}, it is {TWO}.'
    answer = answer_of(text, [SpanClosed((3, 4), 0.5, text.index(TWO))])
    assert [(r.region_id, r.codes) for r in answer.regions] == [(1, (3, 4))]
    assert [(m.reason, m.position, m.text) for m in answer.malformed] == [(SPELLED_OUT, 10, ONE)]
