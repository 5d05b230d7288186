# SPDX-License-Identifier: Apache-2.0
"""Mask words that users type or paste."""

from typing import TYPE_CHECKING

from samtok_ros.errors import ConfigError, SpanError

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
        raise _no_words(text, vocabulary)
    return [span.codes for span in parsed.spans]


def read_words_by_order(text: str, vocabulary: 'MaskVocabulary') -> list[tuple[int, ...]]:
    """Return the pairs of codes that the published demo reads, damaged spans included.

    The second code of a pair is NO_CODE where its word is missing.

    Raises:
        ConfigError: the vocabulary is not of pairs.
        SpanError: there are no words.
    """
    from samtok_ros.words.compatibility import pair_by_order

    if vocabulary.codebook_depth != 2:
        raise ConfigError('only words of two levels can be paired by order',
                          got=f'{vocabulary.codebook_depth} levels')
    pairs = pair_by_order(text, vocabulary.codebook_size)
    if not pairs:
        raise _no_words(text, vocabulary)
    return pairs


def _no_words(text: str, vocabulary: 'MaskVocabulary') -> SpanError:
    example = vocabulary.codes_to_words((0,) * vocabulary.codebook_depth)
    return SpanError('there are no mask words', expected=f"words in quotes, such as '{example}'",
                     got=repr(text[:80]))
