# SPDX-License-Identifier: Apache-2.0
"""What the worker does for a request: read, let the model speak, draw what it names."""

import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from samtok_ros.errors import ConfigError, DeviceError, SamtokError
from samtok_ros.image.zoom import ZoomRule
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import Instruction, Picture, RegionReference, Round
from samtok_ros.language.spoken_regions import answer_record
from samtok_ros.language.tasks import zoomed_in
from samtok_ros.runtime.answer_results import (
    answer_result,
    close_answer,
    count_words,
    failed_result,
)
from samtok_ros.runtime.backend import AnswerUpdate, GroundingModel, Question
from samtok_ros.runtime.conversations import Conversations
from samtok_ros.runtime.mask_access import Codes, MaskAccess
from samtok_ros.runtime.memory import explained
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult, Goal
from samtok_ros.runtime.references import codes_of_references, crop_of
from samtok_ros.runtime.requests import Task, instruction_of, need_drawing
from samtok_ros.runtime.shared import SharedRuntime
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.tickets import Ended, Outcome, Phase, Progress, ProgressGate, Ticket
from samtok_ros.runtime.worker import Priority

Keep = Callable[[], None]


class Speaker:
    """Answers one request; only the worker thread calls it."""

    def __init__(
        self, runtime: SharedRuntime, problems: ProblemLog, statistics: Statistics,
        conversations: Conversations,
    ) -> None:
        """Wire it up; it needs a model before it can speak.

        Args:
            runtime: worker, frames and, where this process has one, the mask tokenizer.
            problems: told of answers that fail.
            statistics: told of durations.
            conversations: earlier rounds, and where this one goes.
        """
        self.model: GroundingModel | None = None
        self.zoom = ZoomRule(0.0)
        self._runtime = runtime
        self._problems = problems
        self._statistics = statistics
        self._conversations = conversations

    def speak(self, ticket: Ticket, gate: ProgressGate) -> tuple[Outcome, Keep]:
        """Answer a request about its frame, from beginning to end.

        Returns:
            How it ended, and what adds it to its conversation: for the moment in which nothing can
            end it in another way any more.
        Raises:
            SamtokError: the frame cannot be read, or the question not be put to the model.
        """
        frame, request = ticket.frame, ticket.request
        # Whoever gets the answer may go on asking about its frame, by stamp.
        self._runtime.frames.protect(frame)
        gate.tell(Phase.ENCODING, lambda: Progress(Phase.ENCODING))
        with self._statistics.measure('read_image'):
            frame.image_rgb()
        codes = codes_of_references(frame, ticket.references, self._access_for(ticket))
        key = (request.conversation_id, frame.stamp_ns)
        history, epoch = self._conversations.history(key)
        instruction = self._closer(ticket, instruction_of(request, codes), codes)
        question = Question(instruction, request.default_label, history, weakref.ref(frame))
        with self._statistics.measure('answer'):
            said = self._say(ticket, question, gate)
        if isinstance(said, Outcome):
            return said, lambda: None
        count_words(said, self._statistics, self._problems)
        close_answer(frame, said)
        newest = Round(question.instruction, said.answer.text)
        return (self._with_masks(ticket, self._result(ticket, said), gate),
                partial(self._conversations.add, key, newest, epoch))

    def _closer(
        self, ticket: Ticket, instruction: Instruction, codes: tuple[Codes, ...],
    ) -> Instruction:
        """Return an instruction that shows a small region enlarged, where that is wanted."""
        if not self.zoom.below or ticket.request.trained_task != 'region_caption':
            return instruction
        access = self._runtime.mask_access
        if access is None:
            self._problems.report('zoom_skipped', 'zoom_below is set, but the mask tokenizer is in '
                                  'another process: the region is not shown enlarged')
            return instruction
        crop = crop_of(ticket.frame, ticket.references[0], codes[0], self.zoom, access)
        if crop is None:
            return instruction
        closer = RegionReference(access.encode_crop(crop.image_rgb, crop.mask))
        return zoomed_in(instruction, Picture(crop.image_rgb), closer)

    def _access_for(self, ticket: Ticket) -> MaskAccess | None:
        access = self._runtime.mask_access
        if access is None and need_drawing(ticket.references):
            raise ConfigError('the mask tokenizer of this process is gone',
                              fix='configure it again, or point by codes or id')
        return access

    def _say(
        self, ticket: Ticket, question: Question, gate: ProgressGate,
    ) -> AnswerUpdate | Outcome:
        """Return the last update; or, when the model fails, what it said until then."""
        update: AnswerUpdate | None = None
        try:
            for update in self._updates(ticket, question):
                ticket.token_count = update.token_count
                if update.complete:
                    continue
                gate.tell(Phase.GENERATING, partial(self._progress, ticket, update),
                          len(update.answer.regions))
                # Short calls to the mask tokenizer; their callers cannot wait for a whole answer.
                self._runtime.worker.let_urgent_in(Priority.QUESTION)
        except Exception as error:  # The request must be ended with what was said.
            return self._failed(ticket, update, error)
        return update

    def _updates(self, ticket: Ticket, question: Question) -> Iterator[AnswerUpdate]:
        left_s = max(ticket.until_s - time.monotonic(), 0.001)
        limits = GenerationLimits(ticket.limits.max_new_tokens, ticket.limits.max_masks, left_s)
        return self.model.answer(ticket.frame.image_rgb(), question, limits,
                                 lambda: ticket.stop is not None)

    def _failed(
        self, ticket: Ticket, update: AnswerUpdate | None, error: Exception,
    ) -> Outcome:
        reason = explained(error)
        if isinstance(reason, DeviceError):
            self.model.forget()
        close_answer(ticket.frame, update)
        message = self._report('answer_failed', f'no answer for image {ticket.frame.stamp_ns}',
                               reason)
        result = failed_result(
            ticket.frame, Goal(0, ticket.request.text), self.model.tokenizer_id, update, message)
        return Outcome(Ended.ABORTED, message, self._with_record(ticket, result, update))

    def _report(self, kind: str, what: str, reason: Exception) -> str:
        """Report a failure; return what the caller is told of it."""
        if isinstance(reason, ConfigError):
            kind = 'bad_request'
        known = isinstance(reason, SamtokError)
        detail = '' if known else ''.join(traceback.format_exception(reason))
        self._problems.report(kind, f'{what}: {reason}', detail)
        return str(reason) if known else f'the model failed: {reason!r}. See the log of the node.'

    def _progress(self, ticket: Ticket, update: AnswerUpdate) -> Progress:
        return Progress(Phase.GENERATING, self._result(ticket, update), update.token_count)

    def _result(self, ticket: Ticket, update: AnswerUpdate) -> FrameResult:
        result = answer_result(ticket.frame, Goal(0, ticket.request.text),
                               self.model.tokenizer_id, update)
        if update.complete:
            result = self._with_record(ticket, result, update)
        return replace(result, message=ticket.stop.message) if ticket.stop else result

    def _with_record(
        self, ticket: Ticket, result: FrameResult, update: AnswerUpdate | None,
    ) -> FrameResult:
        """Return a result with the answer read as a program wants it, as far as it goes."""
        if update is None:
            return result
        request = ticket.request
        choice_count = request.question.choice_count if request.task is Task.ASK else 0
        return replace(result, record=answer_record(
            update.answer, self.model.vocabulary, request.default_label, choice_count))

    def _with_masks(self, ticket: Ticket, result: FrameResult, gate: ProgressGate) -> Outcome:
        """Return what was said with masks, unless it was stopped or nobody here can draw."""
        access, stop = self._runtime.mask_access, ticket.stop
        if stop is not None:
            return Outcome(stop.ended, stop.message, result)
        if access is None:
            return Outcome(Ended.SUCCEEDED, '', result)
        gate.tell(Phase.DECODING, lambda: Progress(Phase.DECODING, result, ticket.token_count))
        try:
            regions = access.decode(ticket.frame, result.regions)
        except Exception as error:  # The words are there, and must not be lost with the masks.
            problem = self._report('decode_failed', f'no masks for image {result.stamp_ns}',
                                   explained(error))
            return Outcome(Ended.SUCCEEDED, '', result, None, problem)
        return Outcome(Ended.SUCCEEDED, '', result, replace(result, regions=regions))
