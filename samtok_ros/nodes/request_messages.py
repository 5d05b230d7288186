# SPDX-License-Identifier: Apache-2.0
"""Goals and questions from other processes -> requests; what becomes of them -> results."""

from typing import Any

from samtok_ros.errors import ConfigError
from samtok_ros.msg import MaskWords, RegionMasks
from samtok_ros.nodes.bounds import check_bounds
from samtok_ros.nodes.conversions import (
    MAX_MESSAGE_BYTES,
    cut_text,
    goal_text,
    result_to_masks,
    result_to_words,
    stamp_to_ns,
)
from samtok_ros.nodes.record_messages import record_to_message
from samtok_ros.nodes.reference_messages import to_references
from samtok_ros.runtime.records import Status
from samtok_ros.runtime.requests import Request, Task
from samtok_ros.runtime.tickets import Ended, Outcome, Progress

_NS_PER_S = 1_000_000_000


def to_request(task: Task, message: Any) -> Request:
    """Return the request of an action goal or service call.

    Args:
        task: what its text is.
        message: goal of `Ground` or `Ask`, or request of `AskRegion`; not all have all fields.
    Raises:
        SamtokError: a field is over its bound or makes no sense.
    """
    check_bounds(message)
    stamp_ns = stamp_to_ns(message.stamp)
    if message.stamp.sec < 0 or message.stamp.nanosec >= _NS_PER_S:
        raise ConfigError(
            'stamp is no time', got=f'{message.stamp.sec} s {message.stamp.nanosec} ns',
            fix='copy it from the image, or leave it 0')
    return Request(
        task, goal_text(message), stamp_ns, to_references(message.regions), message.tokenizer_id,
        message.max_new_tokens, getattr(message, 'max_masks', 0), float(message.time_limit_s),
        getattr(message, 'conversation_id', ''), getattr(message, 'task', '').strip(),
        _names(message, 'items'), _names(message, 'predicates'))


def fill_result(result: Any, request_text: str, outcome: Outcome) -> Any:
    """Write an outcome into a result of `Ground` or `Ask`, or a response of `AskRegion`."""
    result.success = outcome.ended is Ended.SUCCEEDED
    result.message = cut_text(outcome.message, MAX_MESSAGE_BYTES)
    result.words = _words_of(request_text, outcome)
    result.masks = _masks_of(outcome, result.words)
    if outcome.result is not None:
        result.record = record_to_message(outcome.result.record)
    return result


def fill_feedback(feedback: Any, progress: Progress) -> Any:
    """Write progress into a feedback of `Ground` or `Ask`."""
    feedback.phase = int(progress.phase)
    feedback.tokens = progress.token_count
    if progress.result is not None:
        words = result_to_words(progress.result)
        feedback.answer, feedback.words = words.answer, words.words
    return feedback


def _names(message: Any, field: str) -> tuple[str, ...]:
    """Return the items or predicates of a request; those of `Ground` are none."""
    names = tuple(name.strip() for name in getattr(message, field, ()))
    for name in names:
        # The middleware puts this character in the place of bytes that are no UTF-8.
        if '\N{REPLACEMENT CHARACTER}' in name:
            raise ConfigError(f'{field} are not valid UTF-8', got=repr(name), fix='send UTF-8 text')
    return names


def _words_of(request_text: str, outcome: Outcome) -> MaskWords:
    if outcome.result is not None:
        return result_to_words(outcome.result)
    status = Status.CANCELLED if outcome.ended is Ended.CANCELLED else Status.FAILED
    return MaskWords(goal=request_text, complete=True, status=int(status),
                     message=cut_text(outcome.message, MAX_MESSAGE_BYTES))


def _masks_of(outcome: Outcome, words: MaskWords) -> RegionMasks:
    """Return masks; without any, a message that says about which image, and why."""
    if outcome.masks is not None:
        masks = outcome.masks
        return masks if isinstance(masks, RegionMasks) else result_to_masks(masks)
    return RegionMasks(
        header=words.header, height=words.height, width=words.width,
        tokenizer_id=words.tokenizer_id, goal=words.goal, complete=True,
        origin=RegionMasks.ANSWERED, answer_stamp=words.header.stamp,
        status=int(Status.FAILED) if outcome.masks_problem else words.status,
        message=cut_text(outcome.masks_problem or words.message, MAX_MESSAGE_BYTES))
