# SPDX-License-Identifier: Apache-2.0
"""What the vision-language model is told, per task, and how regions are put into it.

An instruction is a sequence of text and region references. Text is always taken literally: a mask
word or chat marker that somebody types into it stays ordinary letters. Only a RegionReference
becomes mask words, and only a Picture becomes an image.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.language.prompts import PROMPTS

_Region = TypeVar('_Region')
_FIELD = re.compile(r'\{([a-z]+)\}')
_REGION_MARKER = re.compile(r'<region:([1-9][0-9]?)>')
_ANY_MARKER = re.compile(_REGION_MARKER.pattern, re.IGNORECASE)  # goals become lower case later


@dataclass(frozen=True)
class RegionReference:
    """A region of the image, pointed at by its codes.

    Attributes:
        codes: D codes in level order, each in [0, K), without offset.
    """

    codes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """A further picture inside an instruction, such as an enlarged part of the image.

    Attributes:
        image_rgb: (H, W, 3) uint8.
    """

    image_rgb: np.ndarray


Part = str | RegionReference | Picture
Instruction = tuple[Part, ...]


@dataclass(frozen=True)
class Round:
    """One finished exchange of a conversation about an image.

    Attributes:
        instruction: what was asked.
        answer: the model's own text, mask words in it are control tokens again when it is read.
    """

    instruction: Instruction
    answer: str


def goal_instruction(goal: str, regions: Sequence[RegionReference] = ()) -> Instruction:
    """Ask for the regions that a referring expression names.

    The phrase is tidied as the training data is: lower case, single blanks, no full stop.

    Args:
        goal: what to look for; `<region:1>`, `<region:2>`, ... stand for the regions.
        regions: those that the goal does not mention are put in front, on a line of their own.
    Raises:
        ConfigError: the goal holds no words, is no valid Unicode or names a region not given.
    """
    phrase = ' '.join(checked_text(goal, 'goal').lower().split()).rstrip(' .!?')
    if not phrase:
        raise ConfigError('goal is empty', expected='words such as "the red mug"', got=repr(goal))
    mixed, rest = with_regions(phrase, regions, 'goal')
    return after_regions(rest, filled(PROMPTS['goal'][0], {'phrase': mixed}))


def question_instruction(
    question: str, regions: Sequence[RegionReference] = ()
) -> Instruction:
    """Ask a free question, about regions if there are some.

    Args:
        question: `<region:1>`, `<region:2>`, ... in it stand for the regions in their order.
        regions: those that the question does not mention are put in front, on a line of their own.
    Raises:
        ConfigError: the question is empty, or names a region that was not given.
    """
    question = checked_text(question, 'question').strip()
    if not question:
        raise ConfigError('question is empty', expected='words', got=repr(question),
                          fix='ask something, or name a task')
    mixed, rest = with_regions(question, regions, 'question')
    return after_regions(rest, filled(PROMPTS['question'][0], {'question': mixed}))


def thinking(instruction: Instruction) -> Instruction:
    """Return an instruction as models that were trained by reinforcement want it.

    They think first and answer then; asked in other words they answer much worse. The grounded
    caption has a wording of its own for them.

    Source: samtok-spec 3.3 and 6.
    """
    if instruction in ((PROMPTS['brief_caption'][0],), (PROMPTS['measured_caption'][0],)):
        return (PROMPTS['thinking_caption'][0],)
    return joined((*instruction, PROMPTS['thinking'][0]))


def pictures_of(instruction: Instruction) -> tuple[Picture, ...]:
    """Return the pictures in an instruction, in order."""
    return tuple(part for part in instruction if isinstance(part, Picture))


def with_regions(
    text: str, regions: Sequence[RegionReference], name: str
) -> tuple[Instruction, Instruction]:
    """Put regions where their numbers stand; return the text and the regions it leaves out.

    Args:
        text: with `<region:1>`, `<region:2>`, ... in it.
        regions: in their order.
        name: what errors call the text.
    Raises:
        ConfigError: the text names a region that was not given.
    """
    parts = _REGION_MARKER.split(text)  # text, number, text, number, ..., text
    numbers = [int(number) for number in parts[1::2]]
    unknown = [number for number in numbers if number > len(regions)]
    if unknown:
        raise ConfigError(f'{name} names <region:{unknown[0]}>',
                          expected=f'numbers up to {len(regions)}, one per region given',
                          fix=f'give as many regions as the {name} names')
    mixed: list[Part] = list(parts)
    mixed[1::2] = [regions[number - 1] for number in numbers]
    rest = [region for number, region in enumerate(regions, start=1) if number not in numbers]
    return joined(mixed), tuple(rest)


def named_regions(
    texts: Sequence[str], regions: Sequence[_Region],
) -> tuple[tuple[str, ...], tuple[_Region, ...]]:
    """Return the texts of one question with those regions alone that they name, from 1 on.

    A number that is too high stays as it is, for with_regions to complain of.
    """
    named = sorted({int(number) for text in texts for number in _ANY_MARKER.findall(text)})
    if not named or named[-1] > len(regions):
        return tuple(texts), tuple(regions) if named else ()
    numbers = {number: place for place, number in enumerate(named, start=1)}
    return (tuple(_ANY_MARKER.sub(lambda found: f'<region:{numbers[int(found[1])]}>', text)
                  for text in texts),
            tuple(regions[number - 1] for number in named))


def after_regions(regions: Instruction, instruction: Instruction) -> Instruction:
    """Put regions in front of an instruction, on a line of their own; none change nothing."""
    if not regions:
        return instruction
    fields = {'regions': regions, 'instruction': instruction}
    return filled(PROMPTS['regions_first'][0], fields)


def filled(template: str, fields: Mapping[str, Instruction]) -> Instruction:
    """Fill a template of PROMPTS; braces inside the filled-in texts mean nothing.

    Args:
        template: text with {name} fields.
        fields: what stands for each name.
    Returns:
        The instruction; neighbouring texts are joined, as pieces cut apart would be tokenised
        differently from the training data.
    """
    parts: list[Part] = []
    for index, piece in enumerate(_FIELD.split(template)):
        parts.extend(fields[piece] if index % 2 else (piece,))
    return joined(parts)


def joined(parts: Sequence[Part]) -> Instruction:
    """Join neighbouring texts and drop empty ones."""
    result: list[Part] = []
    for part in parts:
        if isinstance(part, str) and result and isinstance(result[-1], str):
            result[-1] += part
        elif part != '':
            result.append(part)
    return tuple(result)


def checked_text(text: str, name: str) -> str:
    """Return the text if it can be written as UTF-8.

    Raises:
        ConfigError: it holds halves of surrogate pairs, as badly decoded bytes leave them.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f'{name} is no valid Unicode text', expected='text that UTF-8 can hold',
                          got=f'{text[error.start]!a} at character {error.start}',
                          fix='decode it with the right encoding') from error
    return text
