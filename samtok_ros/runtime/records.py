# SPDX-License-Identifier: Apache-2.0
"""What the nodes say about a frame, as plain records; `nodes/conversions.py` makes messages."""

from dataclasses import dataclass
from enum import IntEnum

from samtok_ros.regions import ImageSize, Region
from samtok_ros.words.answer_record import AnswerRecord


class Status(IntEnum):
    """How an answer ended; the numbers are those of the messages."""

    OK = 0
    NO_TARGET = 1
    TRUNCATED = 2
    CANCELLED = 3
    FAILED = 4


class Origin(IntEnum):
    """How regions came about; the numbers are those of the messages."""

    ANSWERED = 0
    TRACKED = 1


@dataclass(frozen=True)
class Goal:
    """A standing goal.

    Attributes:
        goal_id: 1, 2, ... in order of arrival.
        text: what to look for; empty clears the goal.
        stamp_ns: its own stamp, 0 when the sender has no clock.
    """

    goal_id: int
    text: str
    stamp_ns: int = 0


@dataclass(frozen=True)
class FrameResult:
    """What was found in one frame; with masks in its regions once they are decoded.

    Attributes:
        stamp_ns, frame_id: of the image, bit for bit.
        size: of the image.
        tokenizer_id: mask tokenizer that the codes belong to.
        goal, goal_id: what was looked for; id 0 for anything but a standing goal.
        answer: the model's text so far.
        complete: False while the model is still speaking.
        regions: so far, in the order they were named.
        malformed_count: malformed spans so far.
        status, message: how it ended; final when complete.
        origin: whether the model was asked about this very image, or regions of an earlier answer
            were found again in it.
        answer_stamp_ns: of the image that the model was asked about; None for this very one.
        record: the answer, read; only of requests that have ended.
    """

    stamp_ns: int
    frame_id: str
    size: ImageSize
    tokenizer_id: str
    goal: str
    goal_id: int
    answer: str
    complete: bool
    regions: tuple[Region, ...] = ()
    malformed_count: int = 0
    status: Status = Status.OK
    message: str = ''
    origin: Origin = Origin.ANSWERED
    answer_stamp_ns: int | None = None
    record: AnswerRecord = AnswerRecord()
