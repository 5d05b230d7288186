# SPDX-License-Identifier: Apache-2.0
"""Answers as records: every form, whole and damaged; no text ever raises or hangs."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtok_ros.words.answer_record import AnswerRecord, Phrase, Relation
from samtok_ros.words.answers import MaskItem, answer_part, format_mask_list, read_answer
from samtok_ros.words.record_reader import read_record
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()
A, B, C = (VOCABULARY.codes_to_words(codes) for codes in ((1, 2), (3, 4), (5, 6)))
CUT = '<|mt_start|><|mt_0001|><|mt_end|>'
REF, END = '<|object_ref_start|>', '<|object_ref_end|>'
TRIPLET = (f'{{"subject": {{"mask_2d": "{A}", "label": "person"}}, "predicate": "riding", '
           f'"object": {{"mask_2d": {B}, "label": "horse"}}}}')
RIDING = Relation('person', 1, 'riding', 'horse', 2)
PERSON_HORSE = (Phrase('person', 0, 6, (1,)), Phrase('horse', 14, 19, (2,)))

# Raw text, record, reason.
RECORDS = [
    ('It is red.', AnswerRecord('It is red.'), 'plain text'),
    ('- one\n- two\n\n    three', AnswerRecord('- one\n- two\n\n    three'), 'lines stay'),
    ('No target.', AnswerRecord('No target.'), 'nothing fits'),
    ('', AnswerRecord(), 'nothing said'),
    (f'It is {A}.', AnswerRecord('It is region 1.', phrases=(Phrase('region 1', 6, 14, (1,)),)),
     'a sentence'),
    (f'{A}{B}', AnswerRecord('region 1 region 2', phrases=(
        Phrase('region 1', 0, 8, (1,)), Phrase('region 2', 9, 17, (2,)))), 'bare spans'),
    (f'```json\n[{{"mask_2d": "{A}", "label": "red mug"}},\n{{"mask_2d": {B}, "label": "bowl"}}]'
     '\n```', AnswerRecord('red mug, bowl', phrases=(
         Phrase('red mug', 0, 7, (1,)), Phrase('bowl', 9, 13, (2,)))), 'quoted and unquoted'),
    (f'```json\n[{{"mask_2d": "{A}", "label": "dog"}},\n{{"mask_2d": "{B}", "label": "cat"}},\n'
     f'{{"mask_2d": "{C}", "label": "dog"}}]\n```', AnswerRecord('dog, cat', phrases=(
         Phrase('dog', 0, 3, (1, 3)), Phrase('cat', 5, 8, (2,)))), 'equal labels are one phrase'),
    (f'Here: [{{"mask_2d": "{A}", "label": "a"}}] and no more.', AnswerRecord(
        'Here: a and no more.', phrases=(Phrase('a', 6, 7, (1,)),)), 'prose around a list'),
    (f'```json\n[{{"mask_2d": "{A}", "label": "mug"}},\n{{"mask_2d": "{B}", "la', AnswerRecord(
        'mug, region 2', phrases=(Phrase('mug', 0, 3, (1,)), Phrase('region 2', 5, 13, (2,))),
        unparsed=(f'{{"mask_2d": "{B}", "la',)), 'list cut short: its region counts'),
    (f'```json\n[{{"label": "mug"}}, {{"mask_2d": "{A}", "label": "bowl"}}]\n```', AnswerRecord(
        'bowl', phrases=(Phrase('bowl', 0, 4, (1,)),), unparsed=('{"label": "mug"}',)),
     'an item without a mask'),
    ('```json\n[{"mask_2d": "none", "label": "mug"}]\n```', AnswerRecord(
        '```json\n[{"mask_2d": "none", "label": "mug"}]\n```',
        unparsed=('```json\n[{"mask_2d": "none", "label": "mug"}]\n```',)), 'a list of no masks'),
    ('[{"colour": "red"}]', AnswerRecord('[{"colour": "red"}]'), 'JSON that is none of ours'),
    (f'```json\n[{{"mask_2d": "{CUT}", "label": "mug"}}, {{"mask_2d": "{A}", "label": "a"}}]\n```',
     AnswerRecord('a', phrases=(Phrase('a', 0, 1, (1,)),), unparsed=(CUT,)), 'a damaged span'),
    (f'The picture shows {REF} a mug {END} {A}, {REF} two bowls {END} {B} {C} and '
     f'{REF}a cone{END}.',
     AnswerRecord('The picture shows a mug, two bowls and a cone.', phrases=(
         Phrase('a mug', 18, 23, (1,)), Phrase('two bowls', 25, 34, (2, 3)),
         Phrase('a cone', 39, 45))), 'caption with phrases, one without a mask'),
    (f'{REF} A man {END} {A}rides{REF}a horse{END}{B} .', AnswerRecord(
        'A man rides a horse.', phrases=(Phrase('A man', 0, 5, (1,)),
                                         Phrase('a horse', 12, 19, (2,)))),
     'blanks are put where markup held words apart'),
    (f'{REF} A {REF} dog {END} {A} {END} barks', AnswerRecord(
        'A dog barks', phrases=(Phrase('dog', 2, 5, (1,)),)), 'marks that do not pair'),
    (f'a {CUT} b {A}', AnswerRecord('a b region 1', phrases=(Phrase('region 1', 4, 12, (1,)),),
                                    unparsed=(CUT,)), 'damaged span in prose'),
    (f'```json\n[{TRIPLET}]\n```', AnswerRecord(
        'person riding horse', phrases=PERSON_HORSE, relations=(RIDING,)), 'scene graph'),
    (f'```json\n[{TRIPLET},\n{{"subject": {{"mask_2d": "{C}", "label": "dog"}}, "predic',
     AnswerRecord('person riding horse; dog',
                  phrases=(*PERSON_HORSE, Phrase('dog', 21, 24, (3,))), relations=(RIDING,),
                  unparsed=(f'{{"subject": {{"mask_2d": "{C}", "label": "dog"}}, "predic',)),
     'scene graph cut short'),
    *((f'[{{"subject": {{"mask_2d": "{A}", "label": "person"}}, "predicate": "on", "object": '
       f'{{"mask_2d": "{chr(92)}u003c|mt_{number}", "label": "horse"}}}}]', AnswerRecord(
           'person on horse', phrases=(Phrase('person', 0, 6, (1,)), Phrase('horse', 10, 15)),
           relations=(Relation('person', 1, 'on', 'horse', 0),)), 'forged number of a region')
      for number in ('7', '9' * 5000)),
    (f'[{{"subject": {{"mask_2d": "{CUT}", "label": "man"}}, "predicate": "on", "object": "sand"}},'
     f' 7, {TRIPLET}]', AnswerRecord(
         'man on sand; person riding horse',
         phrases=(Phrase('man', 0, 3), Phrase('sand', 7, 11), Phrase('person', 13, 19, (1,)),
                  Phrase('horse', 27, 32, (2,))),
         relations=(Relation('man', 0, 'on', 'sand', 0), RIDING), unparsed=(CUT, '7')),
     'ends without a mask, and something that is no triplet'),
    (f'<think> It is {A}. </think><answer> {REF} A mug {END} {B}. </answer><|im_end|>',
     AnswerRecord('A mug.', f'It is {A}.', (Phrase('A mug', 0, 5, (1,)),)),
     'thinking is kept apart'),
    (f'{REF} A mug {A} {END} here', AnswerRecord(
        'A mug region 1 here', phrases=(Phrase('region 1', 6, 14, (1,)),)), 'a mask in a phrase'),
    ('<think>\n\n</think>\n\nred', AnswerRecord('red'), 'empty thinking'),
    ('<think>still at it', AnswerRecord('', 'still at it'), 'thinking not finished'),
]


@pytest.mark.parametrize(('text', 'record', 'why'), RECORDS, ids=[row[2] for row in RECORDS])
def test_read_record_when_answer_of_table_then_its_record(text, record, why):
    assert read_record(text, VOCABULARY) == record


@pytest.mark.parametrize(('text', 'choice'), [
    ('B', 'B'), ('B.', 'B'), ('b', 'B'), ('(B)', 'B'), ('B. red', 'B'), ('(B) red', 'B'),
    ('<think>\n\n</think>\n\nB.<|im_end|>', 'B'), ('<think>A?</think><answer>B</answer>', 'B'),
    ('D', ''), ('A red mug', ''), ('The answer is B', ''), ('BB', ''), ('', '')])
def test_read_record_when_a_choice_of_three_is_asked_for_then_its_letter_or_unparsed(text, choice):
    record = read_record(text, VOCABULARY, choice_count=3)
    assert record.choice == choice
    assert record.unparsed == (() if choice or not text else (answer_part(text),))


def test_read_record_when_nobody_asked_to_choose_then_a_letter_is_text():
    assert read_record('B.', VOCABULARY) == AnswerRecord('B.')


def test_read_record_when_goal_is_known_then_spans_without_phrase_are_called_by_it():
    record = read_record(f'It is {A}.', VOCABULARY, default_label='the mug')
    assert record.text == 'It is the mug.'
    assert record.phrases == (Phrase('the mug', 6, 13, (1,)),)


def test_read_record_when_a_span_is_spelled_by_letters_then_it_is_no_region():
    text = f'{A} and {B}'
    record = read_record(text, VOCABULARY, not_regions={0})
    assert record == AnswerRecord('and region 1', phrases=(Phrase('region 1', 4, 12, (1,)),),
                                  unparsed=(A,))


PIECES = st.sampled_from([
    A, B, CUT, REF, END, '```json\n', '```', '[', ']', '{', '}', '{"mask_2d": ', '"label": "a"',
    '"', ',', ':', '"subject": ', '"predicate": "on"', '"object": ', TRIPLET, '<think>', '</think>',
    '<answer>', '</answer>', '<|im_end|>', '<|mt_', '<|mt_end|>', '<|mt_0400|>', '\\', '\\ud800',
    '"label": "\\u003c|mt_start|>\\u003c|mt_0001|>\\u003c|mt_0300|>\\u003c|mt_end|>"',
    '"label": "<|mt_0001|> a"', '<', '<|', '<|m', 'mt_', 't_0001|>', '<|mt', '_',
    ' ', '\n', 'a mug', '\ud800', 'No target.', '1', '<|mt_1~~', '\\u003c|mt_1|>'])
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map(''.join))


@settings(max_examples=400, deadline=None)
@given(TEXTS, st.integers(0, 4), st.sampled_from(['', 'mug', A, 'a <|mt_ b']))
def test_read_record_when_any_text_then_its_regions_are_those_of_the_span_parser(
        text, choices, default):
    record = read_record(text, VOCABULARY, choice_count=choices, default_label=default)
    spans = SpanParser(VOCABULARY).parse(answer_part(text)).spans
    regions = set(range(1, len(spans) + 1))
    named = [number for phrase in record.phrases for number in phrase.region_ids]
    assert sorted(set(named)) == sorted(regions)
    assert {end for r in record.relations for end in (r.subject_id, r.object_id)} <= regions | {0}
    assert len(named) == len(set(named)) or record.relations
    for phrase in record.phrases:
        assert record.text[phrase.start:phrase.end] == phrase.text == phrase.text.strip() != ''
    ends = [place for phrase in record.phrases for place in (phrase.start, phrase.end)]
    assert ends == sorted(ends)
    assert '<|mt_' not in record.text
    assert all(one in text for one in record.unparsed)
    for damaged in read_answer(text, VOCABULARY).malformed:
        assert any(damaged.text in one for one in record.unparsed)


@given(st.lists(st.builds(MaskItem, st.tuples(st.integers(0, 255), st.integers(0, 255)),
                          st.text(st.characters(codec='utf-8'), min_size=1, max_size=12)
                          .filter(lambda t: t.strip() and '<' not in t)), min_size=1, max_size=5))
def test_read_record_when_a_mask_list_was_written_then_each_label_with_its_regions(items):
    record = read_record(format_mask_list(items), VOCABULARY)
    labels = {}
    for number, item in enumerate(items, start=1):
        labels.setdefault(item.label, []).append(number)
    assert [(p.text, list(p.region_ids)) for p in record.phrases] == [
        (label.strip(), ids) for label, ids in labels.items()]
    assert record.unparsed == ()


@pytest.mark.parametrize('text', [
    '[' * 50_000, '[{"' * 20_000, '{"a":' * 20_000, '{"mask_2d": [' * 10_000, '```json\n[{' * 5_000,
    '[{"mask_2d": 1}' * 5_000, f'[{{"mask_2d": {A}' * 1_500, REF * 5_000, ' ' * 100_000 + '{',
    '[' + ' ' * 100_000, f'{A}' * 2_000, '{"subject":' * 10_000, '```json [' + '9' * 10_000],
    ids=lambda text: f'{text[:12]!r} x {len(text)}')
def test_read_record_when_a_text_is_long_and_senseless_then_read_like_any_other(text):
    # With a cost that grows with the square of the length these would take minutes.
    assert '<|mt_' not in read_record(text, VOCABULARY).text
