# SPDX-License-Identifier: Apache-2.0
"""Tasks: their exact published words, and what each refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samtok_ros.errors import ConfigError
from samtok_ros.language.instructions import (
    RegionReference,
    filled,
    goal_instruction,
    named_regions,
    question_instruction,
    thinking,
)
from samtok_ros.language.prompts import PROMPTS
from samtok_ros.language.tasks import (
    TASKS,
    TaskQuestion,
    braced_names,
    lettered,
    quoted_names,
)

A, B, C = (RegionReference(codes) for codes in ((1, 2), (3, 4), (5, 6)))
CANDIDATES = 'CANDIDATE CATEGORIES: \n{man, horse}\nCANDIDATE PREDICATES: \n{riding, on}\n'
PREDICATES = 'CANDIDATE PREDICATES: \n{riding, on}\n'
TRIPLETS = ('Create a scene graph by identifying triplets of <subject, predicate, object>. Focus '
            'on the most prominent interactions.')
SUFFIX = (
    ' A conversation between User and Assistant. The user asks a question, and the Assistant '
    'solves it. The assistant first thinks about the reasoning process in the mind and then '
    'provides the user with the answer. The reasoning process and answer are enclosed within '
    '<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process '
    'here </think><answer> answer here </answer>')

# Question, regions, exactly what the model is told.
ASKED = [
    (TaskQuestion('region_caption'), [A], ('Given a detailed description of this region ', A, '.')),
    (TaskQuestion('relation'), [A, B],
     ('Describe the relationship between ', A, ' and ', B, '.')),
    (TaskQuestion('multiple_choice', 'What is <region:1> made of?', ('wood', 'glass')), [A],
     ('Question: What is ', A, " made of?\nOptions:\nA. wood\nB. glass\nAnswer with the correct "
      "option's letter directly.")),
    (TaskQuestion('multiple_choice', 'Which is larger?', ('first', 'second')), [A, B],
     (A, B, "\nQuestion: Which is larger?\nOptions:\nA. first\nB. second\nAnswer with the correct "
      "option's letter directly.")),
    (TaskQuestion('multiple_choice', 'Where is the mug?', ('<region:2>', '<region:1>')), [A, B],
     ('Question: Where is the mug?\nOptions:\nA. ', B, '\nB. ', A, '\nAnswer with the correct '
      "option's letter directly.")),
    (TaskQuestion('categories', items=('cat', 'dog')), [],
     ('Please carefully check the image and detect the following objects: ["cat", "dog"].',)),
    (TaskQuestion('brief_caption'), [],
     ('Could you please give me a brief description of the image? Please respond with interleaved '
      'segmentation masks for the corresponding parts of the answer.',)),
    (TaskQuestion('detailed_caption'), [],
     ('Could you please give me a detail description of the image? Please respond with interleaved '
      'segmentation masks for the corresponding parts of the answer.',)),
    (TaskQuestion('scene_graph'), [],
     ('Generate a scene graph for this image. Identify the main objects and describe their '
      'relationships to each other.',)),
    (TaskQuestion('scene_graph', items=('man', 'horse'), predicates=('riding', 'on')), [],
     (CANDIDATES + TRIPLETS,)),
    (TaskQuestion('scene_graph', predicates=('riding', 'on')), [], (PREDICATES + TRIPLETS,)),
    (TaskQuestion('scene_graph', items=('man', 'horse'), predicates=('riding', 'on')), [A, B],
     (CANDIDATES + 'Given masks: ', A, ', ', B, '\n' + TRIPLETS)),
    (TaskQuestion('', 'What is <region:1>?'), [A], ('What is ', A, '?')),
]


@pytest.mark.parametrize(('question', 'regions', 'told'), ASKED)
def test_instruction_when_task_of_table_then_exactly_the_published_words(question, regions, told):
    assert question.instruction(regions) == told


def test_tasks_when_named_then_every_one_is_in_the_table_above():
    assert {question.task for question, _, _ in ASKED} - {''} == set(TASKS)


@pytest.mark.parametrize(('key', 'place', 'text'), [
    ('goal', 0, 'Please segment {phrase} in this image.'),
    ('sentence_goal', 0, 'Please carefully check the image and detect the object this sentence '
     'describes: {phrase}'),
    ('reasoning_goal', 0, '{phrase} Please output segmentation mask.'),
    ('measured_caption', 0, 'Could you please give me a brief description of the image? Please '
     'respond with interleaved     segmentation masks for the corresponding parts of the answer.'),
    ('thinking_caption', 0, 'Could you please give me a brief description of the image? Please '
     'respond with interleaved     segmentation masks for the corresponding parts of the answer '
     f'and highlight the phrases.{SUFFIX}'),
    ('thinking', 0, SUFFIX),
    ('zoom', 0, ' Zoom in with the perspective as {picture}, {zoomed}.'),
    ('interaction', 0,
     'What is the interaction between the object {region} and its surroundings?'),
    ('caption_and_relation', 0, '1. Describe {first} in detail 2. Describe the relationship '
     'between {first} and {second}.'),
    ('category_masks', 0,
     'Segment every instance that belongs to the following categories: {names}'),
    ('category_masks', 1, 'Locate every instance that belongs to the following categories: '
     '{names}. Report segmentation masks in JSON format.'),
    ('unmarked_caption', 5, 'Could you provide me with a analysis of this photo? Please output '
     'with interleaved segmentation masks for the corresponding parts of the answer. Do not use '
     '"<|object_ref_start|>...<|object_ref_end|>" tags.'),
    ('scene_graph_first_round', 0,
     'Please carefully check the image and detect the following objects: {names}'),
    ('region_caption', 8, '{region}\nWhat are the details of the masked area?'),
    ('described_goal', 1, 'Find "{phrase}" in the image and output the pixel mask.'),
    ('narrative', 0, 'Do panoptic narrative grounding for this image.'),
])
def test_prompt_when_of_the_published_table_then_every_letter_and_blank(key, place, text):
    assert PROMPTS[key][place] == text


def test_prompts_when_counted_then_as_many_as_published():
    counts = {'referring': 16, 'region_caption': 9, 'brief_caption': 6, 'detailed_caption': 6,
              'unmarked_caption': 6, 'described_goal': 8, 'scene_graph': 6, 'narrative': 2,
              'category_masks': 2}
    assert {key: len(set(PROMPTS[key])) for key in counts} == counts


REFUSED = [
    (TaskQuestion('poem'), 0, 'unknown task: expected region_caption, relation'),
    (TaskQuestion('region_caption'), 2, 'does not take 2 regions: expected 1, got 2'),
    (TaskQuestion('relation'), 1, 'does not take 1 regions: expected 2, got 1'),
    (TaskQuestion('relation', 'why?'), 2, "takes no text: got 'why?'"),
    (TaskQuestion('multiple_choice', items=('a', 'b')), 0, 'needs text'),
    (TaskQuestion('multiple_choice', 'q', ('a',)), 0, 'does not take 1 items: expected 2 to 26'),
    (TaskQuestion('multiple_choice', 'q', ('a',) * 27), 0, 'does not take 27 items'),
    (TaskQuestion('multiple_choice', 'q <region:2>', ('a', 'b')), 1, 'question names <region:2>'),
    (TaskQuestion('categories'), 0, 'does not take 0 items'),
    (TaskQuestion('categories', items=('a',)), 1, 'expected none, got 1'),
    (TaskQuestion('categories', items=('a', ' ')), 0, 'an item or predicate is empty'),
    (TaskQuestion('categories', items=('a\nb',)), 0, 'line break or control character'),
    (TaskQuestion('categories', items=('a',), predicates=('on',)), 0, 'takes no predicates'),
    (TaskQuestion('brief_caption', items=('a',)), 0, 'expected none, got 1'),
    (TaskQuestion('scene_graph', items=('a',)), 0, 'no scene graph prompt has such a mix'),
    (TaskQuestion('scene_graph'), 1, 'no scene graph prompt has such a mix'),
    (TaskQuestion('scene_graph', items=('a, b',), predicates=('on',)), 0, 'a comma or a brace'),
    (TaskQuestion('', 'What?', ('a',)), 0, 'a question without a task takes no items'),
    (TaskQuestion(''), 0, 'question is empty'),
]


@pytest.mark.parametrize(('question', 'count', 'text'), REFUSED)
def test_instruction_when_the_task_does_not_take_it_then_an_error_says_what(question, count, text):
    with pytest.raises(ConfigError) as caught:
        question.instruction([A, B, C][:count])
    assert text in str(caught.value)


def test_items_when_written_then_in_the_published_layouts():
    assert quoted_names(['a "b"', 'ü']) == '["a \\"b\\"", "ü"]'
    assert braced_names(['person', 'wall-brick']) == '{person, wall-brick}'
    assert lettered(['red', 'blue']) == 'A. red\nB. blue'


def test_items_when_they_hold_braces_then_they_mean_nothing():
    question = TaskQuestion('multiple_choice', 'Is it {question}?', ('{choices}', 'b'))
    assert question.instruction() == (
        "Question: Is it {question}?\nOptions:\nA. {choices}\nB. b\nAnswer with the "
        "correct option's letter directly.",)


def test_thinking_when_added_then_the_published_suffix_behind_the_question():
    assert thinking(goal_instruction('the mug')) == (
        f'Please segment the mug in this image.{SUFFIX}',)
    assert thinking(question_instruction('What is <region:1>', [A])) == ('What is ', A, SUFFIX)
    assert thinking(TaskQuestion('brief_caption').instruction()) == PROMPTS['thinking_caption']


@pytest.mark.parametrize(('text', 'expected'), [
    (('left of <region:2>',), (('left of <region:1>',), ('b',))),
    (('<region:3> or <region:1> or <region:3>',), (('<region:2> or <region:1> or <region:2>',),
                                                   ('a', 'c'))),
    (('a mug',), (('a mug',), ())),
    (('<region:4>',), (('<region:4>',), ('a', 'b', 'c'))),
    (('between <Region:3> and <region:2>',), (('between <region:2> and <region:1>',), ('b', 'c'))),
    (('left of <region:2>', '<region:1>', 'none'),
     (('left of <region:2>', '<region:1>', 'none'), ('a', 'b'))),
    (('red?', '<region:3>', '<region:2>'), (('red?', '<region:2>', '<region:1>'), ('b', 'c'))),
])
def test_named_regions_when_texts_of_table_then_those_alone(text, expected):
    assert named_regions(text, ('a', 'b', 'c')) == expected


@given(st.sampled_from([*TASKS, '']), st.text(max_size=12),
       st.lists(st.text(max_size=6), max_size=4),
       st.lists(st.text(max_size=6), max_size=3), st.integers(0, 3))
def test_instruction_when_anything_is_asked_then_told_whole_or_refused(
        task, text, items, predicates, count):
    regions = [A, B, C][:count]
    question = TaskQuestion(task, text, tuple(items), tuple(predicates))
    try:
        told = question.instruction(regions)
    except ConfigError:
        return
    assert [part for part in told if isinstance(part, RegionReference)].count(A) == (count > 0)
    said = ''.join(part for part in told if isinstance(part, str))
    assert all(name.strip() in said for name in predicates)


def test_filled_when_blanks_run_in_a_question_then_they_stay():
    text = 'with interleaved     masks'
    assert question_instruction(text) == (text,)
    assert filled('{question}', {'question': (text,)}) == (text,)
