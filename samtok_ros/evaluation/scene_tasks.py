# SPDX-License-Identifier: Apache-2.0
"""Asks a model one question of each task about a scene, and judges the answers."""

from collections.abc import Mapping

import numpy as np

from samtok_ros.evaluation.heldout_scenes import EvaluationScene
from samtok_ros.evaluation.samples import TaskSample
from samtok_ros.evaluation.task_scores import SCORES, SaidAnswer, SaidRegion, SceneTruth
from samtok_ros.language.generation import Finished, GenerationLimits, SpanClosed
from samtok_ros.language.instructions import Instruction, RegionReference, Round, joined
from samtok_ros.pipeline import Pipeline
from samtok_ros.training.question import Question
from samtok_ros.training.questions import draw_question
from samtok_ros.training.scene_tasks import TASKS
from samtok_ros.training.texts import About, SpanOf, Text, spans_in, spans_of_codes, write
from samtok_ros.words.answers import answer_part, label_spans
from samtok_ros.words.span_parser import SpanParser
from samtok_ros.words.vocabulary import MaskVocabulary

Codes = Mapping[int, tuple[int, ...]]


def task_questions(description, seed: int) -> list[Question]:
    """Draw one question of each task that a scene has something for.

    Each task has a random stream of its own.
    """
    drawn = []
    for number, family in enumerate(TASKS):
        rng = np.random.default_rng([seed, description.seed, 100 + number])
        question = draw_question(description, rng, family)
        if question.family == family:
            drawn.append(question)
    return drawn


def ask_task(
    pipeline: Pipeline, scene: EvaluationScene, question: Question, codes: Codes,
    limits: GenerationLimits,
) -> list[TaskSample]:
    """Ask by free generation and judge what comes.

    Regions in the instruction are pointed at by the words of their true masks; so are those in
    earlier rounds, as in the published evaluation of several rounds.

    Source: samtok-spec 3.6.
    """
    vocabulary = pipeline.language_model.vocabulary
    history = tuple(Round(to_instruction(asked, codes), _in_words(said, codes, vocabulary))
                    for asked, said in question.earlier)
    events = list(pipeline.language_model.generate(
        scene.image_rgb, to_instruction(question.instruction, codes), limits, history=history))
    finished = next(event for event in events if isinstance(event, Finished))
    said = _said(pipeline, scene, finished.text,
                 [event.codes for event in events if isinstance(event, SpanClosed)])
    truth = SceneTruth({thing.object_id: thing for thing in scene.description.objects},
                       scene.segmentation)
    return [TaskSample(question.family, question.kind, name, value)
            for name, value in SCORES[question.family](question, said, truth).items()]


def to_instruction(text: Text, codes: Codes) -> Instruction:
    """Return a drawn instruction as the language model takes it."""
    return joined([RegionReference(codes[part.object_id]) if isinstance(part, SpanOf)
                   else part.text if isinstance(part, About) else part for part in text])


def is_askable(question: Question, codes: Codes) -> bool:
    """Say whether there are codes for everything that the question points at."""
    pointed = [*question.regions, *(number for _, said in question.earlier
                                    for number in spans_in(said))]
    return all(number in codes for number in pointed)


def _in_words(text: Text, codes: Codes, vocabulary: MaskVocabulary) -> str:
    return write(text, spans_of_codes(codes, spans_in(text), vocabulary))


def _said(pipeline: Pipeline, scene: EvaluationScene, text: str,
          codes: list[tuple[int, ...]]) -> SaidAnswer:
    spans = SpanParser(pipeline.language_model.vocabulary).parse(text).spans
    if not spans:
        return SaidAnswer(answer_part(text), ())
    features = pipeline.mask_tokenizer.embed_image(scene.image_rgb)
    masks = pipeline.mask_tokenizer.decode(features, np.array(codes, np.int64)).masks
    labelled = label_spans(text, spans)
    return SaidAnswer(answer_part(text), tuple(
        SaidRegion(text[span.span.start:span.span.end], span.label, mask)
        for span, mask in zip(labelled, masks, strict=False)))
