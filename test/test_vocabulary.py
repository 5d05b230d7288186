# SPDX-License-Identifier: Apache-2.0
"""Codes <-> mask words <-> token ids, and the refusals on the way."""
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtok_ros.errors import CheckpointError, ConfigError, SpanError
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

PUBLISHED = MaskVocabulary()
SPAN = '<|mt_start|><|mt_0230|><|mt_0345|><|mt_end|>'
BASE = 151669


class Lookup:
    """Text tokenizer with nothing but a table."""

    unk_token_id = 7

    def __init__(self, ids):
        self.ids = ids

    def convert_tokens_to_ids(self, tokens):
        return [self.ids.get(token, self.unk_token_id) for token in tokens]


def ids_from(first):
    return {word: first + offset for offset, word in enumerate(PUBLISHED.words)}


@st.composite
def vocabulary_and_codes(draw):
    size, depth = draw(st.integers(1, 300)), draw(st.integers(1, 5))
    codes = draw(st.lists(st.integers(0, size - 1), min_size=depth, max_size=depth))
    return MaskVocabulary(size, depth), tuple(codes)


def test_words_when_published_size_then_514_in_the_order_of_the_checkpoints():
    assert len(PUBLISHED.words) == 514
    assert PUBLISHED.words[:2] == ('<|mt_start|>', '<|mt_0000|>')
    assert PUBLISHED.words[-2:] == ('<|mt_0511|>', '<|mt_end|>')


def test_codes_to_words_when_second_level_then_offset_by_the_codebook_size():
    assert PUBLISHED.codes_to_words((230, 89)) == SPAN
    assert PUBLISHED.word(1, 89) == '<|mt_0345|>'
    assert PUBLISHED.place(345) == (1, 89)


@settings(deadline=None)
@given(vocabulary_and_codes())
def test_codes_and_words_when_there_and_back_then_unchanged(pair):
    vocabulary, codes = pair
    assert vocabulary.words_to_codes(vocabulary.codes_to_words(codes)) == codes


@settings(deadline=None)
@given(vocabulary_and_codes(), st.integers(0, 10**6))
def test_codes_and_ids_when_there_and_back_then_unchanged(pair, first):
    vocabulary, codes = pair
    table = {word: first + offset for offset, word in enumerate(vocabulary.words)}
    ids = MaskTokenIds.from_text_tokenizer(type('T', (), {
        'convert_tokens_to_ids': lambda self, words: [table[word] for word in words]})(),
        vocabulary)
    span_ids = ids.codes_to_ids(codes)
    assert ids.ids_to_codes(span_ids) == codes
    assert list(span_ids) == [table[w] for w in re.findall(
        r'<\|mt_\w+\|>', vocabulary.codes_to_words(codes))]


@pytest.mark.parametrize(('span', 'why'), [
    ('', 'nothing'),
    (SPAN + ' ', 'text behind the span'),
    ('x' + SPAN, 'text before the span'),
    (SPAN + SPAN, 'two spans'),
    ('<|mt_start|><|mt_0230|><|mt_end|>', 'second word missing'),
    ('<|mt_start|><|mt_0345|><|mt_0230|><|mt_end|>', 'levels swapped'),
    ('<|mt_start|><|mt_0230|><|mt_0345|>', 'end word missing'),
    ('<|mt_start|><|mt_230|><|mt_0345|><|mt_end|>', 'three digits'),
    ('<|mt_start|><|mt_0230|> <|mt_0345|><|mt_end|>', 'blank between words'),
])
def test_words_to_codes_when_not_one_span_then_refused(span, why):
    with pytest.raises(SpanError, match='text is not one mask span: expected a span like'):
        PUBLISHED.words_to_codes(span)


def test_words_to_codes_when_number_outside_then_the_range_is_named():
    with pytest.raises(SpanError, match=re.escape(
            'word number is outside the vocabulary: expected 0..511, got 512.')):
        PUBLISHED.words_to_codes('<|mt_start|><|mt_0230|><|mt_0512|><|mt_end|>')


