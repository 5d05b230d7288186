# SPDX-License-Identifier: Apache-2.0
"""Mask words that users type or paste."""

from typing import TYPE_CHECKING

from samtok_ros.errors import SpanError

if TYPE_CHECKING:
    from samtok_ros.words.vocabulary import MaskVocabulary

_MARK = '<|mt_'


def looks_like_words(text: str) -> bool:
    """Say whether a text is meant as mask words rather than as a path."""
    return _MARK in text


def read_words(text: str, vocabulary: 'MaskVocabulary') -> list[tuple[int, ...]]:
    """Return the codes of all spans in a text, such as a whole answer, in their order.

    Raises:
        SpanError: there is no span, or a damaged one; none is repaired or left out.
    """
    from samtok_ros.words.span_parser import SpanParser

    parsed = SpanParser(vocabulary).parse(text)
    if parsed.malformed:
        span = parsed.malformed[0]
        raise SpanError(f'malformed span at character {span.position}: {span.reason}',
                        got=repr(span.text), fix='copy the words again, whole')
    if not parsed.spans:
        example = vocabulary.codes_to_words((0,) * vocabulary.codebook_depth)
        raise SpanError('there are no mask words', expected=f"words in quotes, such as '{example}'",
                        got=repr(text[:80]))
    return [span.codes for span in parsed.spans]
