# SPDX-License-Identifier: Apache-2.0
"""What an answer says: its part outside the thinking, its mask spans and their labels."""

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from samtok_ros.errors import SpanError
from samtok_ros.regions import MalformedSpan
from samtok_ros.words.span_parser import MaskSpan, SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

NO_TARGET = 'No target.'
"""The whole answer when nothing in the image fits the instruction."""

PUBLISHED = MaskVocabulary()
"""The vocabulary of the published models and of ours."""

_END_OF_TURN = ('<|im_end|>', '<|endoftext|>', '<|eot_id|>', '<|end_of_text|>')
_RESERVED = re.compile(r'<\|mt_|</?(?:think|answer)>')
_STRING = r'"((?:[^"\\\n]|\\.)*)'
_LABEL_BEHIND = re.compile(r'"?\s*(?:,\s*)?"label"\s*:\s*' + _STRING)
_LABEL_BEFORE = re.compile(r'"label"\s*:\s*' + _STRING + r'"\s*(?:,\s*)?"mask_2d"\s*:\s*"?\Z')
_PHRASE = re.compile(
    r'<\|object_ref_start\|>((?:(?!<\|object_ref_).)*)<\|object_ref_end\|>\s*\Z', re.DOTALL
)


@dataclass(frozen=True)
class MaskItem:
    """One entry of a mask list: codes in level order, and the phrase they belong to."""

    codes: tuple[int, ...]
    label: str


@dataclass(frozen=True)
class LabelledSpan:
    """A mask span and the phrase it belongs to; offsets count from the start of the raw text."""

    span: MaskSpan
    label: str


@dataclass(frozen=True)
class ReadAnswer:
    """What was found in the answer part of a text.

    Attributes:
        text: the answer part, without thinking, tags and end-of-turn marks.
        spans: well-formed spans, in order.
        malformed: damaged ones, in order; offsets count from the start of the raw text.
    """

    text: str
    spans: tuple[LabelledSpan, ...]
    malformed: tuple[MalformedSpan, ...]


def read_answer(text: str, vocabulary: MaskVocabulary, default_label: str = '') -> ReadAnswer:
    """Read a raw answer, finished or cut short.

    Spans inside the thinking are not part of the answer and are left out.

    Args:
        text: as decoded from the model, special tokens kept.
        vocabulary: of the model.
        default_label: for spans with no phrase of their own, as in short sentences; usually the
            phrase that was asked for.
    """
    start, end = answer_bounds(text)
    parsed = SpanParser(vocabulary).parse(text[start:end])
    spans = tuple(replace(s, start=s.start + start, end=s.end + start) for s in parsed.spans)
    malformed = tuple(replace(m, position=m.position + start) for m in parsed.malformed)
    return ReadAnswer(
        text[start:end], label_spans(text[:end], spans, default_label), malformed
    )


def answer_bounds(text: str) -> tuple[int, int]:
    """Return where the answer part of a raw text starts and ends.

    It is what the answer tags enclose, else what follows the thinking, else everything; without
    blanks and end-of-turn marks at its edges. While the thinking is not finished it is empty.

    Source: samtok-spec 2.3.
    """
    thought = text.rfind('</think>')
    start = 0 if thought < 0 else thought + len('</think>')
    opened = text.find('<answer>', start)
    end = len(text)
    if opened >= 0:
        start = opened + len('<answer>')
        closed = text.find('</answer>', start)
        end = end if closed < 0 else closed
    elif thought < 0 and text.lstrip().startswith('<think>'):
        start = end
    answer = text[start:end].lstrip()
    start = end - len(answer)
    while (shorter := _without_end(answer)) != answer:
        answer = shorter
    return start, start + len(answer)


def answer_part(text: str) -> str:
    """Return a raw text without thinking, answer tags and end-of-turn marks."""
    start, end = answer_bounds(text)
    return text[start:end]


def is_no_target(text: str) -> bool:
    """Tell whether an answer says that nothing fits; exactly NO_TARGET, in whatever wrapping."""
    return answer_part(text) == NO_TARGET


def label_spans(
    text: str, spans: Sequence[MaskSpan], default_label: str = ''
) -> tuple[LabelledSpan, ...]:
    """Find the phrase of each span from the text around it.

    Three forms are known: an item of a mask list, quoted or not; a phrase between object-ref marks
    in front of the span; and anything else, which gets the default. Each span is looked at alone,
    so damage to the JSON around one leaves the others readable.

    Args:
        text: the text that the offsets of the spans belong to.
        spans: in order, not overlapping.
        default_label: for spans with no phrase of their own.
    """
    labelled: list[LabelledSpan] = []
    last_end, last_phrase = 0, None
    for index, span in enumerate(spans):
        before = text[last_end : span.start]
        behind = text[span.end : spans[index + 1].start if index + 1 < len(spans) else len(text)]
        phrase = _phrase_of_caption(before)
        if phrase is None and not before.strip():
            phrase = last_phrase
        label = _label_of_item(before, behind) if phrase is None else phrase
        labelled.append(LabelledSpan(span, default_label if label is None else label))
        last_end, last_phrase = span.end, phrase
    return tuple(labelled)


def format_mask_list(
    items: Sequence[MaskItem], vocabulary: MaskVocabulary = PUBLISHED
) -> str:
    """Write the answer that names some masks, in the published layout with quoted spans.

    Raises:
        SpanError: no items, a code outside the vocabulary, or mask words or tags in a label.
    Source: samtok-spec 2.3.
    """
    if not items:
        raise SpanError('a mask list needs items', fix=f'answer {NO_TARGET!r} where none fits')
    lines = []
    for item in items:
        if _RESERVED.search(item.label):
            raise SpanError('a label holds mask words or answer tags', got=repr(item.label))
        span = vocabulary.codes_to_words(item.codes)
        label = json.dumps(item.label, ensure_ascii=False)
        lines.append(f'{{"mask_2d": "{span}", "label": {label}}}')
    return '```json\n[' + ',\n'.join(lines) + ']\n```'


def parse_mask_list(
    text: str, vocabulary: MaskVocabulary = PUBLISHED
) -> tuple[MaskItem, ...]:
    """Read the masks of an answer; the inverse of format_mask_list.

    Damaged spans are left out; use read_answer where they must be reported.
    """
    spans = read_answer(text, vocabulary).spans
    return tuple(MaskItem(s.span.codes, s.label) for s in spans)


def _without_end(answer: str) -> str:
    for mark in _END_OF_TURN:
        answer = answer.rstrip().removesuffix(mark)
    return answer.rstrip()


def _phrase_of_caption(before: str) -> str | None:
    found = _PHRASE.search(before)
    return found[1].strip() if found else None


def _label_of_item(before: str, behind: str) -> str | None:
    found = _LABEL_BEHIND.match(behind) or _LABEL_BEFORE.search(before)
    if found is None:
        return None
    label = found[1]
    # An escape that JSON does not know leaves the phrase as it was written.
    with contextlib.suppress(json.JSONDecodeError):
        label = json.loads(f'"{label}"', strict=False)
    # Half of a surrogate pair is valid JSON, but no message can carry it.
    return label.encode(errors='replace').decode()
