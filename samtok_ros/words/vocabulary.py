# SPDX-License-Identifier: Apache-2.0
"""Codes <-> mask words <-> token ids."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

from samtok_ros.errors import CheckpointError, ConfigError, SpanError

_MAX_WORDS = 10_000
"""Word numbers have four digits."""

_CODE_WORD = re.compile(r'<\|mt_([0-9]{4})\|>')


class TextTokenizer(Protocol):
    """What is needed of a text tokenizer; those of transformers have it."""

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]:
        """Return one id per token; None or the id of the unknown token where there is none."""


@dataclass(frozen=True)
class MaskVocabulary:
    """The words a vision-language model needs to speak of masks.

    Attributes:
        codebook_size: K, number of codes of one level.
        codebook_depth: D, number of levels, and of words in one span.
    Source: spec of the published vocabulary, 514 words for 256 x 2.
    """

    start_word: ClassVar[str] = '<|mt_start|>'
    end_word: ClassVar[str] = '<|mt_end|>'

    codebook_size: int = 256
    codebook_depth: int = 2

    def __post_init__(self) -> None:
        """Refuse sizes that the four digits of a word cannot hold.

        Raises:
            ConfigError: no codes, no levels, or more than 10000 words.
        """
        count = self.codebook_size * self.codebook_depth
        if min(self.codebook_size, self.codebook_depth) < 1 or count > _MAX_WORDS:
            raise ConfigError(
                'vocabulary size does not fit four-digit words',
                expected=f'codebook_size x codebook_depth in 1..{_MAX_WORDS}',
                got=f'{self.codebook_size} x {self.codebook_depth}',
            )

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All words in the order in which they are added to a text tokenizer."""
        return (self.start_word, *self._code_words, self.end_word)

    def word(self, level: int, code: int) -> str:
        """Return the mask word of one code.

        Args:
            level: 0 for the first codebook.
            code: in [0, K), without offset.
        Raises:
            SpanError: there is no such level or code.
        """
        if not (0 <= level < self.codebook_depth and 0 <= code < self.codebook_size):
            raise SpanError(
                'code is outside the vocabulary',
                expected=f'level below {self.codebook_depth}, code below {self.codebook_size}',
                got=f'level {level}, code {code}',
            )
        return self._code_words[level * self.codebook_size + code]

    def place(self, word_number: int) -> tuple[int, int]:
        """Return (level, code) of a word number, the number printed in a mask word.

        Raises:
            SpanError: no word has that number.
        """
        if not 0 <= word_number < len(self._code_words):
            raise SpanError(
                'word number is outside the vocabulary',
                expected=f'0..{len(self._code_words) - 1}',
                got=word_number,
            )
        return divmod(word_number, self.codebook_size)

    def codes_to_words(self, codes: Sequence[int]) -> str:
        """Return the mask span of one mask: start word, one word per level, end word.

        Args:
            codes: D codes in level order, each in [0, K), without offset.
        Raises:
            SpanError: wrong number of codes, or a code outside the vocabulary.
        """
        _check_count(codes, self.codebook_depth)
        words = [self.word(level, int(code)) for level, code in enumerate(codes)]
        return ''.join((self.start_word, *words, self.end_word))

    def words_to_codes(self, span: str) -> tuple[int, ...]:
        """Return the codes of exactly one mask span; the inverse of codes_to_words.

        To find spans in running text use span_parser.

        Raises:
            SpanError: the text is not one well-formed span of this vocabulary.
        """
        numbers = [int(number) for number in _CODE_WORD.findall(span)]
        places = [self.place(number) for number in numbers]
        codes = tuple(code for _, code in places)
        well_formed = [level for level, _ in places] == list(range(self.codebook_depth))
        if not well_formed or span != self.codes_to_words(codes):
            raise SpanError(
                'text is not one mask span',
                expected=f'a span like {self.codes_to_words([0] * self.codebook_depth)}',
                got=repr(span[:80]),
            )
        return codes

    @cached_property
    def _code_words(self) -> tuple[str, ...]:
        count = self.codebook_size * self.codebook_depth
        return tuple(f'<|mt_{number:04d}|>' for number in range(count))


