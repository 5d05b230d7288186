# SPDX-License-Identifier: Apache-2.0
"""Goals in plain words that stay true while the camera moves, with the things they name."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.training.descriptors import (
    RELATIONS,
    SUPERLATIVES,
    Descriptor,
    related,
    superlative,
)

FAMILIES = ('attribute', 'superlative', 'relation', 'several', 'none')
MOST_TARGETS = 4

Targets = tuple[int, ...] | None
"""Ids of the things that a goal names in one frame; None where that can be argued about."""


@dataclass(frozen=True)
class GoalForm:
    """A goal that can be judged in any frame of a scene.

    Attributes:
        text: plain words.
        targets_in: things of a frame -> Targets.
    """

    text: str
    targets_in: Callable[[Sequence], Targets]


@dataclass(frozen=True)
class DemoGoal:
    """A goal that holds for a stretch of a bag.

    Attributes:
        text: plain words.
        kind: one of FAMILIES.
        scene: number of the scene, from 0.
        start_ns, end_ns: it holds for the images stamped from start_ns to before end_ns.
        targets: ids of the things it names, the same in all these images; empty for none.
    """

    text: str
    kind: str
    scene: int
    start_ns: int
    end_ns: int
    targets: tuple[int, ...]


def save_goals(path: Path, goals: Sequence[DemoGoal]) -> None:
    """Write goals as JSON, one a line; `load_goals` is the inverse."""
    lines = ',\n'.join(json.dumps(asdict(goal)) for goal in goals)
    path.write_text(f'[\n{lines}\n]\n', encoding='utf-8')


def load_goals(path: Path) -> tuple[DemoGoal, ...]:
    """Read goals.

    Raises:
        ConfigError: there is no such file, or it holds no goals.
    """
    if not path.is_file():
        raise ConfigError(f'{path.parent} is no bag for the demo: it has no {path.name}',
                          fix='make one with samtok make-bag; play a bag of your own with ros2 bag '
                          'play beside samtok up, see docs/launch.md')
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        goals = tuple(DemoGoal(**{**row, 'targets': tuple(row['targets'])}) for row in rows)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f'goals cannot be read from {path}', got=error,
                          fix='make the bag again with samtok make-bag') from error
    if not goals:
        raise ConfigError(f'{path} holds no goal', expected='at least one')
    return goals


def draw_goal(family: str, frames: Sequence[Sequence], rng: np.random.Generator,
              taken: Sequence[str] = ()) -> tuple[str, tuple[int, ...]] | None:
    """Draw a goal that names the same things in every frame.

    Args:
        family: one of FAMILIES.
        frames: the SceneObjects of each frame, the same things seen from other places.
        rng: source of randomness.
        taken: texts not to use again.
    Returns:
        Text and target ids, or None where the scene offers no such goal.
    """
    forms = [form for form in _FORMS[family](frames[0]) if form.text not in taken]
    for index in rng.permutation(len(forms)):
        targets = forms[index].targets_in(frames[0])
        if _fits(family, targets) and all(
                forms[index].targets_in(things) == targets for things in frames):
            return forms[index].text, targets
    return None


def _fits(family: str, targets: Targets) -> bool:
    if targets is None:
        return False
    low, high = {'several': (2, MOST_TARGETS), 'none': (0, 0)}.get(family, (1, 1))
    return low <= len(targets) <= high


def _ids(things: Sequence) -> tuple[int, ...]:
    return tuple(sorted(thing.object_id for thing in things))


def _matching(text: str, descriptor: Descriptor) -> GoalForm:
    return GoalForm(text, lambda things: _ids(descriptor.among(things)))


def _descriptors(things: Sequence) -> list[Descriptor]:
    """Name colours, shapes and both, of things that are there, without repetition."""
    found = [descriptor for thing in things for descriptor in (
        Descriptor(colour=thing.colour), Descriptor(shape=thing.shape),
        Descriptor(colour=thing.colour, shape=thing.shape))]
    return list(dict.fromkeys(found))


def _attribute_forms(things: Sequence) -> Iterator[GoalForm]:
    for descriptor in _descriptors(things):
        yield _matching(f'the {descriptor.words()}', descriptor)


def _superlative_forms(things: Sequence) -> Iterator[GoalForm]:
    for word in SUPERLATIVES:
        for descriptor in (Descriptor(), *_descriptors(things)):
            # A superlative of one thing would be an attribute in disguise.
            if len(descriptor.among(things)) > 1:
                yield GoalForm(
                    f'the {word} {descriptor.words()}',
                    lambda seen, word=word, descriptor=descriptor: _best(word, descriptor, seen))


def _best(word: str, descriptor: Descriptor, things: Sequence) -> Targets:
    thing = superlative(word, descriptor.among(things))
    return None if thing is None else (thing.object_id,)


def _relation_forms(things: Sequence) -> Iterator[GoalForm]:
    for anchor in _descriptors(things):
        if anchor.shape is None or len(anchor.among(things)) != 1:
            continue
        for descriptor in _descriptors(things):
            others = set(_ids(descriptor.among(things))) - set(_ids(anchor.among(things)))
            if len(others) < 2:
                continue  # The relation would not be needed.
            for relation in RELATIONS:
                yield GoalForm(
                    f'the {descriptor.words()} {relation} the {anchor.words()}',
                    lambda seen, a=anchor, d=descriptor, r=relation: _standing(r, d, a, seen))


def _standing(relation: str, descriptor: Descriptor, anchor: Descriptor,
              things: Sequence) -> Targets:
    found = related(relation, descriptor, anchor.among(things)[0], things)
    return None if found is None else _ids(found)


def _several_forms(things: Sequence) -> Iterator[GoalForm]:
    for descriptor in _descriptors(things):
        yield _matching(f'all {descriptor.words(plural=True)}', descriptor)


def _absent_forms(things: Sequence) -> Iterator[GoalForm]:
    """Name what is not there although its colour and its shape are: the hard kind of nothing."""
    for colour in dict.fromkeys(thing.colour for thing in things):
        for shape in dict.fromkeys(thing.shape for thing in things):
            descriptor = Descriptor(colour=colour, shape=shape)
            if not descriptor.among(things):
                yield _matching(f'the {descriptor.words()}', descriptor)


_FORMS = {'attribute': _attribute_forms, 'superlative': _superlative_forms,
          'relation': _relation_forms, 'several': _several_forms, 'none': _absent_forms}
