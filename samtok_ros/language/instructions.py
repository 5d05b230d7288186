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

_REFERRING = (
    'Can you segment the {phrase} in this image?',
    'Please segment {phrase} in this image.',
    'What is {phrase} in this image? Please respond with segmentation mask.',
    'What is {phrase} in this image? Please output segmentation mask.',
    'Could you provide a segmentation mask for the {phrase} in this image?',
    'Please identify and segment the {phrase} in this image.',
    'Where is the {phrase} in this picture? Please respond with a segmentation mask.',
    'Can you highlight the {phrase} in this image with a segmentation mask?',
)

PROMPTS: dict[str, tuple[str, ...]] = {
    'goal': ('Please segment {phrase} in this image.',),
    'referring': (*_REFERRING, *(question[:-1] for question in _REFERRING)),
    'question': ('{question}',),
    'question after regions': ('{regions}\n{question}',),
}
"""Every instruction by task: exact, as the models were trained on these strings.

'referring' holds the training questions, the second half without their last sign.
Source: samtok-spec 3.3 and 3.4.
"""

_FIELD = re.compile(r'\{([a-z]+)\}')
_REGION_MARKER = re.compile(r'<region([1-9][0-9]?)>')


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


def goal_instruction(goal: str) -> Instruction:
    """Ask for the regions that a referring expression names.

    The phrase is tidied as the training data is: lower case, single blanks, no full stop.

    Raises:
        ConfigError: the goal holds no words or is no valid Unicode.
    """
    phrase = ' '.join(checked_text(goal, 'goal').lower().split()).rstrip(' .!?')
    if not phrase:
        raise ConfigError('goal is empty', expected='words such as "the red mug"', got=repr(goal))
    return filled(PROMPTS['goal'][0], {'phrase': (phrase,)})


def question_instruction(
    question: str, regions: Sequence[RegionReference] = ()
) -> Instruction:
    """Ask a free question, about regions if there are some.

    `<region1>`, `<region2>`, ... in the question stand for the regions in their order. If the
    question has none of these, all regions are put in front of it, on a line of their own.

    Raises:
        ConfigError: the question is empty, or names a region that was not given.
    """
    question = checked_text(question, 'question').strip()
    if not question:
        raise ConfigError('question is empty', expected='words', got=repr(question))
    parts = _REGION_MARKER.split(question)
    if len(parts) == 1 and regions:
        return filled(PROMPTS['question after regions'][0],
                      {'regions': tuple(regions), 'question': (question,)})
    return filled(PROMPTS['question'][0], {'question': _with_regions(parts, regions)})


def _with_regions(parts: list[str], regions: Sequence[RegionReference]) -> Instruction:
    """Put regions where their numbers stand: parts are text, number, text, number, ..., text."""
    numbers = [int(number) for number in parts[1::2]]
    unknown = [number for number in numbers if number > len(regions)]
    if unknown:
        raise ConfigError(f'question names <region{unknown[0]}>',
                          expected=f'numbers up to {len(regions)}, one per region given',
                          fix='give as many regions as the question names')
    mixed: list[str | RegionReference] = list(parts)
    mixed[1::2] = [regions[number - 1] for number in numbers]
    return tuple(mixed)


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
