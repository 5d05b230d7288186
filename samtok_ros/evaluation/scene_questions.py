# SPDX-License-Identifier: Apache-2.0
"""Which goals and questions a scene is measured with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.sampling import SceneDescription
from samtok_ros.training.question import Question
from samtok_ros.training.questions import draw_question
from samtok_ros.training.texts import write
from samtok_ros.training.unknown_things import HELD_OUT_NOUNS, unknown_goal

REGION_KINDS = ('colour of region', 'shape of region')
_TRIES = 20


@dataclass(frozen=True)
class QuestionPlan:
    """How many of each a scene gets; fewer where a scene does not have that many different ones.

    Attributes:
        single: goals that name exactly one thing.
        several: goals that name two things or more.
        none: goals that name nothing in the picture.
        unknown: goals with a word for a thing that is on no table, and in no training.
        region: questions about a region, in turn about its colour and its shape.
    """

    single: int = 2
    several: int = 1
    none: int = 1
    unknown: int = 1
    region: int = 2

    def __post_init__(self) -> None:
        """Refuse negative numbers.

        Raises:
            ConfigError: a number is negative.
        """
        for name, count in vars(self).items():
            if count < 0:
                raise ConfigError(f'number of {name} questions is negative',
                                  expected='0 or more', got=count)


@dataclass(frozen=True)
class Goal:
    """A referring expression as a user would type it.

    Attributes:
        group: 'single', 'several' or 'none': how many things it names; or 'unknown'.
        kind: finer, such as 'colour shape' or 'left of'.
        text: what the user types.
        targets: object ids, empty for none.
    """

    group: str
    kind: str
    text: str
    targets: tuple[int, ...]


@dataclass(frozen=True)
class RegionQuestion:
    """A question about one thing that is pointed at.

    Attributes:
        kind: one of REGION_KINDS.
        text: `<region:1>` stands for the thing.
        object_id: of the thing.
        reply: the one right answer.
    """

    kind: str
    text: str
    object_id: int
    reply: str


@dataclass(frozen=True)
class SceneQuestions:
    """All that is asked about one scene."""

    goals: tuple[Goal, ...]
    regions: tuple[RegionQuestion, ...]


def questions_for(description: SceneDescription, plan: QuestionPlan, seed: int) -> SceneQuestions:
    """Draw the questions of a scene; equal arguments give equal questions.

    Each group has a random stream of its own: asking for more of one changes no other.

    Args:
        description: with at least one object.
        plan: how many.
        seed: of the questions, together with the seed of the scene.
    """
    goals: list[Goal] = []
    for number, group in enumerate(('single', 'several', 'none')):
        rng = np.random.default_rng([seed, description.seed, number])
        goals += _goals(description, rng, group, getattr(plan, group))
    rng = np.random.default_rng([seed, description.seed, 3])
    regions = _regions(description, rng, plan.region)
    goals += _unknown_goals(description, np.random.default_rng([seed, description.seed, 4]),
                            plan.unknown)
    return SceneQuestions(tuple(goals), tuple(regions))


def _goals(description: SceneDescription, rng: np.random.Generator, group: str,
           count: int) -> list[Goal]:
    """Draw goals with different phrases."""
    found: dict[str, Goal] = {}
    for _ in range(count):
        question = _try_until(
            lambda: draw_question(description, rng, group),
            lambda drawn: _group(drawn) == group and drawn.phrase not in found)
        if question is None:
            break
        found[question.phrase] = Goal(group, question.kind, _typed(question.phrase, rng),
                                      question.targets)
    return list(found.values())


def _unknown_goals(description: SceneDescription, rng: np.random.Generator,
                   count: int) -> list[Goal]:
    goals = (unknown_goal(tuple(description.objects), rng, HELD_OUT_NOUNS) for _ in range(count))
    return [Goal('unknown', goal.kind, _typed(goal.phrase, rng), ()) for goal in goals]


def _group(question: Question) -> str:
    # By what it names, not by its family: in poor scenes a family falls back to another one.
    return ('none', 'single', 'several')[min(len(question.targets), 2)]


def _typed(phrase: str, rng: np.random.Generator) -> str:
    """Write the phrase with an article, as people do, or without, half of the time each."""
    with_article = rng.random() < 0.5 and not phrase.startswith('all ')
    return f'the {phrase}' if with_article else phrase


def _regions(description: SceneDescription, rng: np.random.Generator,
             count: int) -> list[RegionQuestion]:
    """Draw region questions, each about another thing as long as there are some left."""
    found: list[RegionQuestion] = []
    for number in range(count):
        kind = REGION_KINDS[number % len(REGION_KINDS)]
        asked = {question.object_id for question in found}
        fresh = {thing.object_id for thing in description.objects} - asked
        question = _try_until(
            lambda: draw_question(description, rng, 'region'),
            lambda drawn, kind=kind, fresh=fresh: (
                drawn.kind == kind and (not fresh or drawn.regions[0] in fresh)),
            tries=10 * _TRIES)
        if question is not None:
            object_id = question.regions[0]
            text = write(question.instruction, {object_id: '<region:1>'})
            found.append(RegionQuestion(kind, text, object_id, write(question.reply, {})))
    return found


def _try_until(draw: Callable[[], Question], fits: Callable[[Question], bool],
               tries: int = _TRIES) -> Question | None:
    for _ in range(tries):
        question = draw()
        if fits(question):
            return question
    return None
