# SPDX-License-Identifier: Apache-2.0
"""Finds the objects of a JSON list that a model wrote, also when the list is damaged or cut."""

import json
import re
from dataclasses import dataclass

_FENCE = '```'
_OPENING = re.compile(r'```(?:json)?\s*(?=[\[{])|\[\s*(?=\{\s*")|(?=\{\s*"(?:mask_2d|subject)")')
_BETWEEN = re.compile(r'[\s,\[]*')
_OURS = re.compile(r'"(?:mask_2d|subject|predicate|object)"')
_MOST_FAILURES = 64
_decoder = json.JSONDecoder(strict=False)


@dataclass(frozen=True)
class JsonItem:
    """One object of a list: its fields, and where it stands in the text."""

    fields: dict
    start: int
    end: int


@dataclass(frozen=True)
class JsonBlock:
    """A stretch of a text that is meant as JSON.

    Attributes:
        start, end: where it stands in the text, fence included.
        items: the objects of its list that could be read, in order.
        gaps: stretches that could not, and that are not just layout; as (start, end).
        is_ours: whether it looks like a mask list or a scene graph.
    """

    start: int
    end: int
    items: tuple[JsonItem, ...]
    gaps: tuple[tuple[int, int], ...]
    is_ours: bool


def find_block(text: str, start: int, end: int) -> JsonBlock | None:
    """Find the next JSON block of a text, in a fence or bare.

    Args:
        text: in which to look.
        start: where to begin.
        end: where to stop; what stands behind it is not there.
    """
    opening = _OPENING.search(text, start, end)
    if opening is None:
        return None
    fenced = opening[0].startswith(_FENCE)
    closing = text.find(_FENCE, opening.end(), end) if fenced else -1
    limit = end if closing < 0 else closing
    items, gaps, stop = _scan(text, opening.end(), limit, fenced)
    block_end = closing + len(_FENCE) if closing >= 0 else stop
    is_ours = _OURS.search(text, opening.start(), block_end) is not None
    return JsonBlock(opening.start(), block_end, tuple(items), tuple(gaps), is_ours)


def _scan(
    text: str, at: int, limit: int, fenced: bool,
) -> tuple[list[JsonItem], list[tuple[int, int]], int]:
    """Read objects one by one; what cannot be read reaches to the next one of the same list."""
    items: list[JsonItem] = []
    gaps: list[tuple[int, int]] = []
    while (at := _BETWEEN.match(text, at, limit).end()) < limit:
        if text[at] == ']':
            at += 1
            if not fenced:
                break
            continue
        item = _read_item(text, at, limit)
        if item is not None:
            if _is_known(item):
                items.append(item)
            else:
                gaps.append((item.start, item.end))
            at = item.end
            continue
        following = limit if len(gaps) >= _MOST_FAILURES else _next_item(text, at + 1, limit)
        if not fenced and items and text[at] != '{' and following == limit:
            break  # a bare list whose closing bracket is missing, and prose behind it
        gaps.append((at, len(text[:following].rstrip(' \n\t,')) if following < limit else limit))
        at = following
    return items, gaps, at


def _is_known(item: JsonItem) -> bool:
    fields = item.fields
    return 'mask_2d' in fields or {'subject', 'predicate', 'object'} <= fields.keys()


def _read_item(text: str, at: int, limit: int) -> JsonItem | None:
    if text[at] != '{':
        return None
    try:
        fields, end = _decoder.raw_decode(text, at)
    except (ValueError, RecursionError):  # damaged, cut short, or nested without end
        return None
    return JsonItem(fields, at, end) if end <= limit else None


def _next_item(text: str, at: int, limit: int) -> int:
    """Return where the next object begins that is no value of a field."""
    while (at := text.find('{', at, limit)) >= 0:
        before = at - 1
        while before >= 0 and text[before].isspace():
            before -= 1
        if before < 0 or text[before] != ':':
            return at
        at += 1
    return limit
