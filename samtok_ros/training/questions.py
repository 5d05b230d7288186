# SPDX-License-Identifier: Apache-2.0
"""Questions about a scene with their true answers, drawn from its description by a seed.

Every goal is unambiguous: the number of things it names is known, and no thing is a borderline
case of it. Instructions and answers have the exact published layout.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from samtok_ros.language.instructions import PROMPTS
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
from samtok_ros.words.answers import NO_TARGET, MaskItem, format_mask_list
from samtok_ros.words.vocabulary import MaskVocabulary

REGION_MARKER = '{SEG}'
FAMILIES = ('single', 'several', 'none', 'region')
MIX = {'single': 0.44, 'several': 0.12, 'none': 0.22, 'region': 0.22}
_PLAIN_PROMPT_SHARE = 0.6


@dataclass(frozen=True)
class Question:
    """One instruction and what a perfect model answers.

    Attributes:
        family: one of FAMILIES.
        kind: finer, for reports, such as 'colour shape', 'leftmost', 'no relation'.
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
    draw = {'single': single_goal, 'several': several_goal, 'none': absent_goal}[family]
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
    kind, text = choose(rng, tuple(zip(_REGION_QUESTIONS, (0.36, 0.4, 0.24), strict=True)))
    # The second form is how a question without a marker reaches the model.
    if rng.random() < 0.75:
        instruction = text.replace('{it}', REGION_MARKER)
    else:
        instruction = f'{REGION_MARKER}\n' + text.replace('{it}', pick(rng, ('it', 'this')))
    if kind == 'colour of region':
        reply = f'It is {thing.colour}.'
    else:
        parts = 'shape' if kind == 'shape of region' else 'colour shape'
        words = describe(thing, parts).words()
        reply = f'It is {"an" if words[0] in "aeiou" else "a"} {words}.'
    return Question('region', kind, instruction, region=thing.object_id, reply=reply)
