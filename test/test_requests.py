# SPDX-License-Identifier: Apache-2.0
"""Requests: what is refused before the model sees it."""

import pytest

from samtok_ros.errors import ConfigError, SpanError
from samtok_ros.language.instructions import RegionReference
from samtok_ros.regions import BoxPrompt
from samtok_ros.runtime.references import CodesReference, IdReference
from samtok_ros.runtime.requests import (
    Request,
    Task,
    check_request,
    instruction_of,
    limits_of,
    need_drawing,
)
from samtok_ros.settings.grounding import LimitSettings
from samtok_ros.words.vocabulary import MaskVocabulary


def check(task=Task.GROUND, text='the red mug', references=(), tokenizer_id=''):
    check_request(Request(task, text, 0, references, tokenizer_id), 'ours@1', MaskVocabulary())


def test_request_when_it_makes_sense_then_it_passes():
    check()
    check(tokenizer_id='ours@1')
    check(Task.ASK, 'What is left of <region:2>?', (IdReference(9), CodesReference((1, 255))))
    check(Task.ASK, 'What is it?', (BoxPrompt(0, 0, 4, 4),))


@pytest.mark.parametrize('fields, kind, text', [
    ({'text': ' . '}, ConfigError, 'goal is empty'),
    ({'task': Task.ASK, 'text': '  '}, ConfigError, 'question is empty'),
    ({'tokenizer_id': 'theirs@2'}, ConfigError, "another mask tokenizer: expected 'ours@1', got "
                                                "'theirs@2'"),
    ({'text': 'left of <region:1>'}, ConfigError, 'goal names <region:1>'),
    ({'references': (CodesReference((1, 256)),)}, SpanError, 'region 1: code is outside'),
    ({'references': (IdReference(1), CodesReference((1,)))}, SpanError, 'region 2: '),
])
def test_request_when_it_makes_no_sense_then_the_reason_is_said(fields, kind, text):
    with pytest.raises(kind) as caught:
        check(**fields)
    assert text in str(caught.value)


def test_limits_when_zero_then_they_are_the_defaults_and_else_those_asked_for():
    defaults = LimitSettings(100, 10, 7.0)
    assert limits_of(Request(Task.GROUND, 'x'), defaults) == defaults
    asked = Request(Task.GROUND, 'x', max_new_tokens=3, max_masks=2, time_limit_s=0.5)
    assert limits_of(asked, defaults) == LimitSettings(3, 2, 0.5)


@pytest.mark.parametrize('fields, text', [
    ({'max_new_tokens': 8193}, 'max_new_tokens is out of range: expected 1 to 8192, got 8193'),
    ({'max_masks': 65}, 'max_masks is out of range: expected 1 to 64, got 65'),
    ({'time_limit_s': -1.0}, 'time_limit_s is out of range: expected 0.1 to 3600.0, got -1.0'),
    ({'time_limit_s': float('nan')}, 'time_limit_s is out of range'),
])
def test_limits_when_out_of_range_then_the_field_of_the_request_is_named(fields, text):
    with pytest.raises(ConfigError) as caught:
        limits_of(Request(Task.GROUND, 'x', **fields), LimitSettings())
    assert text in str(caught.value)


def test_instruction_when_regions_are_given_then_only_they_become_references():
    request = Request(Task.ASK, 'Is <region:1> on <|mt_start|><|mt_0001|>?',
                      references=(IdReference(1), IdReference(2)))
    parts = instruction_of(request, [(1, 2), (3, 4)])
    assert [p for p in parts if isinstance(p, RegionReference)] == [
        RegionReference((3, 4)), RegionReference((1, 2))]
    assert any('<|mt_0001|>' in p for p in parts if isinstance(p, str))


def test_references_when_listed_then_those_are_named_that_must_be_drawn():
    assert need_drawing((IdReference(1), BoxPrompt(0, 0, 1, 1), CodesReference((1, 2)))) == (1,)


@pytest.mark.parametrize('fields, text', [
    ({'trained_task': 'poem'}, "unknown task: expected region_caption, relation, multiple_choice, "
     "categories, brief_caption, detailed_caption, scene_graph, got 'poem'"),
    ({'text': 'What is it?', 'items': ('a',)}, "a question without a task takes no items: got "
                                               "['a']"),
    ({'trained_task': 'region_caption'}, 'does not take 0 regions: expected 1'),
    ({'trained_task': 'brief_caption', 'text': 'hi'}, 'task brief_caption takes no text'),
    ({'trained_task': 'multiple_choice', 'items': ('a', 'b')}, 'needs text'),
    ({'trained_task': 'multiple_choice', 'text': 'Is <region:1> red?', 'items': ('a', 'b')},
     'question names <region:1>'),
    ({'trained_task': 'categories', 'items': ('a\nb',)}, 'line break'),
    ({'trained_task': 'scene_graph', 'items': ('man',)}, 'give predicates too'.capitalize()),
])
def test_request_when_its_task_does_not_take_it_then_the_reason_is_said(fields, text):
    request = Request(Task.ASK, **{'text': '', **fields})
    with pytest.raises(ConfigError) as caught:
        check_request(request, 'ours@1', MaskVocabulary())
    assert text in str(caught.value)


def test_instruction_when_a_task_is_named_then_its_trained_words():
    request = Request(Task.ASK, '', references=(IdReference(1), IdReference(2)),
                      trained_task='relation')
    assert instruction_of(request, [(1, 2), (3, 4)]) == (
        'Describe the relationship between ', RegionReference((1, 2)), ' and ',
        RegionReference((3, 4)), '.')
