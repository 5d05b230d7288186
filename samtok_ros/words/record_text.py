# SPDX-License-Identifier: Apache-2.0
"""Writes the text of a record and keeps count of where the phrases stand in it."""

from samtok_ros.words.answer_record import NO_REGION, Phrase, Relation

_CLOSING = ',.;:!?)'
_BLANKS = ' \t'
_WORD_SIGNS = '_<|'


class RecordText:
    """Text for people, piece by piece.

    Where markup is left out, the blanks on its two sides become one, and none in front of a comma
    or full stop; all other blanks and lines stay as they were written.
    """

    def __init__(self) -> None:
        self.text = ''
        self._phrases: list[tuple[int, int, list[int]]] = []
        self._seam = False
        self._open: int | None = None
        self._named: list[int] | None = None
        self._separator = ''
        self._labels: dict[str, list[int]] = {}

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """All phrases so far, in order."""
        return tuple(Phrase(self.text[start:end], start, end, tuple(ids))
                     for start, end, ids in self._phrases)

    def add(self, piece: str) -> None:
        """Write text as it is."""
        if piece.strip():
            self._named = None
        if self._seam and piece:
            piece = self._joined(piece)
        self.text += piece

    def drop(self) -> None:
        """Leave something out."""
        self._seam = True
        self._named = None

    def open_phrase(self) -> None:
        """Begin a phrase; one that is open is none."""
        self._seam = True
        self._open = len(self.text)
        self._named = None

    def close_phrase(self) -> None:
        """End the open phrase: regions that follow are its regions."""
        self._seam = True
        self._named = None
        if self._open is None:
            return
        said = self.text[self._open:]
        end = len(self.text.rstrip())
        start = self._open + len(said) - len(said.lstrip())
        self._open = None
        if start < end:
            self._named = []
            self._phrases.append((start, end, self._named))

    def name_region(self, region_id: int, default_label: str) -> None:
        """Add a region to the phrase in front of it; where there is none, give it a name.

        A phrase that is still open when a region is named is none.
        """
        if self._named is not None:
            self._named.append(region_id)
            self._seam = True
            return
        self._seam, self._open = True, None
        self._write_phrase(default_label or f'region {region_id}', [region_id])
        self._seam = True

    def begin_list(self) -> None:
        """Begin to list labels or relations."""
        self._open = self._named = None
        if self.text and not self.text[-1].isspace():
            self.text += ' '
        self._seam = False
        self._separator = ''
        self._labels = {}

    def list_label(self, label: str, region_id: int) -> None:
        """List a labelled region; equal labels are listed once, with all their regions."""
        ids = self._labels.get(label)
        if ids is not None:
            ids.append(region_id)
            return
        ids = self._labels[label] = [region_id]
        self.text += self._separator
        self._separator = ', '
        self._write_phrase(label, ids)

    def list_relation(self, relation: Relation) -> None:
        """List a triplet."""
        if self._separator:
            self.text += '; '
        self._separator = '; '
        self._write_phrase(relation.subject, _ids(relation.subject_id))
        self.text += f' {relation.predicate} '
        self._write_phrase(relation.object, _ids(relation.object_id))

    def _write_phrase(self, words: str, ids: list[int]) -> None:
        if self._seam:
            words = self._joined(words)
        start = len(self.text)
        self.text += words
        shorter = words.lstrip()
        start += len(words) - len(shorter)
        if shorter.strip():
            self._phrases.append((start, start + len(shorter.rstrip()), ids))

    def _joined(self, piece: str) -> str:
        """Return a piece as it follows on what was left out."""
        self._seam = False
        bare = piece.lstrip(_BLANKS)
        if not bare:
            self._seam = True
            return '' if not self.text or self.text[-1].isspace() else ' '
        if bare[0] in _CLOSING:
            self.text = self.text.rstrip(_BLANKS)
            if self._open is not None:
                self._open = min(self._open, len(self.text))
            return bare
        if not self.text or self.text[-1].isspace():
            return bare
        # Nor may two halves of a mask word meet and become one.
        glued = len(bare) == len(piece) and _in_word(self.text[-1]) and _in_word(piece[0])
        return f' {bare}' if glued or len(bare) < len(piece) else bare


def _in_word(sign: str) -> bool:
    return sign.isalnum() or sign in _WORD_SIGNS


def _ids(region_id: int) -> list[int]:
    return [] if region_id == NO_REGION else [region_id]
