# SPDX-License-Identifier: Apache-2.0
"""The tasks that users can name: what each takes, and the instruction it becomes.

A task sends words that the models were trained on (`prompts.PROMPTS`), so whoever asks need not
know them. Everything else is a free question.
"""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.language.instructions import (
    Instruction,
    Picture,
    RegionReference,
    after_regions,
    checked_text,
    filled,
    joined,
    question_instruction,
    with_regions,
)
from samtok_ros.language.prompts import PROMPTS
from samtok_ros.words.record_reader import MOST_CHOICES

_BRACES = '{},'
_WITH_CANDIDATES = 1
"""The question of PROMPTS['scene_graph'] that the evaluation asks, behind its candidates."""


@dataclass(frozen=True)
class TaskForm:
    """What a task takes.

    Attributes:
        text: whether it takes a text, which it then needs.
        regions: fewest and most.
        items: fewest and most.
        predicates: whether it takes some.
        items_are: what its items are, for error texts.
    """

    text: bool = False
    regions: tuple[int, int] = (0, 0)
    items: tuple[int, int] = (0, 0)
    predicates: bool = False
    items_are: str = ''


TASKS: dict[str, TaskForm] = {
    'region_caption': TaskForm(regions=(1, 1)),
    'relation': TaskForm(regions=(2, 2)),
    'multiple_choice': TaskForm(text=True, regions=(0, 16), items=(2, MOST_CHOICES),
                                items_are='the options, without letters'),
    'categories': TaskForm(items=(1, 256), items_are='the names to look for'),
    'brief_caption': TaskForm(),
    'detailed_caption': TaskForm(),
    'scene_graph': TaskForm(regions=(0, 16), items=(0, 256), predicates=True,
                            items_are='the names to choose from'),
}
"""The tasks by name."""


@dataclass(frozen=True)
class TaskQuestion:
    """A question of a task, checked by its form.

    Attributes:
        task: a key of TASKS; '' for a free question.
        text: what is asked, `<region:1>` stands for the first region; only for free questions and
            multiple choice.
        items: options to choose from, which may name regions too; categories to find; or names
            for a scene graph.
        predicates: relations for a scene graph to choose from.
    """

    task: str = ''
    text: str = ''
    items: tuple[str, ...] = ()
    predicates: tuple[str, ...] = ()

    @property
    def choice_count(self) -> int:
        """How many options there are to choose from; 0 where nothing is to be chosen."""
        return len(self.items) if self.task == 'multiple_choice' else 0

    def instruction(self, regions: Sequence[RegionReference] = ()) -> Instruction:
        """Return what the model is told.

        Raises:
            ConfigError: unknown task, or something is missing, too much or cannot be written.
        """
        self.check(len(regions))
        if not self.task:
            return question_instruction(self.text, regions)
        return _WRITERS[self.task](self, tuple(regions))

    def check(self, region_count: int) -> None:
        """Check the question by the form of its task.

        Raises:
            ConfigError: unknown task, or something is missing or too much.
        """
        if not self.task:
            _check_absent('a question without a task', self.items, self.predicates)
            return
        form = TASKS.get(self.task)
        if form is None:
            raise ConfigError('unknown task', expected=', '.join(TASKS), got=repr(self.task),
                              fix='leave the task out for a free question')
        name = f'task {self.task}'
        if bool(self.text.strip()) != form.text:
            raise ConfigError(f'{name} {"needs" if form.text else "takes no"} text',
                              got=repr(self.text), fix='give the question' if form.text else
                              'leave the text out, or the task for a free question')
        _check_count(name, 'regions', region_count, form.regions)
        _check_count(name, 'items', len(self.items), form.items, form.items_are)
        if self.predicates and not form.predicates:
            _check_absent(name, (), self.predicates)
        for text in (*self.items, *self.predicates):
            _check_name(text)


def zoomed_in(
    instruction: Instruction, enlarged: Picture, closer: RegionReference,
) -> Instruction:
    """Return a question about one region that shows it a second time.

    Args:
        instruction: the question.
        enlarged: the part of the image with the region in it.
        closer: the region, by its codes in that picture.
    """
    tail = filled(PROMPTS['zoom'][0], {'picture': (enlarged,), 'zoomed': (closer,)})
    return joined((*instruction, *tail))


def quoted_names(names: Sequence[str]) -> str:
    """Write category names as the detection prompt has them: `["cat", "dog"]`."""
    return json.dumps(list(names), ensure_ascii=False)


