# SPDX-License-Identifier: Apache-2.0
"""What an answer says: its part outside the thinking, spans with labels, mask lists."""
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from samtok_ros.errors import SpanError
from samtok_ros.words.answers import (
    NO_TARGET,
    MaskItem,
    answer_part,
    format_mask_list,
    is_no_target,
    parse_mask_list,
    read_answer,
)
from samtok_ros.words.span_parser import Reason
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()
A, B = VOCABULARY.codes_to_words((230, 89)), VOCABULARY.codes_to_words((0, 255))
CUT = A.removesuffix('<|mt_end|>')
REF, END_REF = '<|object_ref_start|>', '<|object_ref_end|>'

# Raw text -> labels of its spans; '?' is the default label.
LABELS = [
    (f'```json\n[{{"mask_2d": "{A}", "label": "mug"}}]\n```', ['mug'], 'published layout'),
    (f'```json\n[{{"mask_2d": {A}, "label": "mug"}}]\n```', ['mug'], 'span without quotes'),
    (f'[{{"mask_2d": "{A}", "label": "a"}},\n{{"mask_2d": {B}, "label": "b"}}]', ['a', 'b'],
     'quoted and unquoted, no fence'),
    (f'[{{"label": "a", "mask_2d": "{A}"}}, {{"label": "b", "mask_2d": {B}}}]', ['a', 'b'],
     'label before the span'),
    (f'[{{"mask_2d": "{A}", "label": "the \\"big\\" m\\u00fcg"}}]', ['the "big" müg'],
     'escapes of JSON'),
    (f'[{{"mask_2d": "{A}", "label": "a \\q b"}}]', ['a \\q b'], 'an escape JSON does not know'),
    (f'[{{"mask_2d": "{A}", "label": "a\\ud800"}}]', ['a?'], 'half a surrogate pair'),
    (f'[{{"mask_2d": "{A}"}}, {{"mask_2d": "{B}", "label": "b"}}]', ['?', 'b'],
     'an item without a label does not take the next one'),
    (f'[{{"mask_2d": "{A}", "label": "a"}}, {{"mask_2d": "{B}"}}]', ['a', '?'],
     'nor the one before'),
    (f'[{{"mask_2d": "{A}" "label": "a"}} {{"mask_2d": "{B}", "label": "b"}}', ['a', 'b'],
     'commas and bracket missing'),
    (f'[{{"mask_2d": "{A}", "label": "a"}}, {{"mask_2d": "{B}", "label": "b', ['a', 'b'],
     'cut short inside a label'),
    (f'[{{"mask_2d": "{A}", "label": "a"}}, {{"mask_2d": "{B}', ['a', '?'],
     'cut short before a label'),
    (f'[{{"mask_2d": "{A}", "label": ""}}]', [''], 'an empty label is a label'),
    (f'[{{"subject": {{"mask_2d": "{A}", "label": "man"}}, "predicate": "riding", '
     f'"object": {{"mask_2d": "{B}", "label": "horse"}}}}]', ['man', 'horse'], 'scene graph'),
    (f'{REF} A man {END_REF} {A} rides {REF}a horse{END_REF}{B}.', ['A man', 'a horse'],
     'phrases of a caption, blanks or none'),
    (f'{REF} Two dogs {END_REF} {A} {B} bark.', ['Two dogs'] * 2, 'one phrase, two spans'),
    (f'{REF} A man {END_REF} {A} and {B}.', ['A man', '?'], 'the second span has no phrase'),
    (f'{REF} A man {REF} a dog {END_REF} {A}', ['a dog'], 'start mark twice: the nearer one'),
    (f'{REF} A man {END_REF} is near {A}', ['?'], 'words between phrase and span'),
    (f'{REF} A man {A}', ['?'], 'phrase not closed'),
    *((sentence.format(A), ['?'], f'sentence {sentence}') for sentence in (
        'It is {}.', 'Sure, {}.', 'Sure, it is {}.', 'Sure, the segmentation result is {}.',
        '{}.')),
    (f'{A}{B}', ['?', '?'], 'bare spans'),
    (f'```json\n[{{"mask_2d": {A}, "label": "one of the left dogs"}},\n'
     f'{{"mask_2d": {B}, "label": "one of the left dogs"}}]\n```', ['one of the left dogs'] * 2,
     'as the released converters write it'),
    (f'<think>\n\n</think>\n\n```json\n[{{"mask_2d": "{A}", "label": "mug"}}]\n```<|im_end|>',
     ['mug'], 'mask list of the general models, raw'),
    (f'<think> It is the nearer one. </think><answer> ```json\n[{{"mask_2d": "{A}", '
     '"label": "one of the mugs"}]\n``` </answer><|im_end|>', ['one of the mugs'],
     'mask list of a model that thinks, raw'),
    (f'<think> Two things. </think><answer> {REF} A man {END_REF} {A} on {REF} a horse {END_REF} '
     f'{B} . </answer><|im_end|>', ['A man', 'a horse'], 'caption of a model that thinks, raw'),
]


@pytest.mark.parametrize(('text', 'labels', 'why'), LABELS, ids=[row[2] for row in LABELS])
def test_read_answer_when_text_of_table_then_each_span_has_its_label(text, labels, why):
    found = read_answer(text, VOCABULARY, default_label='?')
    assert [item.label for item in found.spans] == labels
    assert [text[i.span.start:i.span.end] for i in found.spans] == [A, B][:len(labels)]
    assert found.malformed == ()


