# SPDX-License-Identifier: Apache-2.0
"""Questions about a scene with their true answers, drawn from its description by a seed.

Every goal is unambiguous: the number of things it names is known, and no thing is a borderline
case of it. Instructions and answers have the exact published layout.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.language.instructions import PROMPTS
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
from samtok_ros.words.answers import NO_TARGET, MaskItem, format_mask_list
from samtok_ros.words.vocabulary import MaskVocabulary

REGION_MARKER = '{SEG}'
FAMILIES = ('single', 'several', 'none', 'region')
MIX = {'single': 0.44, 'several': 0.12, 'none': 0.22, 'region': 0.22}
MOST_TARGETS = 4
_TRIES = 12
_PLAIN_PROMPT_SHARE = 0.6
_SHAPE_WORDS = tuple(SHAPE_PLURALS)


@dataclass(frozen=True)
class Question:
    """One instruction and what a perfect model answers.

    Attributes:
        family: one of FAMILIES.
        kind: finer, for reports, such as 'colour shape', 'leftmost', 'no relation', 'shape of region'.
        instruction: text for the model; REGION_MARKER stands for the span of `region`.
        phrase: the referring expression without article, also the label; '' for region questions.
        targets: object ids in the order of the answer; empty for no target and region questions.
        region: object id that is asked about, 0 = none.
        reply: the answer of a region question, otherwise ''.
    """

    family: str
    kind: str
    instruction: str
    phrase: str = ''
    targets: tuple[int, ...] = ()
    region: int = 0
    reply: str = ''

    def answer(self, codes: Mapping[int, Sequence[int]], vocabulary: MaskVocabulary) -> str:
        """Write the full answer.

        Args:
            codes: by object id, the D codes of its mask.
            vocabulary: of the model.
        """
        if self.family == 'region':
            return self.reply
        if not self.targets:
            return NO_TARGET
        items = [MaskItem(tuple(int(c) for c in codes[target]), self.phrase)
                 for target in self.targets]
        return format_mask_list(items, vocabulary)

    def filled_instruction(self, codes: Mapping[int, Sequence[int]],
                           vocabulary: MaskVocabulary) -> str:
        """Return the instruction with the asked region as a span."""
        if not self.region:
            return self.instruction
        span = vocabulary.codes_to_words(tuple(int(c) for c in codes[self.region]))
        return self.instruction.replace(REGION_MARKER, span)


@dataclass(frozen=True)
class _Goal:
    kind: str
    phrase: str
    targets: tuple[int, ...] = ()
    takes_article: bool = True


def sample_questions(description, seed: int | Sequence[int], count: int) -> list[Question]:
    """Draw questions of all families in the proportions of MIX.

    Args:
        description: a SceneDescription with at least one object.
        seed: equal seeds give equal questions.
        count: how many; repetitions are possible in poor scenes.
    """
    rng = np.random.default_rng(seed)
    shares = np.array([MIX[family] for family in FAMILIES])
    families = rng.choice(len(FAMILIES), count, p=shares / shares.sum())
    return [draw_question(description, rng, FAMILIES[family]) for family in families]


def draw_question(description, rng: np.random.Generator, family: str) -> Question:
    """Draw one question of a family; 'several' falls back to 'single' where nothing is alike."""
    things = tuple(description.objects)
    if family == 'region':
        return _region_question(things, rng)
    draw = {'single': _single_goal, 'several': _several_goal, 'none': _absent_goal}[family]
    goal = draw(things, rng)
    if goal is None and family == 'several':
        return draw_question(description, rng, 'single')
    assert goal is not None, family
    return Question(family, goal.kind, _instruction(goal, rng), goal.phrase, goal.targets)


def corpus(count: int, seed: int = 0) -> list[str]:
    """Write sample texts of every kind, to train the text tokenizer on.

    Args:
        count: number of imagined scenes, each giving several instructions and answers.
        seed: equal seeds give equal texts.
    """
    vocabulary = MaskVocabulary()
    texts = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        scene = imagined_scene(rng)
        codes = {thing.object_id: (0,) * vocabulary.codebook_depth for thing in scene.objects}
        for question in sample_questions(scene, [seed, index, 1], 8):
            texts.append(question.filled_instruction(codes, vocabulary))
            texts.append(question.answer(codes, vocabulary))
    return texts


@dataclass(frozen=True)
class ImaginedObject:
    """The part of a SceneObject that questions read; for texts and tests without a renderer."""

    object_id: int
    shape: str
    colour: str
    size: str
    centre_xy: tuple[float, float]
    depth_m: float
    box_xyxy: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class ImaginedScene:
    """A description without picture."""

    objects: tuple[ImaginedObject, ...]


def imagined_scene(rng: np.random.Generator) -> ImaginedScene:
    """Draw 3 to 7 things with alike ones among them."""
    shapes = rng.choice(_SHAPE_WORDS, 4)
    colours = rng.choice(COLOUR_WORDS, 4)
    return ImaginedScene(tuple(
        ImaginedObject(number + 1, str(rng.choice(shapes)), str(rng.choice(colours)),
                       str(rng.choice(SIZE_WORDS)), (float(rng.random()), float(rng.random())),
                       float(rng.uniform(0.4, 0.9)))
        for number in range(int(rng.integers(3, 8)))))


def _instruction(goal: _Goal, rng: np.random.Generator) -> str:
    """Put the phrase into a published prompt, with an article where one fits."""
    if rng.random() < _PLAIN_PROMPT_SHARE:
        prompt = PROMPTS['goal'][0]
    else:
        prompt = _pick(rng, PROMPTS['referring'])
    phrase = goal.phrase
    if goal.takes_article and 'the {phrase}' not in prompt and rng.random() < 0.6:
        phrase = 'the ' + phrase
    return prompt.replace('{phrase}', phrase)


def _pick(rng: np.random.Generator, choices: Sequence):
    return choices[int(rng.integers(len(choices)))]


def _choose(rng: np.random.Generator, weights: Sequence[tuple[object, float]]):
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


def _describe(thing, parts: str) -> Descriptor:
    return Descriptor(**{part: getattr(thing, part) for part in _PARTS[parts]})


def _single_goal(things: tuple, rng: np.random.Generator) -> _Goal | None:
    draw: Callable = _choose(rng, ((_attribute_goal, 0.48), (_superlative_goal, 0.24),
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


def _widest_goal(things: tuple) -> _Goal:
    """Name all things alike: the way out for scenes in which nothing stands out."""
    descriptor = _describe(things[0], 'size colour shape')
    found = descriptor.among(things)
    if len(found) == 1:
        return _Goal('size colour shape', descriptor.words(), (found[0].object_id,))
    return _Goal('several', 'all ' + descriptor.words(plural=True), _in_order(found), False)


def _attribute_goal(things: tuple, rng: np.random.Generator) -> _Goal | None:
    parts = _choose(rng, (('colour', 0.14), ('shape', 0.26), ('colour shape', 0.36),
                          ('size shape', 0.1), ('size colour', 0.04),
                          ('size colour shape', 0.1)))
    descriptor = _describe(_pick(rng, things), parts)
    if len(descriptor.among(things)) != 1:
        return None
    if descriptor.size:
        unsized = Descriptor(None, descriptor.colour, descriptor.shape)
        # A size that tells nothing apart teaches to ignore sizes.
        if len(unsized.among(things)) == 1 and rng.random() < 0.8:
            return None
    return _Goal(parts, descriptor.words(), (descriptor.among(things)[0].object_id,))


def _superlative_goal(things: tuple, rng: np.random.Generator) -> _Goal | None:
    parts = _choose(rng, (('any', 0.2), ('colour', 0.25), ('shape', 0.3), ('colour shape', 0.25)))
    descriptor = _describe(_pick(rng, things), parts)
    members = descriptor.among(things)
    if len(members) == 1 and rng.random() < 0.85:
        return None
    word = _pick(rng, SUPERLATIVES)
    thing = superlative(word, members)
    if thing is None:
        return None
    return _Goal(word, f'{word} {descriptor.words()}', (thing.object_id,))


def _anchor(things: tuple, rng: np.random.Generator) -> tuple | None:
    """Draw a thing that a short descriptor names alone: (thing, descriptor)."""
    thing = _pick(rng, things)
    descriptor = _describe(thing, _choose(rng, (('colour shape', 0.65), ('shape', 0.25),
                                                ('colour', 0.1))))
    return (thing, descriptor) if len(descriptor.among(things)) == 1 else None


def _relation_phrase(rng: np.random.Generator, descriptor: Descriptor, relation: str,
                     anchor: Descriptor, plural: bool = False) -> str:
    words = _pick(rng, RELATION_WORDS[relation])
    return f'{descriptor.words(plural)} {words} the {anchor.words()}'


def _relation_goal(things: tuple, rng: np.random.Generator) -> _Goal | None:
    found = _anchor(things, rng)
    if found is None:
        return None
    anchor, anchor_descriptor = found
    descriptor = _describe(_pick(rng, things), _choose(
        rng, (('any', 0.12), ('colour', 0.22), ('shape', 0.33), ('colour shape', 0.33))))
    relation = _pick(rng, RELATIONS)
    targets = related(relation, descriptor, anchor, things)
    if targets is None or len(targets) != 1:
        return None
    others = [t for t in descriptor.among(things) if t is not anchor]
    if len(others) == 1 and rng.random() < 0.6:
        return None
    return _Goal(relation, _relation_phrase(rng, descriptor, relation, anchor_descriptor),
                 (targets[0].object_id,))


def _in_order(things: Sequence) -> tuple[int, ...]:
    """Order as in the published answers: by box centre, x then y."""
    def centre(thing):
        left, top, right, bottom = thing.box_xyxy
        return left + right, top + bottom, thing.object_id
    return tuple(thing.object_id for thing in sorted(things, key=centre))


def _plural_phrase(rng: np.random.Generator, words: str) -> tuple[str, bool]:
    """Write 'all red mugs' or 'red mugs'; only the second takes an article."""
    return ('all ' + words, False) if rng.random() < 0.65 else (words, True)


def _several_goal(things: tuple, rng: np.random.Generator) -> _Goal | None:
    for _ in range(3 * _TRIES):
        parts = _choose(rng, (('any', 0.08), ('colour', 0.3), ('shape', 0.32),
                              ('colour shape', 0.22), ('size shape', 0.04),
                              ('size colour', 0.04)))
        descriptor = _describe(_pick(rng, things), parts)
        found, relation = descriptor.among(things), None
        if rng.random() < 0.15:
            anchor = _anchor(things, rng)
            if anchor is None:
                continue
            relation = _pick(rng, RELATIONS)
            found = related(relation, descriptor, anchor[0], things) or []
        least = 1 if rng.random() < 0.1 else 2
        if not least <= len(found) <= MOST_TARGETS:
            continue
        words = (descriptor.words(plural=True) if relation is None
                 else _relation_phrase(rng, descriptor, relation, anchor[1], plural=True))
        phrase, takes_article = _plural_phrase(rng, words)
        return _Goal('several', phrase, _in_order(found), takes_article)
    return None


def _absent_goal(things: tuple, rng: np.random.Generator) -> _Goal:
    draw: Callable = _choose(rng, ((_absent_attribute, 0.5), (_absent_size, 0.08),
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
    way = _choose(rng, (('both there', 0.5), ('colour there', 0.12), ('shape there', 0.12),
                        ('no shape', 0.14), ('no colour', 0.12)))
    colour, shape = _pick(rng, things).colour, _pick(rng, things).shape
    if way == 'colour there':
        shape = _pick(rng, _SHAPE_WORDS)
    elif way == 'shape there':
        colour = _pick(rng, COLOUR_WORDS)
    elif way == 'no shape':
        colour, shape = None, _pick(rng, _SHAPE_WORDS)
    elif way == 'no colour':
        colour, shape = _pick(rng, COLOUR_WORDS), None
    descriptor = Descriptor(None, colour, shape)
    return None if descriptor.among(things) else descriptor


def _absent_attribute(things: tuple, rng: np.random.Generator) -> _Goal | None:
    descriptor = _absent_descriptor(things, rng)
    return descriptor and _Goal('no attribute', descriptor.words())


def _absent_size(things: tuple, rng: np.random.Generator) -> _Goal | None:
    thing = _pick(rng, things)
    size = SIZE_WORDS[1 - SIZE_WORDS.index(thing.size)]
    colour = thing.colour if rng.random() < 0.6 else None
    descriptor = Descriptor(size, colour, thing.shape)
    return None if descriptor.among(things) else _Goal('no size', descriptor.words())


def _absent_superlative(things: tuple, rng: np.random.Generator) -> _Goal | None:
    descriptor = _absent_descriptor(things, rng)
    return descriptor and _Goal('no superlative',
                                f'{_pick(rng, SUPERLATIVES)} {descriptor.words()}')


def _absent_several(things: tuple, rng: np.random.Generator) -> _Goal | None:
    descriptor = _absent_descriptor(things, rng)
    if descriptor is None:
        return None
    phrase, takes_article = _plural_phrase(rng, descriptor.words(plural=True))
    return _Goal('no several', phrase, (), takes_article)


def _absent_relation(things: tuple, rng: np.random.Generator) -> _Goal | None:
    """Deny a relation: the thing stands elsewhere, or one of the two is not there at all."""
    relation = _pick(rng, RELATIONS)
    descriptor = _describe(_pick(rng, things),
                           _choose(rng, (('shape', 0.4), ('colour', 0.2), ('colour shape', 0.4))))
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
        anchor = _describe(_pick(rng, things), 'colour shape')
        descriptor, anchor = (absent, anchor) if rng.random() < 0.6 else (descriptor, absent)
        if len(anchor.among(things)) > 1:
            return None
    return _Goal('no relation', _relation_phrase(rng, descriptor, relation, anchor))


_REGION_QUESTIONS = (('colour of region', 'What colour is {it}?'),
                     ('shape of region', 'What shape is {it}?'),
                     ('kind of region', 'What is {it}?'))


def _region_question(things: tuple, rng: np.random.Generator) -> Question:
    thing = _pick(rng, things)
    kind, text = _choose(rng, tuple(zip(_REGION_QUESTIONS, (0.36, 0.4, 0.24), strict=True)))
    # The second form is how a question without a marker reaches the model.
    if rng.random() < 0.75:
        instruction = text.replace('{it}', REGION_MARKER)
    else:
        instruction = f'{REGION_MARKER}\n' + text.replace('{it}', _pick(rng, ('it', 'this')))
    if kind == 'colour of region':
        reply = f'It is {thing.colour}.'
    else:
        parts = 'shape' if kind == 'shape of region' else 'colour shape'
        words = _describe(thing, parts).words()
        reply = f'It is {"an" if words[0] in "aeiou" else "a"} {words}.'
    return Question('region', kind, instruction, region=thing.object_id, reply=reply)
