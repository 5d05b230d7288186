# SPDX-License-Identifier: Apache-2.0
"""Token by token, the text is the same as at once."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samtok_ros.language.text_stream import TextStream


def pieces_of(text_tokenizer, ids):
    stream = TextStream(text_tokenizer, frozenset(text_tokenizer.get_added_vocab()))
    pieces = [*(stream.push(i) for i in ids), stream.close()]
    assert ''.join(pieces) == stream.text
    assert len(stream.text) == stream.length
    return pieces


def test_push_when_character_is_spread_over_tokens_then_comes_with_the_last(text_tokenizer):
    ids = text_tokenizer('🍎').input_ids
    assert len(ids) == 4
    assert pieces_of(text_tokenizer, ids) == ['', '', '', '🍎', '']


def test_push_when_marker_cuts_a_character_then_replacement_first(text_tokenizer):
    ids = [*text_tokenizer('🍎').input_ids[:2], *text_tokenizer('<|mt_start|>').input_ids]
    assert pieces_of(text_tokenizer, ids) == ['', '', '\ufffd<|mt_start|>', '']


def test_push_when_row_has_no_token_then_no_text(text_tokenizer):
    assert pieces_of(text_tokenizer, [len(text_tokenizer) + 3]) == ['', '']


@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_stream_when_any_tokens_then_equal_to_decoding_at_once(text_tokenizer, data):
    ids = data.draw(st.lists(st.integers(0, len(text_tokenizer) - 1), max_size=12))
    assert ''.join(pieces_of(text_tokenizer, ids)) == text_tokenizer.decode(ids)