PARTS = [
    (' plain \n', 'plain', 'no wrapping'),
    ('<think>\n\n</think>\n\nplain', 'plain', 'empty thinking of the general models'),
    ('<think>why</think><answer>plain</answer>', 'plain', 'both'),
    ('<think> why </think>\n<answer> plain </answer><|im_end|>', 'plain', 'blanks and end of turn'),
    ('<think>why</think><answer>plain', 'plain', 'closing tag missing: all that follows'),
    ('<think>why</think> plain', 'plain', 'no answer tag: what follows the thinking'),
    ('<think>why<answer>plain</answer>', 'plain', 'thinking never closed'),
    ('<answer>plain</answer> thanks', 'plain', 'answer tags alone'),
    ('<think>an <answer>x</answer> here</think><answer>plain</answer>', 'plain',
     'tags named in the thinking'),
    ('<think>closed with </think>, or so</think>plain', 'plain',
     'closing tag named in the thinking'),
    ('<think>still at it', '', 'thinking not finished'),
    ('plain<|im_end|>\n<|endoftext|>', 'plain', 'several end marks'),
    ('plain<|eot_id|><|end_of_text|>', 'plain', 'end marks of PerceptionLM'),
    ('', '', 'nothing'),
]


@pytest.mark.parametrize(('text', 'part', 'why'), PARTS, ids=[row[2] for row in PARTS])
def test_answer_part_when_text_of_table_then_only_the_answer(text, part, why):
    assert answer_part(text) == part


@pytest.mark.parametrize(('text', 'expected'), [
    ('No target.', True),
    ('<think>none is red</think><answer> No target. </answer><|im_end|>', True),
    ('No target', False),
    ('no target.', False),
    (f'No target. {A}', False),
    ('', False),
])
def test_is_no_target_when_answer_of_table_then_only_the_exact_one(text, expected):
    assert is_no_target(text) is expected


def test_read_answer_when_spans_are_in_the_thinking_then_left_out():
    text = f'<think>{A} or {CUT}?</think><answer>It is {B}, {CUT}</answer>'
    found = read_answer(text, VOCABULARY)
    assert found.text == f'It is {B}, {CUT}'
    assert [i.span.start for i in found.spans] == [text.index(B)]
    assert [(m.reason, m.position) for m in found.malformed] == [
        (Reason.UNCLOSED, text.rindex(CUT))]


def test_read_answer_when_one_item_is_damaged_then_the_others_keep_their_labels():
    text = (f'```json\n[{{"mask_2d": "{A}", "label": "a"}},\n{{"mask_2d": "{CUT}", "label": "x"}},'
            f'\n{{"mask_2d": "{B}", "label": "b"}}]\n```')
    found = read_answer(text, VOCABULARY)
    assert [i.label for i in found.spans] == ['a', 'b']
    assert [(m.reason, m.text) for m in found.malformed] == [(Reason.TEXT_INSIDE, CUT)]


def test_format_mask_list_when_two_items_then_the_published_layout():
    text = format_mask_list([MaskItem((230, 89), 'front black chair'), MaskItem((0, 255), 'é "q"')])
    assert text == (
        '```json\n'
        '[{"mask_2d": "<|mt_start|><|mt_0230|><|mt_0345|><|mt_end|>", '
        '"label": "front black chair"},\n'
        '{"mask_2d": "<|mt_start|><|mt_0000|><|mt_0511|><|mt_end|>", "label": "é \\"q\\""}]\n'
        '```')


@pytest.mark.parametrize(('items', 'text'), [
    ([], "a mask list needs items. Answer 'No target.' where none fits."),
    ([MaskItem((1, 2), f'a {A}')], 'a label holds mask words or answer tags: got'),
    ([MaskItem((1, 2), '</think>')], 'a label holds mask words or answer tags: got'),
    ([MaskItem((1, 256), 'a')], 'code is outside the vocabulary'),
])
def test_format_mask_list_when_it_could_not_be_read_back_then_refused(items, text):
    with pytest.raises(SpanError) as caught:
        format_mask_list(items)
    assert str(caught.value).startswith(text)


def test_parse_mask_list_when_no_target_then_empty():
    assert parse_mask_list(NO_TARGET) == ()


LABEL = st.text(st.characters(exclude_categories=['Cs']), max_size=20)
JSON_NOISE = LABEL | st.sampled_from(['"', '\\', '}', '", "label": "', '"mask_2d": "', REF,
                                      END_REF])
ITEMS = st.lists(st.builds(MaskItem, st.tuples(st.integers(0, 255), st.integers(0, 255)),
                           st.lists(JSON_NOISE, max_size=3).map(''.join)), min_size=1, max_size=4)


@settings(deadline=None)
@given(ITEMS, st.sampled_from(['', '<think>\n\n</think>\n\n']))
def test_mask_list_when_there_and_back_then_unchanged(items, thinking):
    assume(not any('<|mt_' in item.label or 'think>' in item.label for item in items))
    assert parse_mask_list(thinking + format_mask_list(items)) == tuple(items)


@settings(deadline=None)
@given(st.lists(st.sampled_from([A, B, CUT, REF, END_REF, '"label": "', '"', '\\', '}', '<think>',
                                 '</think>', '<answer>', '</answer>', ' ', '\n', 'mug', ',']),
                max_size=14).map(''.join))
def test_read_answer_when_any_text_then_no_error_and_offsets_fit(text):
    found = read_answer(text, VOCABULARY)
    for item in found.spans:
        assert text[item.span.start:item.span.end] in (A, B)
        item.label.encode()  # no message could carry it otherwise
    for damaged in found.malformed:
        assert text.startswith(damaged.text, damaged.position)
