# SPDX-License-Identifier: Apache-2.0
"""Spans and damage in text, and that the cuts of a stream change nothing."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtok_ros.regions import MalformedSpan
from samtok_ros.words.span_parser import MaskSpan, Reason, SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

VOCABULARY = MaskVocabulary()
# One letter per word makes the tables readable: S start, E end, a and b code words of level 1 and
# 2, c and d others of level 1 and 2, x a number of no word, y no number at all.
LETTERS = {'S': '<|mt_start|>', 'E': '<|mt_end|>', 'a': '<|mt_0230|>', 'b': '<|mt_0345|>',
           'c': '<|mt_0000|>', 'd': '<|mt_0511|>', 'x': '<|mt_0512|>', 'y': '<|mt_pad|>'}
CODES = {'a': 230, 'b': 89, 'c': 0, 'd': 255}


def spell(short):
    return ''.join(LETTERS.get(letter, letter) for letter in short)


def parse(text):
    return SpanParser(VOCABULARY).parse(text)


# Text in short form -> short form of the spans found, and (reason, short form) of the damage.
CASES = [
    ('', [], [], 'nothing'),
    ('No t1rg0t.', [], [], 'no words'),
    ('SabE', ['SabE'], [], 'one span'),
    ('SabEScdE', ['SabE', 'ScdE'], [], 'two spans with nothing between'),
    ('1 SabE, 2 ScbE.', ['SabE', 'ScbE'], [], 'text around spans'),
    ('<SabE>', ['SabE'], [], 'angle brackets around a span'),
    ('Sab', [], [(Reason.UNCLOSED, 'Sab')], 'text ends where the end word should be'),
    ('S', [], [(Reason.UNCLOSED, 'S')], 'start word alone'),
    ('SE', [], [(Reason.MISSING_WORD, 'SE')], 'no words at all'),
    ('SaE', [], [(Reason.MISSING_WORD, 'SaE')], 'second word missing'),
    ('SbE', [], [(Reason.WRONG_LEVEL, 'SbE')], 'first word missing'),
    ('SbaE', [], [(Reason.WRONG_LEVEL, 'SbaE')], 'levels swapped'),
    ('SacE', [], [(Reason.WRONG_LEVEL, 'SacE')], 'two words of level 1'),
    ('SabdE', [], [(Reason.EXTRA_WORD, 'SabdE')], 'three words'),
    ('SxbE', [], [(Reason.UNKNOWN_WORD, 'SxbE')], 'number 512 is of no level'),
    ('SayE', [], [(Reason.UNKNOWN_WORD, 'SayE')], 'word without a number'),
    ('Sa bE', [], [(Reason.TEXT_INSIDE, 'Sa bE')], 'a blank inside'),
    ('Sab", 1', [], [(Reason.TEXT_INSIDE, 'Sab')], 'end word missing, text goes on'),
    ('Sab", 1 ScdE', ['ScdE'], [(Reason.TEXT_INSIDE, 'Sab')], 'damage ends at the next start'),
    ('SaSabE', ['SabE'], [(Reason.RESTARTED, 'Sa')], 'started again before the end'),
    ('SSabE', ['SabE'], [(Reason.RESTARTED, 'S')], 'start word twice'),
    ('E', [], [(Reason.STRAY_END, 'E')], 'end word alone'),
    ('SabEE', ['SabE'], [(Reason.STRAY_END, 'E')], 'end word twice'),
    ('abE', [], [(Reason.NO_START, 'abE')], 'start word missing'),
    ('ab', [], [(Reason.NO_START, 'ab')], 'bare words'),
    ('a 1 b', [], [(Reason.NO_START, 'a'), (Reason.NO_START, 'b')], 'stray words apart'),
    ('abSabE', ['SabE'], [(Reason.NO_START, 'ab')], 'stray words before a span'),
    ('x', [], [(Reason.UNKNOWN_WORD, 'x')], 'unknown word outside'),
    ('SabE 1 SaE 2 ScdE', ['SabE', 'ScdE'], [(Reason.MISSING_WORD, 'SaE')],
     'damage between two spans moves neither'),
    ('SaE ScdbE', [], [(Reason.MISSING_WORD, 'SaE'), (Reason.EXTRA_WORD, 'ScdbE')],
     'two damaged spans with an even number of words do not cancel out'),
]


@pytest.mark.parametrize(('short', 'spans', 'damage', 'why'), CASES, ids=[c[3] for c in CASES])
def test_parse_when_text_of_table_then_spans_and_damage_as_listed(short, spans, damage, why):
    text = spell(short)
    parsed = parse(text)
    assert [text[s.start:s.end] for s in parsed.spans] == [spell(s) for s in spans]
    assert [s.codes for s in parsed.spans] == [(CODES[s[1]], CODES[s[2]]) for s in spans]
    assert [(m.reason, m.text) for m in parsed.malformed] == [(r, spell(t)) for r, t in damage]
    assert all(text[m.position:].startswith(m.text) for m in parsed.malformed)


@pytest.mark.parametrize(('text', 'expected'), [
    ('a <|mt_02', [MalformedSpan(Reason.BROKEN_WORD, 2, '<|mt_02')]),
    ('a <|mt_0230| b', [MalformedSpan(Reason.BROKEN_WORD, 2, '<|mt_0230')]),
    ('<|mt_start|><|mt_02 30|>', [
        MalformedSpan(Reason.BROKEN_WORD, 0, '<|mt_start|><|mt_02')]),
    ('<|mt', []),
    ('<|im_end|>', []),
    ('a < b |> c', []),
])
def test_parse_when_a_word_is_broken_off_then_reported_where_it_is_a_mask_word(text, expected):
    assert list(parse(text).malformed) == expected


def test_parse_when_positions_asked_then_character_offsets():
    text = 'über ' + spell('SaE') + ' é ' + spell('SabE')
    parsed = parse(text)
    assert parsed.malformed[0].position == 5
    assert parsed.spans == (MaskSpan((230, 89), text.rindex('<|mt_start|>'), len(text)),)


def test_parse_when_other_vocabulary_then_its_own_levels_count():
    text = '<|mt_start|><|mt_0003|><|mt_0004|><|mt_0011|><|mt_end|>'
    parsed = SpanParser(MaskVocabulary(4, 3)).parse(text)
    assert parsed.spans == (MaskSpan((3, 0, 3), 0, len(text)),)


def test_reason_when_formatted_then_plain_text():
    assert f'{parse(spell("E")).malformed[0].reason}' == 'end word without a start word'


def test_feed_when_span_closes_then_returned_with_that_piece():
    parser = SpanParser(VOCABULARY)
    assert parser.feed('the mug <|mt_start|><|mt_02') == []
    assert parser.feed('30|><|mt_0345|><|mt_end|') == []
    assert parser.feed('>.') == [MaskSpan((230, 89), 8, 52)]
    assert parser.feed(spell(' SaE')) == []
    assert [m.reason for m in parser.malformed] == [Reason.MISSING_WORD]
    assert len(parser.close().spans) == 1


FRAGMENTS = st.sampled_from([*LETTERS.values(), ' ', 'mug', '<', '<|', '<|mt_', '<|mt_02', '|>',
                             '"', '\n', 'é', '<|object_ref_end|>', spell('SabE')])


@settings(deadline=None)
@given(st.lists(FRAGMENTS, max_size=12).map(''.join), st.data())
def test_feed_when_cut_anywhere_then_same_as_parse(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    parser = SpanParser(VOCABULARY)
    spans = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        spans += parser.feed(text[start:end])
    closed = parser.close()
    assert closed == parse(text)
    assert tuple(spans) == closed.spans


@settings(deadline=None)
@given(st.lists(FRAGMENTS, max_size=12).map(''.join))
def test_parse_when_any_text_then_every_mask_word_is_in_one_span_or_one_report(text):
    parsed = parse(text)
    ranges = sorted([(s.start, s.end) for s in parsed.spans]
                    + [(m.position, m.position + len(m.text)) for m in parsed.malformed])
    assert all(end <= start for (_, end), (start, _) in zip(ranges, ranges[1:], strict=False))
    for at in range(len(text)):
        if text.startswith('<|mt_', at):
            assert any(start <= at < end for start, end in ranges)
    for span in parsed.spans:
        assert VOCABULARY.words_to_codes(text[span.start:span.end]) == span.codes
    for damaged in parsed.malformed:
        assert text[damaged.position:].startswith(damaged.text)


def test_parse_when_long_hostile_text_then_done_in_linear_time():
    # A quadratic reader would take minutes for these.
    for text in ('<|mt_start|>' * 20_000, '<' * 200_000, '<|mt_' * 40_000,
                 spell('Sa') + 'é ' * 90_000):
        parse(text)
