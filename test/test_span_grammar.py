# SPDX-License-Identifier: Apache-2.0
"""Which tokens may follow, state by state."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtok_ros.errors import ConfigError, SpanError
from samtok_ros.words.span_grammar import SpanGrammar, allowed_token_mask
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

# Ten ordinary tokens, token 9 of them the end of turn; then start 10, words 11..14 and 15..18,
# end 19; two padding rows behind.
IDS = MaskTokenIds(10, 19, (range(11, 15), range(15, 19)))
VOCABULARY = MaskVocabulary(4, 2)
TOKEN_COUNT = 22
END_OF_TURN = 9


def after(token_ids, max_spans=None):
    grammar = SpanGrammar(IDS, max_spans)
    state = grammar.start()
    for token_id in token_ids:
        state = grammar.advance(state, token_id)
    return grammar, state


@pytest.mark.parametrize(('token_ids', 'max_spans', 'allowed', 'why'), [
    ([], None, [*range(11), 20, 21], 'text: no code words, no end word'),
    ([3, 4], None, [*range(11), 20, 21], 'text goes on'),
    ([10], None, range(11, 15), 'behind the start word: first level'),
    ([10, 12], None, range(15, 19), 'then second level'),
    ([10, 12, 18], None, [19], 'then the end word is forced'),
    ([10, 12, 18, 19], None, [*range(11), 20, 21], 'text again'),
    ([], 0, [*range(10), 20, 21], 'spans forbidden: no start word either'),
    ([10, 12, 18, 19], 1, [*range(10), 20, 21], 'the one span is used up'),
    ([10, 12, 18, 19], 2, [*range(11), 20, 21], 'one of two is left'),
    ([10], 1, range(11, 15), 'the last span may be finished'),
])
def test_allowed_token_mask_when_state_of_table_then_these_tokens(
        token_ids, max_spans, allowed, why):
    grammar, state = after(token_ids, max_spans)
    permitted = allowed_token_mask(grammar, state, TOKEN_COUNT)
    assert permitted.dtype == np.bool_
    assert np.flatnonzero(permitted).tolist() == list(allowed)


def test_allowed_when_outside_a_span_then_none_and_one_forbidden_range():
    grammar, state = after([])
    assert grammar.allowed(state) is None
    assert grammar.forbidden(state) == range(11, 20)
    assert SpanGrammar(IDS, 0).forbidden(state) == range(10, 20)


def test_allowed_when_inside_a_span_then_ids_and_nothing_forbidden():
    grammar, state = after([10, 12])
    assert grammar.allowed(state) == range(15, 19)
    assert len(grammar.forbidden(state)) == 0
    assert grammar.allowed(grammar.advance(state, 15)) == (19,)


@pytest.mark.parametrize(('token_ids', 'wrong', 'text'), [
    ([10], END_OF_TURN, 'token 9 is not allowed after 1 words of a span: expected 11..14.'),
    ([10, 11], 10, 'token 10 is not allowed after 2 words of a span: expected 15..18.'),
    ([10, 11, 15], 3, 'token 3 is not allowed after 3 words of a span: expected 19..19.'),
    ([], 15, 'token 15 is not allowed after 0 words of a span: '
             'expected any id outside 11..19.'),
    ([], 19, 'token 19 is not allowed after 0 words of a span: '
             'expected any id outside 11..19.'),
])
def test_advance_when_token_is_not_allowed_then_refused(token_ids, wrong, text):
    grammar, state = after(token_ids)
    with pytest.raises(SpanError) as caught:
        grammar.advance(state, wrong)
    assert str(caught.value).startswith(text)
    assert str(caught.value).endswith('Choose tokens with allowed_token_mask or '
                                      'GrammarLogitsProcessor.')


def test_allowed_token_mask_when_model_has_too_few_scores_then_refused():
    grammar, state = after([])
    with pytest.raises(SpanError, match='model has no scores for the mask words: expected more '
                                        'than 19 scores, got 19. Resize its embeddings'):
        allowed_token_mask(grammar, state, 19)


def test_grammar_when_max_spans_is_negative_then_refused():
    with pytest.raises(ConfigError, match='max_spans is negative'):
        SpanGrammar(IDS, -1)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, exclude_max=True), max_size=40),
       st.one_of(st.none(), st.integers(0, 3)))
def test_grammar_when_any_allowed_tokens_are_chosen_then_the_text_has_no_damage(
        choices, max_spans):
    grammar = SpanGrammar(IDS, max_spans)
    state, text = grammar.start(), ''
    words = dict(zip(range(10, 20), VOCABULARY.words, strict=True))
    for choice in choices:
        permitted = np.flatnonzero(allowed_token_mask(grammar, state, TOKEN_COUNT))
        token_id = int(permitted[int(choice * len(permitted))])
        state = grammar.advance(state, token_id)
        text += words.get(token_id, f' {token_id}')
    while state.words:
        token_id = grammar.allowed(state)[0]
        state = grammar.advance(state, token_id)
        text += words[token_id]
    parsed = SpanParser(VOCABULARY).parse(text)
    assert parsed.malformed == ()
    assert len(parsed.spans) == state.spans
    assert max_spans is None or state.spans <= max_spans
