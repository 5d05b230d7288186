# SPDX-License-Identifier: Apache-2.0
"""Token ids -> text, one token at a time."""

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def _bytes_by_letter() -> dict[str, int]:
    """Return the byte that each letter of a byte-level BPE piece stands for.

    Printable bytes stand for themselves; the rest are numbered from 256 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES_BY_LETTER = _bytes_by_letter()


class TextStream:
    """Decodes an answer while it is written.

    A character of several bytes may be spread over tokens: it comes with the last of them. Bytes
    that are no character become U+FFFD, as in a decode of the whole answer.

    Args:
        text_tokenizer: of the model.
        added_words: its added tokens, which are written as they are; listing them takes longer than
            writing a token, so whoever answers again and again keeps them.
    """

    def __init__(
        self, text_tokenizer: 'PreTrainedTokenizerFast', added_words: frozenset[str],
    ) -> None:
        self._text_tokenizer = text_tokenizer
        self._added = added_words
        self._decoder = codecs.getincrementaldecoder('utf-8')('replace')
        self._pieces: list[str] = []
        self.length = 0
        """Characters so far."""

    @property
    def text(self) -> str:
        """Everything so far."""
        return ''.join(self._pieces)

    def push(self, token_id: int) -> str:
        """Take one more token and return the text it completes, often one word or nothing."""
        piece = self._text_tokenizer.convert_ids_to_tokens(token_id)
        if piece in self._added:
            return self._keep(self._decoder.decode(b'', final=True) + piece)
        if piece is None:  # padded rows of the embedding table have no text
            return ''
        return self._keep(self._decoder.decode(bytes(_BYTES_BY_LETTER[c] for c in piece)))

    def close(self) -> str:
        """Return what is left when no more tokens come."""
        return self._keep(self._decoder.decode(b'', final=True))

    def _keep(self, piece: str) -> str:
        self._pieces.append(piece)
        self.length += len(piece)
        return piece
