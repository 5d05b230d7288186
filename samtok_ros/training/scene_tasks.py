# SPDX-License-Identifier: Apache-2.0
"""Tasks beyond referring segmentation: captions, relations, choices, rounds, scene graphs.

Each draws an instruction and its true answer for the things of one scene. What is not certain, such
as which of two things at the same height is "in front", is not said.
"""

from collections.abc import Callable, Sequence

import numpy as np

from samtok_ros.language.prompts import PROMPTS
from samtok_ros.language.tasks import lettered, quoted_names
from samtok_ros.training.descriptors import (
    COLOUR_WORDS,
    DEPTH_MARGIN_M,
    RELATIONS,
    SHAPE_PLURALS,
    SIDE_MARGIN,
    Truth,
    holds,
    related,
)
from samtok_ros.training.goals import box_order, choose, describe, pick, single_goal
from samtok_ros.training.question import Question
from samtok_ros.training.texts import About, Part, SpanOf, Text, fill, mask_list, scene_graph
from samtok_ros.words.answers import NO_TARGET

MOST_TRIPLETS = 3
MOST_ITEMS = 4
_TRIES = 20
_OPPOSITES = {'left of': 'right of', 'right of': 'left of', 'in front of': 'behind',
              'behind': 'in front of'}


def with_article(words: str) -> str:
    """Return words with `a` or `an` in front."""
    return f'{"an" if words[0] in "aeiou" else "a"} {words}'


def clear_relation(thing, anchor) -> str | None:
    """Return the relation of two things that is plainest to see, None when none is clear."""
    sideways = abs(thing.centre_xy[0] - anchor.centre_xy[0]) / SIDE_MARGIN
    deep = abs(thing.depth_m - anchor.depth_m) / DEPTH_MARGIN_M
    pairs = (RELATIONS[:2], RELATIONS[2:])
    for pair in pairs if sideways >= deep else pairs[::-1]:
        for relation in pair:
            if holds(relation, thing, anchor) is Truth.TRUE:
                return relation
    return None


def caption_task(things: tuple, rng: np.random.Generator) -> Question:
    """Describe one region: what it is, and where it stands."""
    thing = pick(rng, things)
    reply: list[Part] = [
        About(with_article(describe(thing, 'size colour shape').words()).capitalize(),
              (thing.object_id,))]
    anchor = _landmark(thing, things)
    if anchor is not None:
        both = (thing.object_id, anchor.object_id)
        reply += [About(f', {clear_relation(thing, anchor)}', both),
                  About(f' the {_name(anchor)}', (anchor.object_id,))]
    prompt = pick(rng, PROMPTS['region_caption'])
    return Question('caption', 'region caption', fill(prompt, {'region': SpanOf(thing.object_id)}),
                    (*reply, '.'))


def relation_task(things: tuple, rng: np.random.Generator) -> Question | None:
    """Say how two regions stand to one another."""
    pair = _clear_pair(things, rng)
    if pair is None:
        return None
    first, second, relation = pair
    reply = (About(f'The {_name(first)}', (first.object_id,)),
             About(f' is {relation}', (first.object_id, second.object_id)),
             About(f' the {_name(second)}', (second.object_id,)), '.')
    instruction = fill(pick(rng, PROMPTS['relation']),
                       {'first': SpanOf(first.object_id), 'second': SpanOf(second.object_id)})
    return Question('relation', relation, instruction, reply)


def choice_task(things: tuple, rng: np.random.Generator) -> Question | None:
    """Pick the letter of the one right answer about one or two regions."""
    kind = choose(rng, (('colour', 0.35), ('shape', 0.35), ('relation', 0.3)))
    if kind == 'relation':
        pair = _clear_pair(things, rng)
        if pair is None:
            return None
        thing, anchor, right = pair
        wrong = [_OPPOSITES[right]]
        question: Text = ('Where is ', SpanOf(thing.object_id), ' relative to ',
                          SpanOf(anchor.object_id), '?')
        about = (thing.object_id, anchor.object_id)
    else:
        thing = pick(rng, things)
        right = getattr(thing, kind)
        words = COLOUR_WORDS if kind == 'colour' else tuple(SHAPE_PLURALS)
        others = [word for word in words if word != right]
        wrong = [others[i] for i in rng.permutation(len(others))[:3]]
        question = (f'What {kind} is ', SpanOf(thing.object_id), '?')
        about = (thing.object_id,)
    options = [right, *wrong]
    options = [options[i] for i in rng.permutation(len(options))]
    letter = chr(65 + options.index(right))
    return Question('choice', f'choice of {kind}',
                    fill(PROMPTS['multiple_choice'][0],
                         {'question': question, 'choices': lettered(options)}),
                    (About(letter, about),))


def relative_task(things: tuple, rng: np.random.Generator) -> Question | None:
    """Segment what stands in a relation to a region that is pointed at."""
    for _ in range(_TRIES):
        found = _relative(things, pick(rng, things), rng)
        if found is not None:
            kind, instruction, reply = found
            return Question('relative', kind, instruction, reply)
    return None