def braced_names(names: Sequence[str]) -> str:
    """Write names as the scene graph prompts have them: `{person, horse}`.

    Raises:
        ConfigError: a name holds a comma or brace.
    """
    for name in names:
        if any(mark in name for mark in _BRACES):
            raise ConfigError('a name for a scene graph holds a comma or a brace', got=repr(name),
                              fix='write it without')
    return '{' + ', '.join(names) + '}'


def lettered(options: Sequence[str]) -> str:
    """Write options one a line, with the letters that name them: `A. red`."""
    return '\n'.join(f'{chr(ord("A") + number)}. {option}'
                     for number, option in enumerate(options))


def _region_caption(question: TaskQuestion, regions: tuple[RegionReference, ...]) -> Instruction:
    return filled(PROMPTS['region_caption'][0], {'region': regions})


def _relation(question: TaskQuestion, regions: tuple[RegionReference, ...]) -> Instruction:
    return filled(PROMPTS['relation'][0], {'first': regions[:1], 'second': regions[1:]})


def _multiple_choice(question: TaskQuestion, regions: tuple[RegionReference, ...]) -> Instruction:
    # Options may name regions too: <region:1> in them is the first one, as in the question.
    (text,) = filled(PROMPTS['multiple_choice'][0],
                     {'question': (checked_text(question.text, 'question').strip(),),
                      'choices': (lettered(question.items),)})
    asked, rest = with_regions(text, regions, 'question')
    return after_regions(rest, asked)


def _categories(question: TaskQuestion, regions: tuple[RegionReference, ...]) -> Instruction:
    return filled(PROMPTS['categories'][0], {'names': (quoted_names(question.items),)})


def _caption(question: TaskQuestion, regions: tuple[RegionReference, ...]) -> Instruction:
    return (PROMPTS[question.task][0],)


def _scene_graph(question: TaskQuestion, regions: tuple[RegionReference, ...]) -> Instruction:
    if not (question.items or question.predicates or regions):
        return (PROMPTS['scene_graph'][0],)
    asked = (PROMPTS['scene_graph'][_WITH_CANDIDATES],)
    predicates = (braced_names(question.predicates),)
    if not question.predicates or (regions and not question.items):
        raise ConfigError(
            'no scene graph prompt has such a mix',
            expected='nothing, predicates, items and predicates, or regions with both',
            got=f'{len(question.items)} items, {len(question.predicates)} predicates, '
                f'{len(regions)} regions', fix='give predicates too, and items with regions')
    if not question.items:
        return filled(PROMPTS['scene_graph_second_round'][0],
                      {'predicates': predicates, 'question': asked})
    fields = {'names': (braced_names(question.items),), 'predicates': predicates,
              'question': asked}
    if not regions:
        return filled(PROMPTS['scene_graph_candidates'][0], fields)
    listed = [part for region in regions for part in (', ', region)][1:]
    return filled(PROMPTS['scene_graph_of_masks'][0], {**fields, 'regions': tuple(listed)})


_WRITERS = {
    'region_caption': _region_caption, 'relation': _relation, 'multiple_choice': _multiple_choice,
    'categories': _categories, 'brief_caption': _caption, 'detailed_caption': _caption,
    'scene_graph': _scene_graph,
}


def _check_count(
    name: str, what: str, count: int, bounds: tuple[int, int], meaning: str = '',
) -> None:
    fewest, most = bounds
    if fewest <= count <= most:
        return
    expected = 'none' if most == 0 else str(fewest) if fewest == most else f'{fewest} to {most}'
    raise ConfigError(f'{name} does not take {count} {what}',
                      expected=f'{expected}{f" ({meaning})" if meaning else ""}', got=count)


def _check_absent(name: str, items: Sequence[str], predicates: Sequence[str]) -> None:
    for what, given in (('items', items), ('predicates', predicates)):
        if given:
            raise ConfigError(f'{name} takes no {what}', got=list(given)[:4],
                              fix='leave them out, or name the task they belong to')


def _check_name(text: str) -> None:
    """Refuse what would break the lines or lists that it is written into."""
    checked_text(text, 'an item')
    if not text.strip():
        raise ConfigError('an item or predicate is empty', got=repr(text), fix='leave it out')
    if any(unicodedata.category(letter) in ('Cc', 'Zl', 'Zp') for letter in text):
        raise ConfigError('an item or predicate has a line break or control character',
                          got=repr(text), fix='write it in one line')
