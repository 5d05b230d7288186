# SPDX-License-Identifier: Apache-2.0
"""Instructions and answers with regions in them, before anybody knows their mask words."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from samtok_ros.words.answers import MaskItem, format_mask_list
from samtok_ros.words.vocabulary import MaskVocabulary


@dataclass(frozen=True)
class SpanOf:
    """Stands for the mask words of an object."""

    object_id: int


@dataclass(frozen=True)
class About:
    """Words that tell something of objects: whoever writes them looks at these.

    Attributes:
        text: the words.
        object_ids: what they are about; more than one for what holds between them.
    """

    text: str
    object_ids: tuple[int, ...]


Part = str | SpanOf | About
Text = tuple[Part, ...]

_CODES = (0, 0)
_MARK = re.compile('<\\|mt_start\\|>.*?<\\|mt_end\\|>|@[0-9]+@')


def spans_in(text: Text) -> tuple[int, ...]:
    """Return the ids of the objects whose mask words stand in a text, in order."""
    return tuple(part.object_id for part in text if isinstance(part, SpanOf))


def write(text: Text, spans: Mapping[int, str]) -> str:
    """Write a text, with a string for each object whose mask words stand in it."""
    return ''.join(
        spans[part.object_id] if isinstance(part, SpanOf) else part if isinstance(part, str)
        else part.text for part in text)


def spans_of_codes(
    codes: Mapping[int, Sequence[int]] | Sequence, object_ids: Sequence[int],
    vocabulary: MaskVocabulary,
) -> dict[int, str]:
    """Return the mask words of some objects by their codes."""
    return {number: vocabulary.codes_to_words(tuple(int(c) for c in codes[number]))
            for number in object_ids}


def mask_list(items: Sequence[tuple[int, Part]]) -> Text:
    """Lay out a mask list as published: an object and its label each."""
    marked = format_mask_list([MaskItem(_CODES, f'@{number}@') for number in range(len(items))])
    return _filled(marked, [part for object_id, label in items
                            for part in (SpanOf(object_id), label)])


def scene_graph(triplets: Sequence[tuple[tuple[int, Part], Part, tuple[int, Part]]]) -> Text:
    """Lay out a scene graph as published: subject and object with label, predicate between.

    Source: samtok-spec 3.4, PSG.
    """
    parts: list[Part] = ['```json\n[']
    for number, (subject, predicate, thing) in enumerate(triplets):
        parts += [',\n' if number else '', '{"subject": {"mask_2d": "', SpanOf(subject[0]),
                  '", "label": "', subject[1], '"}, "predicate": "', predicate,
                  '", "object": {"mask_2d": "', SpanOf(thing[0]), '", "label": "', thing[1],
                  '"}}']
    return (*parts, ']\n```')


def fill(template: str, parts: Mapping[str, Part | Text]) -> Text:
    """Put parts into the {names} of a prompt."""
    result: list[Part] = []
    for number, piece in enumerate(re.split(r'\{([a-z]+)\}', template)):
        value = parts[piece] if number % 2 else piece
        result += value if isinstance(value, tuple) else [value]
    return tuple(part for part in result if part != '')


def _filled(marked: str, parts: Sequence[Part]) -> Text:
    """Put parts in the place of dummy spans and @numbers@, in their order."""
    return tuple(_interleaved(_MARK.split(marked), parts))


def _interleaved(texts: Sequence[str], parts: Sequence[Part]) -> Iterator[Part]:
    for text, part in zip(texts, (*parts, ''), strict=True):
        yield from (piece for piece in (text, part) if piece != '')
