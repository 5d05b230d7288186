# SPDX-License-Identifier: Apache-2.0
"""Asks a model about scenes whose truth is known.

`measure` asks, `samples.headline_figures` counts, `report` writes it down; `samtok eval tabletop`
is the command that does all three.
"""

from collections.abc import Iterable

import numpy as np

from samtok_ros.evaluation.heldout_scenes import BASE_SEED, EvaluationScene
from samtok_ros.evaluation.one_image import OneImageTokenizer
from samtok_ros.evaluation.samples import GoalSample, MaskSample, RegionSample, Samples
from samtok_ros.evaluation.scene_questions import (
    Goal,
    QuestionPlan,
    RegionQuestion,
    questions_for,
)
from samtok_ros.evaluation.scene_tasks import ask_task, is_askable, task_questions
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import RegionReference
from samtok_ros.masks.scores import iou, overlap
from samtok_ros.pipeline import Pipeline
from samtok_ros.words.answers import answer_part, is_no_target

LIMITS = GenerationLimits(max_new_tokens=256, max_masks=16)
"""No true answer comes near: they only keep a broken model from talking on."""


def measure(
    pipeline: Pipeline, scenes: Iterable[EvaluationScene], plan: QuestionPlan | None = None,
    seed: int = BASE_SEED,
) -> Samples:
    """Ask everything about each scene; a picture's mask features are worked out once.

    Args:
        pipeline: the model; left as it is.
        scenes: with their truth.
        plan: what is asked; the default plan when left out.
        seed: of the questions.
    Raises:
        SamtokError: the model cannot read the pictures, or the device failed.
    """
    samples = Samples()
    tokenizer = OneImageTokenizer(pipeline.mask_tokenizer)
    pipeline = Pipeline(pipeline.language_model, tokenizer)
    for scene in scenes:
        questions = questions_for(scene.description, plan or QuestionPlan(), seed)
        codes = _measure_masks(tokenizer, scene, samples)
        samples.goals += [ask_goal(pipeline, scene, goal) for goal in questions.goals]
        samples.regions += [ask_region(pipeline, scene, question, codes[question.object_id])
                            for question in questions.regions if question.object_id in codes]
        samples.tasks += [sample for question in task_questions(scene.description, seed)
                          if is_askable(question, codes)
                          for sample in ask_task(pipeline, scene, question, codes, LIMITS)]
    return samples


def _measure_masks(tokenizer: OneImageTokenizer, scene: EvaluationScene,
                   samples: Samples) -> dict[int, tuple[int, ...]]:
    """Send every mask of a scene through its words and back; return the codes by object id."""
    things = [thing for thing in scene.description.objects if scene.mask(thing.object_id).any()]
    if not things:
        return {}
    masks = np.stack([scene.mask(thing.object_id) for thing in things])
    features = tokenizer.embed_image(scene.image_rgb)
    codes = tokenizer.encode(features, masks)
    drawn = tokenizer.decode(features, codes).masks
    samples.masks += [MaskSample(thing.shape, float(mask.mean()), iou(back, mask))
                      for thing, mask, back in zip(things, masks, drawn, strict=True)]
    return {thing.object_id: tuple(map(int, row))
            for thing, row in zip(things, codes, strict=True)}


def ask_goal(pipeline: Pipeline, scene: EvaluationScene, goal: Goal) -> GoalSample:
    """Ground one goal by free generation and compare it with the truth.

    Source: samtok-spec 4.1: the prediction is the union of all masks, empty without any.
    """
    answer = pipeline.ground(scene.image_rgb, goal.text, LIMITS)
    truth = np.isin(scene.segmentation, goal.targets)
    found = np.zeros(truth.shape, np.bool_)
    for region in answer.regions:
        found |= region.mask
    return GoalSample(
        goal.group, goal.kind, float(truth.mean()), overlap(found, truth), len(answer.regions),
        is_no_target(answer.text), len(answer.malformed), answer.finish_reason == 'length')


def ask_region(pipeline: Pipeline, scene: EvaluationScene, question: RegionQuestion,
               codes: tuple[int, ...]) -> RegionSample:
    """Ask about a region that is pointed at by the words of its true mask."""
    answer = pipeline.ask(scene.image_rgb, question.text, [RegionReference(codes)], LIMITS)
    area = float(scene.mask(question.object_id).mean())
    return RegionSample(question.kind, area, answer_part(answer.text) == question.reply)
