# SPDX-License-Identifier: Apache-2.0
"""From what the model says about a frame to the record that leaves the node."""

from samtok_ros.runtime.backend import UNFINISHED, AnswerUpdate
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult, Goal, Status
from samtok_ros.runtime.statistics import Statistics

_STATUS = {'stop': Status.OK, 'length': Status.TRUNCATED, 'cancelled': Status.CANCELLED,
           UNFINISHED: Status.OK}


def answer_result(
    frame: Frame, goal: Goal, tokenizer_id: str, update: AnswerUpdate,
    status: Status | None = None,
) -> FrameResult:
    """Return an update as a record.

    Args:
        frame: it is about.
        goal: it answers; with number 0 for anything but a standing goal.
        tokenizer_id: mask tokenizer that the codes belong to.
        update: what was said.
        status: how it ended, where that is not what the model says.
    """
    answer = update.answer
    if status is None:
        status = Status.NO_TARGET if update.no_target else _STATUS[answer.finish_reason]
    return FrameResult(
        frame.stamp_ns, frame.frame_id, frame.size, tokenizer_id, goal.text, goal.goal_id,
        answer.text, update.complete, answer.regions, len(answer.malformed), status)


def failed_result(
    frame: Frame, goal: Goal, tokenizer_id: str, update: AnswerUpdate | None, message: str,
) -> FrameResult:
    """Return an answer that could not be finished, with what was said until then."""
    answer = update.answer if update else None
    return FrameResult(
        frame.stamp_ns, frame.frame_id, frame.size, tokenizer_id, goal.text, goal.goal_id,
        answer.text if answer else '', True, answer.regions if answer else (),
        len(answer.malformed) if answer else 0, Status.FAILED, message)


def close_answer(frame: Frame, update: AnswerUpdate | None) -> None:
    """Let requests refer to the regions of an answer by their ids.

    An answer without regions leaves the ids of the one before, so that several questions about the
    same region can follow one another.
    """
    if update is not None and update.answer.regions:
        frame.last_regions = update.answer.regions


def count_words(update: AnswerUpdate, statistics: Statistics, problems: ProblemLog) -> None:
    """Count the spans of a finished answer, and report malformed ones."""
    answer = update.answer
    statistics.count('words', len(answer.regions))
    statistics.count('malformed_spans', len(answer.malformed))
    for span in answer.malformed[:1]:
        problems.report('malformed_span', 'the model wrote a malformed span, which is left out: '
                        f'{span.reason} at character {span.position}')
