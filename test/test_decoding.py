# SPDX-License-Identifier: Apache-2.0
"""The greedy writer against hand-made scores."""

import math

import pytest
import torch

from samtok_ros.errors import DeviceError
from samtok_ros.language.decoding import GreedyWriter
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed, TextPiece
from samtok_ros.language.text_stream import TextStream
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary


class Scores:
    """Makes scores that prefer some tokens of the tiny text tokenizer."""

    def __init__(self, text_tokenizer):
        self.ids = MaskTokenIds.from_text_tokenizer(text_tokenizer, MaskVocabulary())
        self.tokenizer = text_tokenizer
        self.stop_id = text_tokenizer.eos_token_id

    def writer(self, **limits):
        stream = TextStream(self.tokenizer, frozenset(self.tokenizer.get_added_vocab()))
        return GreedyWriter(SpanGrammar(self.ids), stream, frozenset([self.stop_id]),
                            GenerationLimits(**limits))

    def of(self, **preferred):
        """Return logits of 0, with names 'start', 'end', 'stop' or words at their value."""
        named = {'start': self.ids.start_id, 'end': self.ids.end_id, 'stop': self.stop_id}
        logits = torch.zeros(len(self.tokenizer))
        for name, value in preferred.items():
            token_id = named.get(name)
            if token_id is None:
                token_id, = self.tokenizer(name).input_ids
            logits[token_id] = value
        return logits

    def of_code(self, level, code, value):
        logits = torch.zeros(len(self.tokenizer))
        logits[self.ids.level_ids[level][code]] = value
        return logits


@pytest.fixture(scope='module')
def scores(text_tokenizer):
    return Scores(text_tokenizer)


def test_write_when_tokens_were_seen_then_a_penalty_makes_them_less_likely(scores):
    the, = scores.tokenizer('the').input_ids
    first, second = (scores.of(the=value, stop=1.0) for value in (1.04, 1.06))
    for logits, begins in ((first, False), (second, True)):
        stream = TextStream(scores.tokenizer, frozenset())
        writer = GreedyWriter(SpanGrammar(scores.ids), stream, frozenset([scores.stop_id]),
                              GenerationLimits(), 1.05, [the])
        assert writer.write(logits)[0] == ([the] if begins else [])
        assert float(logits[the]) in (pytest.approx(1.04), pytest.approx(1.06))  # as they were


def test_write_when_a_token_was_written_then_it_counts_as_seen(scores):
    stream = TextStream(scores.tokenizer, frozenset())
    writer = GreedyWriter(SpanGrammar(scores.ids), stream, frozenset([scores.stop_id]),
                          GenerationLimits(), 2.0, [])
    logits = scores.of(the=1.5, stop=1.0)
    assert writer.write(logits)[0]
    assert writer.write(logits)[0] == []
    assert writer.finish_reason == 'stop'
    low = scores.of(the=-1.0, stop=-1.5)
    low[low == 0] = -9.0
    assert writer.write(low)[0] == []  # below 0 a penalty multiplies


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_write_when_scores_are_no_numbers_then_said_instead_of_answered(scores, value):
    writer = scores.writer()
    with pytest.raises(DeviceError, match='computes what is no number'):
        writer.write(scores.of(the=value))
    writer = scores.writer()
    writer.write(scores.of(start=5))
    with pytest.raises(DeviceError, match='computes what is no number'):
        writer.write(scores.of_code(0, 7, value))


def test_write_when_span_is_written_then_closed_with_its_second_word(scores):
    writer = scores.writer()
    ids, events = writer.write(scores.of(the=5))
    assert (ids, events) == (scores.tokenizer('the').input_ids, [TextPiece('the')])
    assert writer.write(scores.of(start=5)) == ([scores.ids.start_id], [TextPiece('<|mt_start|>')])
    writer.write(scores.of_code(0, 7, math.log(255)))    # probability 255 / (255 + 255) = 1/2
    ids, events = writer.write(scores.of_code(1, 9, math.log(85)))  # 85 / (85 + 255) = 1/4
    assert ids == [scores.ids.level_ids[1][9], scores.ids.end_id]
    assert events[:2] == [TextPiece('<|mt_0265|>'), TextPiece('<|mt_end|>')]
    assert events[2].codes == (7, 9)
    assert events[2].position == 3
    assert events[2].score == pytest.approx(math.sqrt(1 / 2 * 1 / 4), abs=1e-6)


def test_write_when_text_wants_code_words_or_end_then_next_best_text(scores):
    writer = scores.writer()
    logits = scores.of(end=9, the=1)
    logits[scores.ids.level_ids[1][3]] = 8
    assert writer.write(logits)[1] == [TextPiece('the')]


def test_write_when_span_wants_text_or_stop_then_still_a_code_word(scores):
    writer = scores.writer()
    writer.write(scores.of(start=5))
    ids, _ = writer.write(scores.of(stop=9, the=9, start=9))
    assert ids == [scores.ids.level_ids[0][0]]
    assert writer.finish_reason is None


def test_write_when_scores_are_given_then_left_as_they_were(scores):
    logits = scores.of(the=5)
    before = logits.clone()
    scores.writer().write(logits)
    assert torch.equal(logits, before)


def test_write_when_stop_token_then_stop_without_its_text(scores):
    writer = scores.writer()
    writer.write(scores.of(the=5))
    assert writer.write(scores.of(stop=5)) == ([], [])
    assert writer.finish_reason == 'stop'
    assert writer.finish('stop') == [Finished('the', 'stop', 1)]


def test_write_when_tokens_are_used_up_then_length(scores):
    writer = scores.writer(max_new_tokens=2)
    writer.write(scores.of(the=5))
    assert writer.finish_reason is None
    writer.write(scores.of(the=5))
    assert writer.finish_reason == 'length'


def test_write_when_tokens_end_with_the_last_code_then_end_word_still_comes(scores):
    writer = scores.writer(max_new_tokens=3)
    events = []
    for logits in (scores.of(start=5), scores.of_code(0, 1, 5), scores.of_code(1, 2, 5)):
        events += writer.write(logits)[1]
    assert isinstance(events[-1], SpanClosed)
    assert writer.finish('length')[-1] == Finished(
        '<|mt_start|><|mt_0001|><|mt_0258|><|mt_end|>', 'length', 4)


@pytest.mark.parametrize('max_masks', [0, 2])
def test_write_when_one_mask_too_many_then_length_before_it_opens(scores, max_masks):
    writer, spans = scores.writer(max_masks=max_masks), 0
    while writer.finish_reason is None:
        logits = scores.of(start=5)
        spans += sum(isinstance(e, SpanClosed) for e in writer.write(logits)[1])
    assert spans == max_masks
    assert writer.finish_reason == 'length'
    text = writer.finish('length')[-1].text
    assert text.count('<|mt_start|>') == text.count('<|mt_end|>') == max_masks


def test_finish_when_a_character_is_half_written_then_its_piece_comes(scores):
    writer = scores.writer()
    half = torch.zeros(len(scores.tokenizer))
    half[scores.tokenizer('🍎').input_ids[0]] = 5
    assert writer.write(half)[1] == []
    assert writer.finish('cancelled') == [TextPiece('\ufffd'), Finished('\ufffd', 'cancelled', 1)]
