# SPDX-License-Identifier: Apache-2.0
"""Requests to the vision-language model: what can be asked of it, and whether that makes sense."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from samtok_ros.errors import ConfigError, SamtokError
from samtok_ros.language.instructions import Instruction, RegionReference, goal_instruction
from samtok_ros.language.tasks import TaskQuestion
from samtok_ros.runtime.mask_access import Codes
from samtok_ros.runtime.references import CodesReference, IdReference, Reference
from samtok_ros.settings.fields import check_setting, setting_fields
from samtok_ros.settings.grounding import LimitSettings
from samtok_ros.words.vocabulary import MaskVocabulary

_LIMIT_FIELDS = {field.name: field for field in setting_fields(LimitSettings)}


class Task(StrEnum):
    """What the text of a request is."""

    GROUND = 'ground'
    ASK = 'ask'


@dataclass(frozen=True, eq=False)
class Request:
    """A goal or question about one frame.

    Attributes:
        task: GROUND looks for what the text describes, ASK answers it.
        text: plain words; `<region:N>` in it stands for references[N - 1].
        stamp_ns: of the frame, 0 for the newest one.
        references: regions that the text is about.
        tokenizer_id: mask tokenizer that codes among them belong to, '' for not checked.
        max_new_tokens, max_masks, time_limit_s: limits, 0 for the node's own.
        conversation_id: of the rounds that this is one of, '' for none.
        trained_task, items, predicates: of ASK, see language.tasks; '' and none for a free
            question.
    """

    task: Task
    text: str
    stamp_ns: int = 0
    references: tuple[Reference, ...] = ()
    tokenizer_id: str = ''
    max_new_tokens: int = 0
    max_masks: int = 0
    time_limit_s: float = 0.0
    conversation_id: str = ''
    trained_task: str = ''
    items: tuple[str, ...] = ()
    predicates: tuple[str, ...] = ()

    @property
    def question(self) -> TaskQuestion:
        """The question of an ASK."""
        return TaskQuestion(self.trained_task, self.text, self.items, self.predicates)

    @property
    def default_label(self) -> str:
        """What regions are called to which the answer puts no phrase."""
        return self.text if self.task is Task.GROUND else ''


def check_request(request: Request, tokenizer_id: str, vocabulary: MaskVocabulary) -> None:
    """Refuse what the model could not answer, as far as that shows without the frame.

    Args:
        request: to be checked.
        tokenizer_id: of the model that would answer.
        vocabulary: of that model.
    Raises:
        ConfigError: the text is empty or names a region that is not there, the task does not take
            what was given, or the codes belong to another mask tokenizer.
        SpanError: codes that the model has no words for.
    """
    if request.tokenizer_id not in ('', tokenizer_id):
        raise ConfigError(
            'the codes belong to another mask tokenizer', expected=repr(tokenizer_id),
            got=repr(request.tokenizer_id), fix='use words of this model, or point by mask')
    for number, reference in enumerate(request.references, start=1):
        if isinstance(reference, CodesReference):
            _check_codes(number, reference.codes, vocabulary)
    # Any codes do: what is looked at is whether the text and the number of regions go together.
    instruction_of(request, [(0,)] * len(request.references))


def limits_of(request: Request, defaults: LimitSettings) -> LimitSettings:
    """Return the limits that hold for a request.

    Raises:
        ConfigError: one is out of range.
    """
    asked = {'max_new_tokens': request.max_new_tokens, 'max_masks': request.max_masks,
             'deadline_s': request.time_limit_s}
    asked = {name: value for name, value in asked.items() if value}
    for name, value in asked.items():
        field = _LIMIT_FIELDS[name]
        check_setting(replace(field, name='time_limit_s') if name == 'deadline_s' else field, value)
    return replace(defaults, **asked)


def instruction_of(request: Request, codes: Sequence[Codes]) -> Instruction:
    """Return what the model is told.

    Args:
        request: whose text it is.
        codes: of its regions, in their order.
    Raises:
        ConfigError: the text is empty or names a region that is not there, or the task does not
            take what was given.
    """
    regions = [RegionReference(tuple(one)) for one in codes]
    if request.task is Task.GROUND:
        return goal_instruction(request.text, regions)
    return request.question.instruction(regions)


def need_drawing(references: Sequence[Reference]) -> tuple[int, ...]:
    """Return the places of the regions that only a mask tokenizer can turn into codes."""
    return tuple(place for place, one in enumerate(references)
                 if not isinstance(one, CodesReference | IdReference))


def _check_codes(number: int, codes: Codes, vocabulary: MaskVocabulary) -> None:
    try:
        vocabulary.codes_to_words(codes)
    except SamtokError as error:
        raise type(error)(f'region {number}: {error.message}', expected=error.expected,
                          got=error.got, fix=error.fix) from None
