# SPDX-License-Identifier: Apache-2.0
"""Referring expressions of all kinds for the things of a scene, each with what it names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.training.descriptors import (
    COLOUR_WORDS,
    RELATION_WORDS,
    RELATIONS,
    SHAPE_PLURALS,
    SIZE_WORDS,
    SUPERLATIVES,
    Descriptor,
    related,
    superlative,
)

MOST_TARGETS = 4
_TRIES = 12
_SHAPE_WORDS = tuple(SHAPE_PLURALS)


@dataclass(frozen=True)
class Goal:
    """A referring expression and the objects it names, as Question has them.

    Attributes:
        kind: for reports.
        phrase: without article.
        targets: object ids in the order of the answer.
        takes_article: whether `the` may stand in front.
    """

    kind: str
    phrase: str
    targets: tuple[int, ...] = ()
    takes_article: bool = True


def pick(rng: np.random.Generator, choices: Sequence):
    """Draw one of some choices."""
    return choices[int(rng.integers(len(choices)))]


def choose(rng: np.random.Generator, weights: Sequence[tuple[object, float]]):
    """Draw one of (value, weight) pairs."""
    place = rng.random() * sum(weight for _, weight in weights)
    for value, weight in weights:
        place -= weight
        if place < 0:
            return value
    return weights[-1][0]


_PARTS = {'any': (), 'colour': ('colour',), 'shape': ('shape',),
          'colour shape': ('colour', 'shape'), 'size shape': ('size', 'shape'),
          'size colour': ('size', 'colour'), 'size colour shape': ('size', 'colour', 'shape')}


def describe(thing, parts: str) -> Descriptor:
    """Describe a thing by the parts that a key of _PARTS stands for."""
    return Descriptor(**{part: getattr(thing, part) for part in _PARTS[parts]})


def single_goal(things: tuple, rng: np.random.Generator) -> Goal:
    """Draw an expression for exactly one thing, if anything stands out at all."""
    draw: Callable = choose(rng, ((_attribute_goal, 0.48), (_superlative_goal, 0.24),
                                   (_relation_goal, 0.28)))
    for _ in range(_TRIES):
        goal = draw(things, rng)
        if goal is not None:
            return goal
    for draw in (_attribute_goal, _superlative_goal, _relation_goal) * _TRIES:
        goal = draw(things, rng)
        if goal is not None:
            return goal
    return _widest_goal(things)


def _widest_goal(things: tuple) -> Goal:
    """Name all things alike: the way out for scenes in which nothing stands out."""
    descriptor = describe(things[0], 'size colour shape')
    found = descriptor.among(things)
    if len(found) == 1:
        return Goal('size colour shape', descriptor.words(), (found[0].object_id,))
    return Goal('several', 'all ' + descriptor.words(plural=True), _in_order(found), False)


def _attribute_goal(things: tuple, rng: np.random.Generator) -> Goal | None:
    parts = choose(rng, (('colour', 0.14), ('shape', 0.26), ('colour shape', 0.36),
                          ('size shape', 0.1), ('size colour', 0.04),
                          ('size colour shape', 0.1)))
    descriptor = describe(pick(rng, things), parts)
    if len(descriptor.among(things)) != 1:
        return None
    if descriptor.size:
        unsized = Descriptor(None, descriptor.colour, descriptor.shape)
        # A size that tells nothing apart teaches to ignore sizes.
        if len(unsized.among(things)) == 1 and rng.random() < 0.8:
            return None
    return Goal(parts, descriptor.words(), (descriptor.among(things)[0].object_id,))


def _superlative_goal(things: tuple, rng: np.random.Generator) -> Goal | None:
    parts = choose(rng, (('any', 0.2), ('colour', 0.25), ('shape', 0.3), ('colour shape', 0.25)))
    descriptor = describe(pick(rng, things), parts)
    members = descriptor.among(things)
    if len(members) == 1 and rng.random() < 0.85:
        return None
    word = pick(rng, SUPERLATIVES)
    thing = superlative(word, members)
    if thing is None:
        return None
    return Goal(word, f'{word} {descriptor.words()}', (thing.object_id,))


def _anchor(things: tuple, rng: np.random.Generator) -> tuple | None:
    """Draw a thing that a short descriptor names alone: (thing, descriptor)."""
    thing = pick(rng, things)
    descriptor = describe(thing, choose(rng, (('colour shape', 0.65), ('shape', 0.25),
                                                ('colour', 0.1))))
    return (thing, descriptor) if len(descriptor.among(things)) == 1 else None


def _relation_phrase(rng: np.random.Generator, descriptor: Descriptor, relation: str,
                     anchor: Descriptor, plural: bool = False) -> str:
    words = pick(rng, RELATION_WORDS[relation])
    return f'{descriptor.words(plural)} {words} the {anchor.words()}'


def _relation_goal(things: tuple, rng: np.random.Generator) -> Goal | None:
    found = _anchor(things, rng)
    if found is None:
        return None
    anchor, anchor_descriptor = found
    descriptor = describe(pick(rng, things), choose(
        rng, (('any', 0.12), ('colour', 0.22), ('shape', 0.33), ('colour shape', 0.33))))
    relation = pick(rng, RELATIONS)
    targets = related(relation, descriptor, anchor, things)
    if targets is None or len(targets) != 1:
        return None
    others = [t for t in descriptor.among(things) if t is not anchor]
    if len(others) == 1 and rng.random() < 0.6:
        return None
    return Goal(relation, _relation_phrase(rng, descriptor, relation, anchor_descriptor),
                 (targets[0].object_id,))


def box_order(things: Sequence) -> list:
    """Order things as in the published answers: by box centre, x then y."""
    def centre(thing):
        left, top, right, bottom = thing.box_xyxy
        return left + right, top + bottom, thing.object_id
    return sorted(things, key=centre)


def _in_order(things: Sequence) -> tuple[int, ...]:
    return tuple(thing.object_id for thing in box_order(things))


def _plural_phrase(rng: np.random.Generator, words: str) -> tuple[str, bool]:
    """Write 'all red mugs' or 'red mugs'; only the second takes an article."""
    return ('all ' + words, False) if rng.random() < 0.65 else (words, True)


def several_goal(things: tuple, rng: np.random.Generator) -> Goal | None:
    """Draw an expression for all things of a kind; None where nothing is alike."""
    for _ in range(3 * _TRIES):
        parts = choose(rng, (('any', 0.08), ('colour', 0.3), ('shape', 0.32),
                              ('colour shape', 0.22), ('size shape', 0.04),
                              ('size colour', 0.04)))
        descriptor = describe(pick(rng, things), parts)
        found, relation = descriptor.among(things), None
        if rng.random() < 0.15:
            anchor = _anchor(things, rng)
            if anchor is None:
                continue
            relation = pick(rng, RELATIONS)
            found = related(relation, descriptor, anchor[0], things) or []
        least = 1 if rng.random() < 0.1 else 2
        if not least <= len(found) <= MOST_TARGETS:
            continue
        words = (descriptor.words(plural=True) if relation is None
                 else _relation_phrase(rng, descriptor, relation, anchor[1], plural=True))
        phrase, takes_article = _plural_phrase(rng, words)
        return Goal('several', phrase, _in_order(found), takes_article)
    return None


def absent_goal(things: tuple, rng: np.random.Generator) -> Goal:
    """Draw a plausible expression that nothing fits."""
    draw: Callable = choose(rng, ((_absent_attribute, 0.5), (_absent_size, 0.08),
                                   (_absent_relation, 0.22), (_absent_superlative, 0.1),
                                   (_absent_several, 0.1)))
    for _ in range(_TRIES):
        goal = draw(things, rng)
        if goal is not None:
            return goal
    while True:
        # With 64 kinds and a handful of things there always is an absent one.
        goal = _absent_attribute(things, rng)
        if goal is not None:
            return goal


def _absent_descriptor(things: tuple, rng: np.random.Generator) -> Descriptor | None:
    """Draw something that is not there, mostly with a colour and a shape that are."""
    way = choose(rng, (('both there', 0.5), ('colour there', 0.12), ('shape there', 0.12),
                        ('no shape', 0.14), ('no colour', 0.12)))
    colour, shape = pick(rng, things).colour, pick(rng, things).shape
    if way == 'colour there':
        shape = pick(rng, _SHAPE_WORDS)
    elif way == 'shape there':
        colour = pick(rng, COLOUR_WORDS)
    elif way == 'no shape':
        colour, shape = None, pick(rng, _SHAPE_WORDS)
    elif way == 'no colour':
        colour, shape = pick(rng, COLOUR_WORDS), None
    descriptor = Descriptor(None, colour, shape)
    return None if descriptor.among(things) else descriptor


def _absent_attribute(things: tuple, rng: np.random.Generator) -> Goal | None:
    descriptor = _absent_descriptor(things, rng)
    return descriptor and Goal('no attribute', descriptor.words())


def _absent_size(things: tuple, rng: np.random.Generator) -> Goal | None:
    thing = pick(rng, things)
    size = SIZE_WORDS[1 - SIZE_WORDS.index(thing.size)]
    colour = thing.colour if rng.random() < 0.6 else None
    descriptor = Descriptor(size, colour, thing.shape)
    return None if descriptor.among(things) else Goal('no size', descriptor.words())


def _absent_superlative(things: tuple, rng: np.random.Generator) -> Goal | None:
    descriptor = _absent_descriptor(things, rng)
    return descriptor and Goal('no superlative',
                                f'{pick(rng, SUPERLATIVES)} {descriptor.words()}')


def _absent_several(things: tuple, rng: np.random.Generator) -> Goal | None:
    descriptor = _absent_descriptor(things, rng)
    if descriptor is None:
        return None
    phrase, takes_article = _plural_phrase(rng, descriptor.words(plural=True))
    return Goal('no several', phrase, (), takes_article)


def _absent_relation(things: tuple, rng: np.random.Generator) -> Goal | None:
    """Deny a relation: the thing stands elsewhere, or one of the two is not there at all."""
    relation = pick(rng, RELATIONS)
    descriptor = describe(pick(rng, things),
                           choose(rng, (('shape', 0.4), ('colour', 0.2), ('colour shape', 0.4))))
    if rng.random() < 0.7:
        found = _anchor(things, rng)
        if found is None or descriptor.among(things) == [found[0]]:
            return None
        if related(relation, descriptor, found[0], things) != []:
            return None
        anchor = found[1]
    else:
        absent = _absent_descriptor(things, rng)
        if absent is None:
            return None
        anchor = describe(pick(rng, things), 'colour shape')
        descriptor, anchor = (absent, anchor) if rng.random() < 0.6 else (descriptor, absent)
        if len(anchor.among(things)) > 1:
            return None
    return Goal('no relation', _relation_phrase(rng, descriptor, relation, anchor))
