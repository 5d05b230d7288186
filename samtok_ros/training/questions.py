# SPDX-License-Identifier: Apache-2.0
"""Questions about a scene with their true answers, drawn from its description by a seed.

Every goal is unambiguous: the number of things it names is known, and no thing is a borderline
case of it. Instructions and answers have the exact published layout.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from samtok_ros.language.prompts import PROMPTS
from samtok_ros.training.goals import (
    Goal,
    absent_goal,
    choose,
    describe,
    pick,
    several_goal,
    single_goal,
)
from samtok_ros.training.imagined_scenes import imagined_scene
from samtok_ros.training.question import Question
from samtok_ros.training.scene_tasks import TASKS, with_article
from samtok_ros.training.texts import About, SpanOf, fill, mask_list
from samtok_ros.training.unknown_things import unknown_goal
from samtok_ros.words.answers import NO_TARGET
from samtok_ros.words.vocabulary import MaskVocabulary

MIX = {'single': 0.44, 'several': 0.12, 'none': 0.22, 'region': 0.22}
"""Shares of the goals and of the questions about one region."""

UNKNOWN = 'unknown'
"""Goals with words that no table has a thing for."""

FAMILIES = (*MIX, UNKNOWN, *TASKS)
_PLAIN_PROMPT_SHARE = 0.6


def sample_questions(
    description, seed: int | Sequence[int], count: int, mix: Mapping[str, float] = MIX,
) -> list[Question]:
    """Draw questions of several families.

    Args:
        description: a SceneDescription with at least one object.
        seed: equal seeds give equal questions.
        count: how many; repetitions are possible in poor scenes.
        mix: families with their shares.
    """
    rng = np.random.default_rng(seed)
    names, shares = tuple(mix), np.array(list(mix.values()))
    families = rng.choice(len(names), count, p=shares / shares.sum())
    return [draw_question(description, rng, names[family]) for family in families]


def draw_question(description, rng: np.random.Generator, family: str) -> Question:
    """Draw one question of a family; a task that a scene has nothing for becomes a goal."""
    things = tuple(description.objects)
    if family == 'region':
        return _region_question(things, rng)
    if family in TASKS:
        return TASKS[family](things, rng) or draw_question(description, rng, 'single')
    draw = {'single': single_goal, 'several': several_goal, 'none': absent_goal,
            UNKNOWN: unknown_goal}[family]
    goal = draw(things, rng)
    if goal is None and family == 'several':
        return draw_question(description, rng, 'single')
    assert goal is not None, family
    reply = (mask_list([(target, goal.phrase) for target in goal.targets]) if goal.targets
             else (NO_TARGET,))
    return Question(family, goal.kind, (_instruction(goal, rng),), reply, goal.phrase)


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
        questions = sample_questions(scene, [seed, index, 1], 8)
        questions += sample_questions(scene, [seed, index, 2], 3, dict.fromkeys(TASKS, 1.0))
        for question in questions:
            texts.append(question.filled_instruction(codes, vocabulary))
            texts.append(question.answer(codes, vocabulary))
    return texts


def _instruction(goal: Goal, rng: np.random.Generator) -> str:
    """Put the phrase into a published prompt, with an article where one fits."""
    if rng.random() < _PLAIN_PROMPT_SHARE:
        prompt = PROMPTS['goal'][0]
    else:
        prompt = pick(rng, PROMPTS['referring'])
    phrase = goal.phrase
    if goal.takes_article and 'the {phrase}' not in prompt and rng.random() < 0.6:
        phrase = 'the ' + phrase
    return prompt.replace('{phrase}', phrase)


_REGION_QUESTIONS = (('colour of region', 'What colour is {it}?'),
                     ('shape of region', 'What shape is {it}?'),
                     ('kind of region', 'What is {it}?'))


def _region_question(things: tuple, rng: np.random.Generator) -> Question:
    thing = pick(rng, things)
    region = SpanOf(thing.object_id)
    kind, text = choose(rng, tuple(zip(_REGION_QUESTIONS, (0.36, 0.4, 0.24), strict=True)))
    # The second form is how a question without a marker reaches the model.
    if rng.random() < 0.75:
        instruction = fill(text, {'it': region})
    else:
        instruction = fill(PROMPTS['regions_first'][0], {
            'regions': region, 'instruction': text.replace('{it}', pick(rng, ('it', 'this')))})
    if kind == 'colour of region':
        said = thing.colour
    else:
        parts = 'shape' if kind == 'shape of region' else 'colour shape'
        said = with_article(describe(thing, parts).words())
    return Question('region', kind, instruction,
                    ('It is', About(f' {said}', (thing.object_id,)), '.'))
