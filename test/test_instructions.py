# SPDX-License-Identifier: Apache-2.0
"""The prompt table, and how regions and users' words get into instructions."""

import pytest

from samtok_ros.errors import ConfigError
from samtok_ros.language.instructions import (
    PROMPTS,
    RegionReference,
    filled,
    goal_instruction,
    joined,
    question_instruction,
)

A, B = RegionReference((1, 2)), RegionReference((3, 4))


def test_prompts_of_training_when_counted_then_sixteen_in_two_halves():
    questions = PROMPTS['referring']
    assert len(questions) == len(set(questions)) == 16
    assert [q[:-1] for q in questions[:8]] == list(questions[8:])
    assert all(q.count('{phrase}') == 1 for q in questions)
    assert PROMPTS['goal'][0] == questions[1] == 'Please segment {phrase} in this image.'


@pytest.mark.parametrize(('goal', 'phrase'), [
    ('the red mug', 'the red mug'),
    ('  The red\n mug. ', 'the red mug'),       # tidied as the training data
    ('mug {phrase} {0}', 'mug {phrase} {0}'),   # braces of users are no fields
])
def test_goal_instruction_when_given_words_then_one_published_sentence(goal, phrase):
    assert goal_instruction(goal) == (f'Please segment {phrase} in this image.',)


@pytest.mark.parametrize('goal', ['', ' \n\t', '...'])
def test_goal_instruction_when_without_words_then_config_error(goal):
    with pytest.raises(ConfigError, match='goal is empty'):
        goal_instruction(goal)


def test_goal_instruction_when_badly_decoded_bytes_then_names_the_character():
    goal = b'mug \xff'.decode(errors='surrogateescape')
    with pytest.raises(ConfigError, match='goal is no valid Unicode.*character 4'):
        goal_instruction(goal)


@pytest.mark.parametrize(('question', 'regions', 'expected'), [
    ('What is here?', (), ('What is here?',)),
    ('What colour is it?', (A,), (A, '\nWhat colour is it?')),       # published order
    ('Is it big?', (A, B), (A, B, '\nIs it big?')),
    ('Is <region:2> left of <region:1>?', (A, B), ('Is ', B, ' left of ', A, '?')),
    ('<region:1>', (A,), (A,)),
    ('Is <region:2> <region:2>?', (A, B), (A, '\nIs ', B, ' ', B, '?')),  # the rest goes in front
    ('<region:0> or <region>?', (A,), (A, '\n<region:0> or <region>?')),  # no numbers of regions
])
def test_question_instruction_when_regions_given_then_references_in_place(
    question, regions, expected
):
    assert question_instruction(question, regions) == expected


@pytest.mark.parametrize(('goal', 'regions', 'expected'), [
    ('The mug on <region:1>.', (A,), ('Please segment the mug on ', A, ' in this image.')),
    ('<region:2>', (A, B), (A, '\nPlease segment ', B, ' in this image.')),
    ('mug', (A,), (A, '\nPlease segment mug in this image.')),
])
def test_goal_instruction_when_regions_given_then_references_in_place(goal, regions, expected):
    assert goal_instruction(goal, regions) == expected


def test_goal_instruction_when_region_missing_then_config_error():
    with pytest.raises(ConfigError, match='goal names <region:1>.*up to 0'):
        goal_instruction('the mug on <region:1>')


def test_question_instruction_when_region_missing_then_config_error():
    with pytest.raises(ConfigError, match='<region:2>.*up to 1'):
        question_instruction('Is <region:2> red?', (A,))


def test_question_instruction_when_empty_then_config_error():
    with pytest.raises(ConfigError, match='question is empty'):
        question_instruction('  ', (A,))


def test_filled_when_field_holds_text_then_neighbours_are_one_text():
    assert filled('a {x} b', {'x': ('1', A, '2')}) == ('a 1', A, '2 b')


def test_joined_when_empty_texts_then_dropped():
    assert joined(['', 'a', '', 'b', A, '']) == ('ab', A)
