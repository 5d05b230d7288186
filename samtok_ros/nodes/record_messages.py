# SPDX-License-Identifier: Apache-2.0
"""Answer records -> messages, cut to the bounds of these."""

from samtok_ros.msg import AnswerRecord, Phrase, Relation
from samtok_ros.nodes.conversions import MAX_LABEL_BYTES, MAX_MESSAGE_BYTES, MAX_REGIONS, cut_text
from samtok_ros.words import answer_record as records

_MOST_BYTES = 16384
_MOST_UNPARSED = 16
_MOST_LETTERS = 8


def record_to_message(record: records.AnswerRecord) -> AnswerRecord:
    """Return a record as a message; phrases that lie behind a cut of the text are left out."""
    text = cut_text(record.text, _MOST_BYTES)
    phrases = [phrase for phrase in record.phrases if phrase.end <= len(text)]
    return AnswerRecord(
        text=text, thought=cut_text(record.thought, _MOST_BYTES),
        phrases=[_phrase(phrase) for phrase in phrases[:MAX_REGIONS]],
        choice=cut_text(record.choice, _MOST_LETTERS),
        relations=[_relation(relation) for relation in record.relations[:MAX_REGIONS]],
        unparsed=[cut_text(part, MAX_MESSAGE_BYTES) for part in record.unparsed[:_MOST_UNPARSED]])


def _phrase(phrase: records.Phrase) -> Phrase:
    ids = [number for number in phrase.region_ids if number <= MAX_REGIONS]
    return Phrase(text=cut_text(phrase.text, MAX_LABEL_BYTES), start=phrase.start, end=phrase.end,
                  ids=ids)


def _relation(relation: records.Relation) -> Relation:
    subject_id, object_id = (number if number <= MAX_REGIONS else records.NO_REGION
                             for number in (relation.subject_id, relation.object_id))
    return Relation(
        subject=cut_text(relation.subject, MAX_LABEL_BYTES), subject_id=subject_id,
        predicate=cut_text(relation.predicate, MAX_LABEL_BYTES),
        object=cut_text(relation.object, MAX_LABEL_BYTES), object_id=object_id)
