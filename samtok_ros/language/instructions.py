# SPDX-License-Identifier: Apache-2.0
"""What the vision-language model is told, per task, and how regions are put into it.

An instruction is a sequence of text and region references. Text is always taken literally: a mask
word or chat marker that somebody types into it stays ordinary letters. Only a RegionReference
becomes mask words.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.language.prompts import PROMPTS

_FIELD = re.compile(r'\{([a-z]+)\}')
_REGION_MARKER = re.compile(r'<region:([1-9][0-9]?)>')


@dataclass(frozen=True)
class RegionReference:
    """A region of the image, pointed at by its codes.

    Attributes:
        codes: D codes in level order, each in [0, K), without offset.
    """

    codes: tuple[int, ...]


Instruction = tuple[str | RegionReference, ...]


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
    mixed, rest = _with_regions(phrase, regions, 'goal')
    return _after_regions(rest, filled(PROMPTS['goal'][0], {'phrase': mixed}))


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
        raise ConfigError('question is empty', expected='words', got=repr(question))
    mixed, rest = _with_regions(question, regions, 'question')
    return _after_regions(rest, filled(PROMPTS['question'][0], {'question': mixed}))


def _with_regions(
    text: str, regions: Sequence[RegionReference], name: str
) -> tuple[Instruction, Instruction]:
    """Put regions where their numbers stand; return the text and the regions it leaves out."""
    parts = _REGION_MARKER.split(text)  # text, number, text, number, ..., text
    numbers = [int(number) for number in parts[1::2]]
    unknown = [number for number in numbers if number > len(regions)]
    if unknown:
        raise ConfigError(f'{name} names <region:{unknown[0]}>',
                          expected=f'numbers up to {len(regions)}, one per region given',
                          fix=f'give as many regions as the {name} names')
    mixed: list[str | RegionReference] = list(parts)
    mixed[1::2] = [regions[number - 1] for number in numbers]
    rest = [region for number, region in enumerate(regions, start=1) if number not in numbers]
    return joined(mixed), tuple(rest)


def _after_regions(regions: Instruction, instruction: Instruction) -> Instruction:
    if not regions:
        return instruction
    fields = {'regions': regions, 'instruction': instruction}
    return filled(PROMPTS['instruction after regions'][0], fields)


def filled(template: str, fields: Mapping[str, Instruction]) -> Instruction:
    """Fill a template of PROMPTS; braces inside the filled-in texts mean nothing.

    Args:
        template: text with {name} fields.
        fields: what stands for each name.
    Returns:
        The instruction; neighbouring texts are joined, as pieces cut apart would be tokenised
        differently from the training data.
    """
    parts: list[str | RegionReference] = []
    for index, piece in enumerate(_FIELD.split(template)):
        parts.extend(fields[piece] if index % 2 else (piece,))
    return joined(parts)


def joined(parts: Sequence[str | RegionReference]) -> Instruction:
    """Join neighbouring texts and drop empty ones."""
    result: list[str | RegionReference] = []
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