@dataclass(frozen=True)
class MaskTokenIds:
    """Ids of the mask words in one text tokenizer: start, all code words, end, without a gap.

    The ids differ between models, so they are looked up when a model is loaded.

    Attributes:
        start_id: id of the start word.
        end_id: id of the end word.
        level_ids: D ranges of K ids, one per level.
    """

    start_id: int
    end_id: int
    level_ids: tuple[range, ...]

    def __post_init__(self) -> None:
        """Check what the grammar relies on: the ids form one range in the order of the words.

        Raises:
            CheckpointError: they do not.
        """
        starts = [self.start_id + 1, *(ids.stop for ids in self.level_ids)]
        ends = [*(ids.start for ids in self.level_ids), self.end_id]
        if not self.level_ids or starts != ends or not all(self.level_ids):
            raise CheckpointError(
                'ids of the mask words are not one range',
                expected='start, code words by level, end, without a gap',
                got=f'{self.start_id}, {self.level_ids}, {self.end_id}',
            )

    @classmethod
    def from_text_tokenizer(
        cls, text_tokenizer: TextTokenizer, vocabulary: MaskVocabulary
    ) -> 'MaskTokenIds':
        """Look the words up in a text tokenizer.

        Raises:
            CheckpointError: a word is missing, or the ids have a gap or another order.
        """
        ids = text_tokenizer.convert_tokens_to_ids(list(vocabulary.words))
        unknown = (None, getattr(text_tokenizer, 'unk_token_id', None))
        missing = [word for word, i in zip(vocabulary.words, ids, strict=True) if i in unknown]
        if missing:
            raise CheckpointError(
                'text tokenizer lacks mask words',
                expected=f'{len(ids)} words',
                got=f'{len(ids) - len(missing)}, first missing {missing[0]}',
                fix='use a SAMTok model, or add the words of MaskVocabulary.words in their order',
            )
        first = ids[0]
        for offset, (word, token_id) in enumerate(zip(vocabulary.words, ids, strict=True)):
            if token_id != first + offset:
                raise CheckpointError(
                    'ids of the mask words are not consecutive',
                    expected=f'id {first + offset} for {word}',
                    got=token_id,
                    fix='add the words of MaskVocabulary.words in their order, in one call',
                )
        size = vocabulary.codebook_size
        bounds = [first + 1 + level * size for level in range(vocabulary.codebook_depth)]
        return cls(first, ids[-1], tuple(range(start, start + size) for start in bounds))

    def codes_to_ids(self, codes: Sequence[int]) -> tuple[int, ...]:
        """Return the token ids of the mask span of one mask.

        Args:
            codes: D codes in level order, each in [0, K), without offset.
        Raises:
            SpanError: wrong number of codes, or a code outside the vocabulary.
        """
        _check_count(codes, len(self.level_ids))
        words = [self._word_id(level, int(code)) for level, code in enumerate(codes)]
        return (self.start_id, *words, self.end_id)

    def ids_to_codes(self, token_ids: Sequence[int]) -> tuple[int, ...]:
        """Return the codes of exactly one mask span; the inverse of codes_to_ids.

        Raises:
            SpanError: the ids are not one well-formed span.
        """
        words = list(zip(map(int, token_ids[1:-1]), self.level_ids, strict=False))
        codes = tuple(token_id - ids.start for token_id, ids in words)
        in_range = all(token_id in ids for token_id, ids in words)
        framed = len(token_ids) == len(self.level_ids) + 2 and (
            (int(token_ids[0]), int(token_ids[-1])) == (self.start_id, self.end_id)
        )
        if not (framed and in_range):
            raise SpanError(
                'token ids are not one mask span',
                expected=f'start, {len(self.level_ids)} words in level order, end',
                got=[int(token_id) for token_id in token_ids],
            )
        return codes

    def _word_id(self, level: int, code: int) -> int:
        ids = self.level_ids[level]
        if not 0 <= code < len(ids):
            raise SpanError(
                'code is outside the vocabulary',
                expected=f'0..{len(ids) - 1}',
                got=f'{code} at level {level}',
            )
        return ids[code]


def _check_count(codes: Sequence[int], depth: int) -> None:
    if len(codes) != depth:
        raise SpanError(
            'wrong number of codes', expected=f'{depth}, one per level', got=len(codes)
        )
