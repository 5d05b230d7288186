# SPDX-License-Identifier: Apache-2.0
"""Textual rewards against answers that are worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samtok_ros.reinforcement.rewards import (
    Triplet,
    answer_format,
    exact_match,
    graded_match,
    no_repeat,
    no_target,
    no_triplet_repeat,
    phrase_match,
    phrase_span_match,
    spans_of,
    thinking_part,
    triplet_match,
    triplets_of,
)
from samtok_ros.words.vocabulary import MaskVocabulary

SPAN = MaskVocabulary().codes_to_words
A, B, C = SPAN((1, 2)), SPAN((3, 4)), SPAN((5, 6))
A_FIRST = SPAN((1, 9))  # the first word of A, another second one
SPANS = st.lists(st.sampled_from((A, B, C, A_FIRST)), max_size=5)


@pytest.mark.parametrize(('predicted', 'true', 'exact', 'graded'), [
    ([A], [A], 1.0, 1.0),
    ([A], [B], 0.0, 0.0),
    ([A_FIRST], [A], 0.0, 0.4),
    ([A, B], [B, A], 1.0, 1.0),              # order does not matter
    ([A], [A, B], 1 / 2, 1 / 2),             # one of two missed
    ([A, B, C], [A], 1 / 3, 1 / 3),          # two too many
    ([A, A], [A], 1 / 2, 1 / 2),             # N_pred counts before repetitions are dropped
    ([A, A], [A, B], 1 / 2, 1 / 2),
    ([A], [A, A], 1 / 2, 1 / 2),             # N_gt counts them too
    ([A, A_FIRST], [A], 1 / 2, 1.4 / 2),     # two may share their best match
    ([A_FIRST, B], [A, B], 1 / 2, 1.4 / 2),
    ([], [A], 0.0, 0.0),
    ([A], [], 0.0, 0.0),
    ([], [], 1.0, 1.0),
])
def test_match_when_spans_are_given_then_as_by_hand(predicted, true, exact, graded):
    assert exact_match(predicted, true) == pytest.approx(exact)
    assert graded_match(predicted, true) == pytest.approx(graded)


@given(SPANS, SPANS)
def test_match_when_anything_is_said_then_within_bounds_and_graded_is_no_less(predicted, true):
    assert 0 <= exact_match(predicted, true) <= graded_match(predicted, true) <= 1


@given(st.sets(st.sampled_from((A, B, C)), min_size=1), st.randoms())
def test_match_when_different_spans_are_all_said_in_any_order_then_full(spans, random):
    said = sorted(spans)
    random.shuffle(said)
    assert exact_match(said, sorted(spans)) == graded_match(said, sorted(spans)) == 1


@given(SPANS.filter(len), SPANS.filter(len), st.sampled_from((A, B, C)))
def test_match_when_a_span_is_said_again_then_never_more(predicted, true, repeated):
    again = [*predicted, repeated]
    if repeated in predicted:
        assert exact_match(again, true) <= exact_match(predicted, true)
        assert graded_match(again, true) <= graded_match(predicted, true)


@given(st.text(max_size=30), SPANS)
def test_spans_of_when_spans_stand_in_a_text_then_those_in_order(text, spans):
    assert spans_of(text + text.join(spans)) == spans


@pytest.mark.parametrize('text', [
    '<|mt_start|><|mt_0001|><|mt_end|>', '<|mt_start|><|mt_0001|><|mt_0258|>',
    '<|mt_0001|><|mt_0258|><|mt_end|>', '<|mt_start|> <|mt_0001|><|mt_0258|><|mt_end|>'])
def test_spans_of_when_a_span_is_damaged_then_none(text):
    assert spans_of(text) == []


@pytest.mark.parametrize(('text', 'expected'), [
    ('<think>a</think><answer>b</answer>', 1.0),
    ('<think>a\nb</think>\n <answer>b</answer>', 1.0),
    ('<think>a</think> so <answer>b</answer>', 0.0),
    ('<answer>b</answer>', 0.0),
    ('<think>a</think><answer>b', 0.0),
    ('well <think>a</think><answer>b</answer>', 0.0),
])
def test_answer_format_when_tags_differ_then_as_by_hand(text, expected):
    assert answer_format(text) == expected


def test_thinking_part_when_there_is_one_then_it_alone():
    assert thinking_part('<think>a ' + A + '</think><answer>' + B + '</answer>') == 'a ' + A
    assert thinking_part(B) == ''


@pytest.mark.parametrize(('text', 'expected'), [
    ('', 1.0), (A * 3, 1.0), (A * 4, 0.0), ((A + B) * 3, 1.0), (A * 3 + B * 4, 0.0)])
def test_no_repeat_when_a_span_is_said_more_than_three_times_then_0(text, expected):
    assert no_repeat(text) == expected


@pytest.mark.parametrize(('text', 'expected'), [
    ('No target.', 1.0), ('There is none. No target.', 1.0), ('None.', 0.2), ('', 0.2),
    ('No target. ' + A, 0.0), ('<|mt_0001|>', 0.0)])
def test_no_target_when_said_or_not_then_as_by_hand(text, expected):
    assert no_target(text) == expected


def _caption(*items):
    return 'Here: ' + ', '.join(f'<|object_ref_start|> {phrase} <|object_ref_end|> {span}'
                                for phrase, span in items) + '.'


@pytest.mark.parametrize(('said', 'true', 'spans', 'phrases'), [
    ([('a red mug', A)], [('A red Mug', A)], 1.0, 1.0),            # case does not count
    ([('a mug', A), ('a box', B)], [('a mug', A), ('a bowl', C)], 1 / 2, 1 / 2),
    ([('a mug', A_FIRST)], [('a mug', A)], 0.4, 1.0),
    ([('a mug', A), ('a mug', A)], [('a mug', A)], 1 / 2, 1 / 2),
    ([], [('a mug', A)], 0.0, 0.0),
])
def test_grounded_caption_rewards_when_phrases_and_spans_differ_then_as_by_hand(
        said, true, spans, phrases):
    assert phrase_span_match(_caption(*said), _caption(*true)) == pytest.approx(spans)
    assert phrase_match(_caption(*said), _caption(*true)) == pytest.approx(phrases)


def test_phrase_span_match_when_a_span_has_no_phrase_then_it_is_not_counted():
    assert phrase_span_match(_caption(('a mug', A)) + B, _caption(('a mug', A))) == 1.0


def _triplet(first=A, predicate='left of', second=B, subject='mug'):
    return Triplet(first, subject, predicate, second, 'box')


@pytest.mark.parametrize(('said', 'true', 'expected'), [
    ([_triplet()], [_triplet()], 1.0),
    ([_triplet(predicate='behind')], [_triplet()], 0.0),
    ([_triplet(subject='bowl')], [_triplet()], 0.0),
    ([_triplet(C, second=C)], [_triplet()], 0.5),                   # labels alone
    ([_triplet(C)], [_triplet()], 0.75),                            # and the object's span
    ([_triplet(A_FIRST, second=C)], [_triplet()], 0.6),             # 0.5 + 0.25 * 0.4
    ([_triplet(), _triplet()], [_triplet()], 0.5),
    ([_triplet()], [_triplet(), _triplet(C)], 0.5),
    ([], [_triplet()], 0.0),
])
def test_triplet_match_when_triplets_differ_then_as_by_hand(said, true, expected):
    assert triplet_match(said, true) == pytest.approx(expected)


def test_no_triplet_repeat_when_said_three_times_then_0():
    assert no_triplet_repeat([_triplet()] * 2 + [_triplet(C)]) == 1.0
    assert no_triplet_repeat([_triplet()] * 3) == 0.0


def test_triplets_of_when_a_drawn_scene_graph_is_read_then_all_of_it():
    text = ('```json\n[{"subject": {"mask_2d": "' + A + '", "label": "mug"}, "predicate": "left of"'
            ', "object": {"mask_2d": "' + B + '", "label": "box"}}]\n```')
    assert triplets_of(text) == [_triplet()]


@pytest.mark.parametrize('text', ['', 'No target.', '```json\n[{"subject": 1}]\n```',
                                  '```json\n[{"subject"\n```', '```json\n{"a": 1}\n```'])
def test_triplets_of_when_damaged_then_none(text):
    assert triplets_of(text) == []
