# SPDX-License-Identifier: Apache-2.0
"""Goals for things that are on no table: what people try first, and made-up words.

A model that has only heard words of its own world takes a banana for something that it knows. The
made-up words teach that a strange word means nothing, and not that some fifty do.
"""

import numpy as np

from samtok_ros.training.descriptors import (
    COLOUR_WORDS,
    RELATION_WORDS,
    RELATIONS,
    SIZE_WORDS,
    SUPERLATIVES,
)
from samtok_ros.training.goals import Goal, choose, describe, pick

_NOUNS = """
apple pear lemon grape strawberry carrot potato tomato onion bread sandwich pizza cake cookie egg
cheese fork spoon plate napkin kettle toaster phone laptop keyboard monitor camera radio lamp
chair sofa door window book pencil eraser ruler stapler scissors hammer wrench drill saw nail bolt
gear wheel bicycle car truck train airplane boat dog bird fish horse elephant spider person woman
child hand face shoe hat shirt jacket glove sock bag backpack wallet umbrella watch key coin
flower tree leaf stone brush towel soap mirror pillow robot drone rocket guitar piano drum
"""
NOUNS = tuple(_NOUNS.split())
"""Words of the training."""

_HELD_OUT = """
banana mango cucumber croissant hamburger knife teapot tablet printer headphones battery
shelf newspaper crayon screwdriver pliers screw tyre motorcycle bus helicopter ship cat butterfly
man finger boot scarf trousers suitcase necklace ticket rose mushroom feather comb toothbrush
candle blanket dice puzzle violin trumpet
"""
HELD_OUT_NOUNS = tuple(_HELD_OUT.split())
"""Words of the measurement, which no training has."""

_PARTS = """
ba be ko ku la le ma mi na no pa pi ra ro sa si ta ti va wo zu blo cra dri fle gru spa stre tha
ble den gel kin lor mon nel per ran ser tal ver wick ton son der
"""
_SYLLABLES = tuple(_PARTS.split())


def unknown_goal(
    things: tuple, rng: np.random.Generator, nouns: tuple[str, ...] | None = None,
) -> Goal:
    """Draw an expression with a word for something that is on no table; it names nothing.

    Args:
        things: of the scene.
        rng: draws.
        nouns: to draw from; words of the training, and made-up ones, when left out.
    """
    noun = pick(rng, nouns) if nouns else _strange_word(rng)
    thing = pick(rng, things)
    way = choose(rng, (('alone', 0.42), ('colour', 0.2), ('size', 0.08), ('superlative', 0.1),
                        ('target', 0.1), ('anchor', 0.1)))
    if way == 'colour':
        noun = f'{pick(rng, (thing.colour, pick(rng, COLOUR_WORDS)))} {noun}'
    elif way == 'size':
        noun = f'{pick(rng, SIZE_WORDS)} {noun}'
    elif way == 'superlative':
        noun = f'{pick(rng, SUPERLATIVES)} {noun}'
    if way not in ('target', 'anchor'):
        return Goal('unknown', noun)
    known = describe(thing, 'colour shape').words()
    relation = pick(rng, RELATION_WORDS[pick(rng, RELATIONS)])
    first, second = (noun, known) if way == 'target' else (known, noun)
    return Goal('unknown', f'{first} {relation} the {second}')


def _strange_word(rng: np.random.Generator) -> str:
    if rng.random() < 0.6:
        return pick(rng, NOUNS)
    return ''.join(pick(rng, _SYLLABLES) for _ in range(int(rng.integers(2, 4))))
