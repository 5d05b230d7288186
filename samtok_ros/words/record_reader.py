# SPDX-License-Identifier: Apache-2.0
"""Raw answer -> AnswerRecord: every form in which the models answer, whole or damaged.

Mask lists, captions with phrases, sentences, choices, scene graphs and plain text are told apart by
what stands in the text. Nothing is ever raised and nothing repaired: what cannot be read is
reported as it was written.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from samtok_ros.words.answer_record import NO_REGION, AnswerRecord, Relation
from samtok_ros.words.answers import PUBLISHED, answer_bounds, read_answer
from samtok_ros.words.json_items import JsonBlock, JsonItem, find_block
from samtok_ros.words.record_text import RecordText
from samtok_ros.words.vocabulary import MaskVocabulary

MOST_CHOICES = 26
"""Options of a multiple choice; they are named by letters."""

_LETTER = re.compile(r'\(?([A-Za-z])\)?\s*[.:]?')
_LETTER_FIRST = re.compile(r'(?:\(([A-Z])\)|([A-Z])[.:)])\s')
_PHRASE_MARK = re.compile(r'<\|object_ref_(start|end)\|>')
_PLACE = re.compile(r'<\|mt_([0-9]+)~*')
_MASK_KEY = re.compile(r'"mask_2d"\s{0,8}:\s{0,8}\Z')
_KEY_LENGTH = 32
_MASK_WORD = re.compile(r'<\|mt_(?:[A-Za-z0-9_]{0,16}\|>)?')
_ENDS = ('subject', 'object')


@dataclass(frozen=True)
class _Stretch:
    """Where mask words stand in the raw text; region_id NO_REGION: they form no region."""

    start: int
    end: int
    region_id: int = NO_REGION
    label: str = ''


def read_record(
    text: str,
    vocabulary: MaskVocabulary = PUBLISHED,
    *,
    default_label: str = '',
    choice_count: int = 0,
    not_regions: Collection[int] = (),
) -> AnswerRecord:
    """Read an answer, finished or cut short.

    Args:
        text: as decoded from the model, special tokens kept.
        vocabulary: of the model.
        default_label: what spans are called to which the answer puts no phrase, such as the goal;
            without it they are called `region 1` and so on.
        choice_count: how many options there were to choose from; 0 when nobody asked to choose.
        not_regions: offsets of spans that look right but are none, as they were not written with
            mask words.
    """
    default_label = _plain(default_label)
    start, end = answer_bounds(text)
    stretches = _stretches(text, vocabulary, not_regions)
    masked = _masked(text, stretches)
    said = RecordText()
    relations: list[Relation] = []
    unread = [(one.start, one.end) for one in stretches if one.region_id == NO_REGION]
    at = start
    while (block := find_block(masked, at, end)) is not None:
        _write_prose(said, text, (at, block.start), stretches, default_label)
        if _write_block(said, relations, block, stretches, default_label):
            unread += block.gaps
        else:
            _write_prose(said, text, (block.start, block.end), stretches, default_label)
            unread += [(block.start, block.end)] * block.is_ours
        at = block.end
    _write_prose(said, text, (at, end), stretches, default_label)
    choice = _choice(said.text.strip(), choice_count)
    if choice_count and not choice:
        unread = [(start, end)]
    return AnswerRecord(
        said.text.rstrip(), _thought(text, start), said.phrases, choice, tuple(relations),
        tuple(text[first:last] for first, last in _merged(unread)))


def _stretches(
    text: str, vocabulary: MaskVocabulary, not_regions: Collection[int],
) -> list[_Stretch]:
    """Return everything in the answer that mask words take up, in order."""
    found = read_answer(text, vocabulary)
    stretches = [_Stretch(m.position, m.position + len(m.text)) for m in found.malformed]
    number = 0
    for item in found.spans:
        is_region = item.span.start not in not_regions
        number += is_region
        stretches.append(_Stretch(item.span.start, item.span.end,
                                  number if is_region else NO_REGION, item.label))
    return sorted(stretches, key=lambda one: one.start)


def _masked(text: str, stretches: list[_Stretch]) -> str:
    """Return a text of the same length in which JSON can be read: stretches become plain strings.

    Regions become their numbers, in a form that no text can hold, as all that begins like a mask
    word is part of some stretch; where the released converters left out the quotes they are put.
    """
    pieces: list[str] = []
    at = 0
    for one in stretches:
        length = one.end - one.start
        content = f'<|mt_{one.region_id}' if one.region_id else ''
        if _MASK_KEY.search(text[max(0, one.start - _KEY_LENGTH):one.start]) and length > 1:
            closed = text[one.end:one.end + 1] == '"'
            content = '"' + content.ljust(length - 2 + closed, '~') + '"' * (not closed)
        pieces += [text[at:one.start], content.ljust(length, '~')]
        at = one.end
    return ''.join((*pieces, text[at:]))


def _write_prose(
    said: RecordText, text: str, bounds: tuple[int, int], stretches: list[_Stretch],
    default_label: str,
) -> None:
    """Write a part of the answer that is no JSON; phrases in front of spans name their regions."""
    at, end = bounds
    inside = [one for one in stretches if at <= one.start < end]
    for one in [*inside, _Stretch(end, end)]:
        marks = _PHRASE_MARK.split(text[at:one.start])
        said.add(marks[0])
        for mark, behind in zip(marks[1::2], marks[2::2], strict=True):
            said.open_phrase() if mark == 'start' else said.close_phrase()
            said.add(behind)
        if one.region_id:
            said.name_region(one.region_id, default_label)
        elif one.end > one.start:
            said.drop()
        at = max(at, one.end)


def _write_block(
    said: RecordText, relations: list[Relation], block: JsonBlock, stretches: list[_Stretch],
    default_label: str,
) -> bool:
    """Write what a JSON block lists; False, and nothing is written, when it lists nothing."""
    inside = [one for one in stretches if block.start <= one.start < block.end and one.region_id]
    triplets = {item.start: item for item in block.items if _is_triplet(item)}
    if not inside and not triplets:
        return False
    entries: list[_Stretch | JsonItem] = [
        *triplets.values(),
        *(one for one in inside
          if not any(item.start <= one.start < item.end for item in triplets.values()))]
    said.begin_list()
    for entry in sorted(entries, key=lambda one: one.start):
        if isinstance(entry, _Stretch):
            label = _plain(entry.label) or default_label or f'region {entry.region_id}'
            said.list_label(label, entry.region_id)
        else:
            relation = _relation(entry, {str(one.region_id) for one in inside
                                         if entry.start <= one.start < entry.end})
            relations.append(relation)
            said.list_relation(relation)
    return True


def _is_triplet(item: JsonItem) -> bool:
    ends = [item.fields.get(end) for end in _ENDS]
    return isinstance(item.fields.get('predicate'), str) and all(
        isinstance(end, dict | str) for end in ends)


def _relation(item: JsonItem, regions: Collection[str]) -> Relation:
    (subject, subject_id), (thing, object_id) = (
        _end(item.fields[end], regions) for end in _ENDS)
    return Relation(subject, subject_id, _plain(item.fields['predicate']), thing, object_id)


def _end(value: 'dict | str', regions: Collection[str]) -> tuple[str, int]:
    """Return label and region of one end of a triplet; `regions` are the numbers in it.

    JSON escapes can write what looks like a place, but not one where mask words are.
    """
    if isinstance(value, str):
        return _plain(value), NO_REGION
    label, words = value.get('label'), value.get('mask_2d')
    found = _PLACE.search(words) if isinstance(words, str) else None
    return (_plain(label) if isinstance(label, str) else '',
            int(found[1]) if found and found[1] in regions else NO_REGION)


def _plain(label: str) -> str:
    """Return a label without mask words, which JSON escapes or a goal may bring in."""
    # Half of a surrogate pair is valid JSON, but no message can carry it.
    label = label.encode(errors='replace').decode()
    while (shorter := _MASK_WORD.sub('', label)) != label:
        label = shorter
    return label


def _choice(said: str, choice_count: int) -> str:
    """Return the letter that an answer chooses: it stands alone, or first with a mark behind."""
    found = _LETTER.fullmatch(said) or _LETTER_FIRST.match(said)
    letter = next(filter(None, found.groups()), '').upper() if found else ''
    known = [chr(ord('A') + number) for number in range(min(choice_count, MOST_CHOICES))]
    return letter if letter in known else ''


def _thought(text: str, answer_start: int) -> str:
    """Return what stands in the thinking, in front of the answer."""
    before = text[:answer_start]
    if '<think>' not in before and '</think>' not in before:
        return ''
    thought = before.lstrip().removeprefix('<think>')
    return thought[:thought.rfind('</think>')].strip() if '</think>' in thought else thought.strip()


def _merged(intervals: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield intervals in order, those that overlap as one."""
    last: tuple[int, int] | None = None
    for first, end in sorted(intervals):
        if last is not None and first < last[1]:
            last = last[0], max(last[1], end)
            continue
        if last is not None:
            yield last
        last = first, end
    if last is not None and last[0] < last[1]:
        yield last
