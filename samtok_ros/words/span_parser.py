# SPDX-License-Identifier: Apache-2.0
"""Text -> mask spans, with every malformed one listed.

A state machine reads from left to right, so that text may come in pieces as a model writes it.
Nothing is repaired: a wrong mask is worse than a missing one.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from samtok_ros.regions import MalformedSpan
from samtok_ros.words.vocabulary import MaskVocabulary

_MARKER = re.compile(r'<\|mt_([A-Za-z0-9_]{0,16})\|>')
_BROKEN = re.compile(r'<\|mt_[A-Za-z0-9_]{0,16}')
_UNDECIDED = re.compile(r'<(\|(m(t(_([A-Za-z0-9_]{0,16}\|?)?)?)?)?)?\Z')
"""What may still become a marker when more text comes."""
_CODE_WORD = re.compile(r'[0-9]{4}')


class Reason(StrEnum):
    """Why a stretch of mask words is no mask span."""

    NO_START = 'code words without a start word'
    STRAY_END = 'end word without a start word'
    UNKNOWN_WORD = 'word outside the vocabulary'
    BROKEN_WORD = 'mask word broken off'
    WRONG_LEVEL = 'word of the wrong level'
    MISSING_WORD = 'end word before every level has a word'
    EXTRA_WORD = 'more words than levels'
    TEXT_INSIDE = 'text before the end word'
    RESTARTED = 'start word before the end word'
    UNCLOSED = 'text stopped before the end word'


@dataclass(frozen=True)
class MaskSpan:
    """One well-formed span in a text.

    Attributes:
        codes: D codes in level order, each in [0, K).
        start: offset of the first character of the start word.
        end: offset behind the last character of the end word.
    """

    codes: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class ParsedText:
    """Everything found in a text, each list in order of position."""

    spans: tuple[MaskSpan, ...]
    malformed: tuple[MalformedSpan, ...]


@dataclass
class _Stretch:
    """Mask words read since the last start word, or since the first stray one."""

    position: int
    opened: bool
    reason: Reason | None = None
    codes: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    kept: int = 0
    """Number of pieces up to the last mask word; text behind it is not part of the damage."""

    def add_word(self, text: str) -> None:
        self.pieces.append(text)
        self.kept = len(self.pieces)

    def blame(self, reason: Reason) -> None:
        self.reason = self.reason or reason

    def malformed(self) -> MalformedSpan:
        text = ''.join(self.pieces[: self.kept])
        return MalformedSpan(self.reason or Reason.UNCLOSED, self.position, text)


class SpanParser:
    """Finds the mask spans of one text.

    A damaged span is reported once, with the first thing that was wrong with it. It reaches to the
    next end word; if a start word or the end of the text comes first, to the last mask word before
    that. Code words and end words outside a span are reported together while they are adjacent.
    """

    def __init__(self, vocabulary: MaskVocabulary) -> None:
        self._vocabulary = vocabulary
        self._pending = ''
        self._offset = 0
        self._stretch: _Stretch | None = None
        self._spans: list[MaskSpan] = []
        self._malformed: list[MalformedSpan] = []

    @property
    def malformed(self) -> tuple[MalformedSpan, ...]:
        """Malformed spans known so far."""
        return tuple(self._malformed)

    def parse(self, text: str) -> ParsedText:
        """Read a whole text; independent of what was fed to this parser."""
        parser = SpanParser(self._vocabulary)
        parser.feed(text)
        return parser.close()

    def feed(self, piece: str) -> list[MaskSpan]:
        """Read the next piece of the text; it may be cut anywhere, also inside a word.

        Returns:
            The spans that this piece closed, with offsets in the text fed so far.
        """
        known = len(self._spans)
        self._pending += piece
        self._read(at_end=False)
        return self._spans[known:]

    def close(self) -> ParsedText:
        """Declare the text finished and return everything found in it."""
        self._read(at_end=True)
        if self._stretch:
            self._report(Reason.UNCLOSED)
        return ParsedText(tuple(self._spans), tuple(self._malformed))

    def _read(self, *, at_end: bool) -> None:
        text, at = self._pending, 0
        while at < len(text):
            if text[at] != '<':
                end = text.find('<', at)
                end = len(text) if end < 0 else end
                self._take_text(text[at:end])
            elif marker := _MARKER.match(text, at):
                end = marker.end()
                self._take_word(marker[1], marker[0])
            elif not at_end and _UNDECIDED.match(text, at):
                break
            elif broken := _BROKEN.match(text, at):
                end = broken.end()
                self._take_code(broken[0], Reason.BROKEN_WORD)
            else:
                end = at + 1
                self._take_text('<')
            self._offset += end - at
            at = end
        self._pending = text[at:]

    def _take_text(self, text: str) -> None:
        if self._stretch and self._stretch.opened:
            self._stretch.blame(Reason.TEXT_INSIDE)
            self._stretch.pieces.append(text)
        elif self._stretch:
            self._report()

    def _take_word(self, name: str, text: str) -> None:
        if text == self._vocabulary.start_word:
            if self._stretch:
                self._report(Reason.RESTARTED)
            self._stretch = _Stretch(self._offset, opened=True)
            self._stretch.add_word(text)
        elif text == self._vocabulary.end_word:
            self._take_end(text)
        else:
            self._take_code(text, self._place(name))

    def _place(self, name: str) -> tuple[int, int] | Reason:
        """Return level and code of a code word, or why it has none."""
        words = self._vocabulary.codebook_size * self._vocabulary.codebook_depth
        if _CODE_WORD.fullmatch(name) and int(name) < words:
            return self._vocabulary.place(int(name))
        return Reason.UNKNOWN_WORD

    def _take_code(self, text: str, place: tuple[int, int] | Reason) -> None:
        if self._stretch is None:
            self._stretch = _Stretch(self._offset, opened=False)
            self._stretch.blame(place if isinstance(place, Reason) else Reason.NO_START)
        stretch = self._stretch
        stretch.add_word(text)
        if isinstance(place, Reason):
            stretch.blame(place)
        elif len(stretch.codes) == self._vocabulary.codebook_depth:
            stretch.blame(Reason.EXTRA_WORD)
        elif place[0] != len(stretch.codes):
            stretch.blame(Reason.WRONG_LEVEL)
        else:
            stretch.codes.append(place[1])

    def _take_end(self, text: str) -> None:
        if self._stretch is None:
            self._stretch = _Stretch(self._offset, opened=False, reason=Reason.STRAY_END)
        stretch = self._stretch
        stretch.add_word(text)
        if len(stretch.codes) < self._vocabulary.codebook_depth:
            stretch.blame(Reason.MISSING_WORD)
        if stretch.reason:
            self._report()
        else:
            end = self._offset + len(text)
            self._spans.append(MaskSpan(tuple(stretch.codes), stretch.position, end))
            self._stretch = None

    def _report(self, reason: Reason | None = None) -> None:
        """List the current stretch as malformed; the reason counts if it has none yet."""
        if reason:
            self._stretch.blame(reason)
        self._malformed.append(self._stretch.malformed())
        self._stretch = None