@pytest.mark.parametrize(('codes', 'text'), [
    ((1,), 'wrong number of codes: expected 2, one per level, got 1.'),
    ((1, 2, 3), 'wrong number of codes: expected 2, one per level, got 3.'),
    ((1, 256), 'code is outside the vocabulary: expected level below 2, code below 256, '
               'got level 1, code 256.'),
    ((-1, 0), 'code is outside the vocabulary: expected level below 2, code below 256, '
              'got level 0, code -1.'),
])
def test_codes_to_words_when_codes_do_not_fit_then_refused(codes, text):
    with pytest.raises(SpanError) as caught:
        PUBLISHED.codes_to_words(codes)
    assert str(caught.value) == text


@pytest.mark.parametrize('sizes', [(0, 2), (256, 0), (5001, 2)])
def test_vocabulary_when_size_does_not_fit_four_digits_then_refused(sizes):
    with pytest.raises(ConfigError, match=r'does not fit four-digit words: expected .*1\.\.10000'):
        MaskVocabulary(*sizes)


def test_token_ids_when_words_are_consecutive_then_one_range_per_level():
    ids = MaskTokenIds.from_text_tokenizer(Lookup(ids_from(BASE)), PUBLISHED)
    assert ids == MaskTokenIds(BASE, BASE + 513, (range(BASE + 1, BASE + 257),
                                                  range(BASE + 257, BASE + 513)))


@pytest.mark.parametrize('absent', [None, Lookup.unk_token_id])
def test_token_ids_when_a_word_is_missing_then_it_is_named(absent):
    table = ids_from(BASE) | {'<|mt_0003|>': absent, '<|mt_end|>': absent}
    with pytest.raises(CheckpointError) as caught:
        MaskTokenIds.from_text_tokenizer(Lookup(table), PUBLISHED)
    assert str(caught.value) == (
        'text tokenizer lacks mask words: expected 514 words, got 512, first missing '
        '<|mt_0003|>. Use a SAMTok model, or add the words of MaskVocabulary.words in their order.')


@pytest.mark.parametrize(('changed', 'why'), [
    ({'<|mt_end|>': BASE + 600}, 'a gap before the end word'),
    ({'<|mt_0001|>': BASE + 3, '<|mt_0002|>': BASE + 2}, 'two words swapped'),
    ({'<|mt_start|>': BASE + 700}, 'start word elsewhere'),
])
def test_token_ids_when_not_consecutive_then_refused(changed, why):
    with pytest.raises(CheckpointError, match='ids of the mask words are not consecutive'):
        MaskTokenIds.from_text_tokenizer(Lookup(ids_from(BASE) | changed), PUBLISHED)


def test_token_ids_when_built_by_hand_with_a_gap_then_refused():
    with pytest.raises(CheckpointError, match='ids of the mask words are not one range'):
        MaskTokenIds(10, 20, (range(11, 15), range(16, 20)))


@pytest.mark.parametrize(('token_ids', 'why'), [
    ((10, 11, 15), 'end missing'),
    ((10, 15, 11, 19), 'levels swapped'),
    ((10, 11, 15, 18), 'no end word'),
    ((), 'nothing'),
    ((10, 11, 15, 19, 19), 'one too many'),
])
def test_ids_to_codes_when_not_one_span_then_refused(token_ids, why):
    ids = MaskTokenIds(10, 19, (range(11, 15), range(15, 19)))
    with pytest.raises(SpanError, match='token ids are not one mask span'):
        ids.ids_to_codes(token_ids)


def test_codes_to_ids_when_code_outside_then_the_level_is_named():
    ids = MaskTokenIds(10, 19, (range(11, 15), range(15, 19)))
    with pytest.raises(SpanError, match=r'expected 0\.\.3, got 4 at level 1'):
        ids.codes_to_ids((0, 4))
