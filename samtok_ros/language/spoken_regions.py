# SPDX-License-Identifier: Apache-2.0
"""Joins what the model wrote with the scores of its spans: an Answer, its masks not yet drawn."""

from collections.abc import Sequence

from samtok_ros.language.generation import Finished, SpanClosed
from samtok_ros.regions import Answer, MalformedSpan, Region
from samtok_ros.words.answer_record import AnswerRecord
from samtok_ros.words.answers import read_answer
from samtok_ros.words.record_reader import read_record
from samtok_ros.words.vocabulary import MaskVocabulary

SPELLED_OUT = 'mask words spelled letter by letter'
"""Reason of a span that looks right but was not written with mask words, so has no score.

A model does that when it repeats a question into which somebody typed mask words.
"""


def spoken_answer(
    finished: Finished,
    spans: Sequence[SpanClosed],
    vocabulary: MaskVocabulary,
    default_label: str = '',
) -> Answer:
    """Read regions and labels from a finished answer.

    Args:
        finished: last event of the answer.
        spans: all its SpanClosed events.
        vocabulary: of the model.
        default_label: for spans that the answer puts no phrase to.
    """
    found = read_answer(finished.text, vocabulary, default_label)
    scores = {span.position: span.score for span in spans}
    written = [item for item in found.spans if item.span.start in scores]
    malformed = [*found.malformed, *(
        MalformedSpan(SPELLED_OUT, span.start, finished.text[span.start : span.end])
        for span in (item.span for item in found.spans) if span.start not in scores)]
    regions = tuple(
        Region(number, item.span.codes, item.label, scores[item.span.start])
        for number, item in enumerate(written, start=1))
    return Answer(finished.text, regions, tuple(sorted(malformed, key=lambda m: m.position)),
                  finished.reason)


def answer_record(
    answer: Answer, vocabulary: MaskVocabulary, default_label: str = '', choice_count: int = 0,
) -> AnswerRecord:
    """Read an answer as programs want it; its region ids are those of the answer's regions.

    Args:
        answer: finished or cut short.
        vocabulary: of the model.
        default_label: as for spoken_answer.
        choice_count: how many options there were to choose from, 0 for no such question.
    """
    spelled = {one.position for one in answer.malformed if one.reason == SPELLED_OUT}
    return read_record(answer.text, vocabulary, default_label=default_label,
                       choice_count=choice_count, not_regions=spelled)