def rounds_task(things: tuple, rng: np.random.Generator) -> Question | None:
    """Segment one thing, then go on from its mask words in a second round."""
    goal = single_goal(things, rng)
    if len(goal.targets) != 1:
        return None
    anchor = next(thing for thing in things if thing.object_id == goal.targets[0])
    first = (fill(PROMPTS['goal'][0], {'phrase': f'the {goal.phrase}'}),
             mask_list([(anchor.object_id, goal.phrase)]))
    for _ in range(_TRIES):
        if rng.random() < 0.25:
            part = pick(rng, ('colour', 'shape'))
            said = anchor.colour if part == 'colour' else with_article(anchor.shape)
            return Question('rounds', f'{part} after a round',
                            (f'What {part} is ', SpanOf(anchor.object_id), '?'),
                            ('It is ', About(said, (anchor.object_id,)), '.'), earlier=(first,))
        found = _relative(things, anchor, rng)
        if found is not None:
            kind, instruction, reply = found
            return Question('rounds', kind, instruction, reply, earlier=(first,))
    return None


def categories_task(things: tuple, rng: np.random.Generator) -> Question | None:
    """Find everything of some categories, absent ones among them."""
    present = sorted({thing.shape for thing in things})
    absent = [shape for shape in SHAPE_PLURALS if shape not in present]
    wanted = [present[i] for i in rng.permutation(len(present))[:int(rng.integers(1, 3))]]
    wanted += [absent[i] for i in rng.permutation(len(absent))[:int(rng.integers(0, 3))]]
    wanted = [wanted[i] for i in rng.permutation(len(wanted))]
    found = box_order([thing for thing in things if thing.shape in wanted])
    if not 1 <= len(found) <= MOST_ITEMS:
        return None
    reply = mask_list([(thing.object_id, About(thing.shape, (thing.object_id,)))
                       for thing in found])
    return Question('categories', 'categories',
                    fill(PROMPTS['categories'][0], {'names': quoted_names(wanted)}), reply)


def grounded_caption_task(things: tuple, rng: np.random.Generator) -> Question:
    """Describe the picture, with the mask words of each phrase behind it."""
    detailed = rng.random() < 0.4
    parts = 'size colour shape' if detailed else 'colour shape'
    reply: list[Part] = ['The picture shows']
    ordered = box_order(things)
    for number, thing in enumerate(ordered):
        about = (thing.object_id,)
        joint = '' if number == 0 else ' and' if number == len(ordered) - 1 else ','
        words = with_article(describe(thing, parts).words())
        reply += [About(joint, about), ' <|object_ref_start|>', About(f' {words}', about),
                  ' <|object_ref_end|> ', SpanOf(thing.object_id)]
    prompt = pick(rng, PROMPTS['detailed_caption' if detailed else 'brief_caption'])
    return Question('grounded caption', 'detailed' if detailed else 'brief', (prompt,),
                    (*(part for part in reply if part != About('', ())), '.'))


def scene_graph_task(things: tuple, rng: np.random.Generator) -> Question | None:
    """Say how neighbours stand to one another, as triplets with masks."""
    ordered = box_order(things)
    triplets = []
    for first, second in zip(ordered, ordered[1:], strict=False):
        relation = clear_relation(first, second)
        if relation is not None:
            ends = [(thing.object_id, About(_name(thing), (thing.object_id,)))
                    for thing in (first, second)]
            triplets.append((ends[0], About(relation, (first.object_id, second.object_id)),
                             ends[1]))
    if not triplets:
        return None
    return Question('scene graph', 'scene graph', (pick(rng, PROMPTS['scene_graph']),),
                    scene_graph(triplets[:MOST_TRIPLETS]))


TASKS: dict[str, Callable[[tuple, np.random.Generator], Question | None]] = {
    'caption': caption_task, 'relation': relation_task, 'choice': choice_task,
    'relative': relative_task, 'rounds': rounds_task, 'categories': categories_task,
    'grounded caption': grounded_caption_task, 'scene graph': scene_graph_task}
"""How each task is drawn; None where a scene has nothing for it."""


def _name(thing) -> str:
    return describe(thing, 'colour shape').words()


def _landmark(thing, things: tuple):
    """Return the nearest other thing that its name tells apart and whose relation is clear."""
    def distance(other) -> float:
        return float(np.hypot(*np.subtract(thing.centre_xy, other.centre_xy)))

    for other in sorted(things, key=lambda t: (distance(t), t.object_id)):
        alone = len(describe(other, 'colour shape').among(things)) == 1
        if other is not thing and alone and clear_relation(thing, other):
            return other
    return None


def _clear_pair(things: tuple, rng: np.random.Generator):
    """Draw two things that stand in a clear relation: (thing, anchor, relation)."""
    if len(things) < 2:
        return None
    for _ in range(_TRIES):
        thing, anchor = (things[i] for i in rng.permutation(len(things))[:2])
        relation = clear_relation(thing, anchor)
        if relation is not None:
            return thing, anchor, relation
    return None


def _relative(things: Sequence, anchor, rng: np.random.Generator):
    """Draw a goal relative to a region: (kind, instruction, reply), None when unclear."""
    descriptor = describe(pick(rng, things), choose(
        rng, (('any', 0.25), ('colour', 0.2), ('shape', 0.3), ('colour shape', 0.25))))
    relation = pick(rng, RELATIONS)
    found = related(relation, descriptor, anchor, things)
    if found is None or len(found) > 1 or (not found and rng.random() < 0.75):
        return None
    words = descriptor.words()
    phrase = (f'the {words} {relation} ', SpanOf(anchor.object_id))
    instruction = fill(PROMPTS['goal'][0], {'phrase': phrase})
    if not found:
        return f'nothing {relation} a region', instruction, (NO_TARGET,)
    return (f'{relation} a region', instruction,
            mask_list([(found[0].object_id, words)]))
