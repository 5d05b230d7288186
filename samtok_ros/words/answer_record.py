# SPDX-License-Identifier: Apache-2.0
"""An answer as a program wants it: phrases with their regions, choice, relations."""

from dataclasses import dataclass

NO_REGION = 0
"""Region id of an end of a relation to which the answer gives no region."""


@dataclass(frozen=True)
class Phrase:
    """A stretch of an answer that names regions.

    Attributes:
        text: the words.
        start: offset of its first character in AnswerRecord.text.
        end: offset behind its last character.
        region_ids: numbers of the regions that it names, from 1 in the order of the well-formed
            mask spans of the answer; empty where the answer marks a phrase but gives no mask.
    """

    text: str
    start: int
    end: int
    region_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Relation:
    """A triplet of a scene graph: the subject stands in this relation to the object.

    Attributes:
        subject: what the answer calls it.
        subject_id: number of its region, NO_REGION where the answer gives none.
        predicate: the relation.
        object: what the answer calls it.
        object_id: as subject_id.
    """

    subject: str
    subject_id: int
    predicate: str
    object: str
    object_id: int


@dataclass(frozen=True)
class AnswerRecord:
    """An answer, read.

    Attributes:
        text: the answer for people: no mask words, no markup, no thoughts.
        thought: what the model thought aloud before it answered.
        phrases: what names regions, in order. Of a list of masks: the labels, each once; of a scene
            graph: subjects and objects.
        choice: letter of the option that was chosen, '' where none was asked for or said.
        relations: triplets of a scene graph, in order.
        unparsed: what looks like part of the answer but could not be read, as it was written.
    """

    text: str = ''
    thought: str = ''
    phrases: tuple[Phrase, ...] = ()
    choice: str = ''
    relations: tuple[Relation, ...] = ()
    unparsed: tuple[str, ...] = ()
