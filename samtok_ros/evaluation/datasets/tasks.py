# SPDX-License-Identifier: Apache-2.0
"""The table of data sets: how each is read, asked, measured and shown."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from samtok_ros.evaluation.datasets import (
    dlc_bench,
    gar_bench,
    gcg,
    gres,
    grounding_suite,
    multi_round,
    psg,
    refcoco,
)
from samtok_ros.evaluation.datasets.predictions import dlc_predictions, suite_predictions
from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.datasets.sample import DataPlace, Samples
from samtok_ros.evaluation.metrics.grounded_captions import caption_iou, gcg_measures
from samtok_ros.evaluation.metrics.measure import Measure
from samtok_ros.evaluation.metrics.phrases import PhraseSimilarity
from samtok_ros.evaluation.metrics.region_texts import (
    choice_measures,
    is_right,
    region_caption_measures,
    word_count,
)
from samtok_ros.evaluation.metrics.scene_graph import scene_graph_measures, triplet_recall
from samtok_ros.evaluation.metrics.segmentation import (
    gres_measures,
    grounding_suite_measures,
    multi_round_measures,
    refcoco_measures,
    union_iou,
)
from samtok_ros.image.zoom import ZoomRule
from samtok_ros.language.generation import THINKING_TOKENS


class Reader(Protocol):
    """A module that reads one data set."""

    def files(self, place: DataPlace) -> tuple[Path, ...]:
        """Return the annotation files."""

    def read(self, place: DataPlace) -> Samples:
        """Give the samples."""


Measures = Callable[[Iterable[Result], PhraseSimilarity], Sequence[Measure]]


@dataclass(frozen=True)
class DatasetTask:
    """One data set.

    Attributes:
        reader: module that reads it.
        wordings: keys of PROMPTS that the questions are made of; for the manifest.
        max_new_tokens: limit of the published script.
        thinking_tokens: the same for models that think.
        measures: results, those that were skipped left out, -> figures.
        score: of one result, the worst ones smallest; None for one that has none.
        score_name: what the score is.
        needs_skipped: whether the figures count what was skipped.
        zoom: the published rule by which small regions are enlarged; None: they are not.
        predictions: name and content of files in the published form.
    """

    reader: Reader
    wordings: tuple[str, ...]
    max_new_tokens: int
    measures: Measures
    score: Callable[[Result], float | None]
    score_name: str = 'IoU'
    needs_skipped: bool = False
    zoom: ZoomRule | None = None
    predictions: Mapping[str, Callable[[Iterable[Result]], str]] | None = None
    thinking_tokens: int = THINKING_TOKENS


def _plain(measure: Callable[[Iterable[Result]], Sequence[Measure]]) -> Measures:
    return lambda results, _: measure(results)


TASKS: dict[str, DatasetTask] = {
    'gres': DatasetTask(
        gres, ('goal',), 128, _plain(gres_measures),
        union_iou),
    'refcoco': DatasetTask(
        refcoco, ('goal',), 128,
        _plain(refcoco_measures), union_iou, needs_skipped=True),
    'multi-round': DatasetTask(
        multi_round, (), 128,
        _plain(multi_round_measures), union_iou),
    'grounding-suite': DatasetTask(
        grounding_suite, ('sentence_goal',), 512,
        _plain(grounding_suite_measures), union_iou,
        predictions={'predictions.jsonl': suite_predictions}),
    'gcg': DatasetTask(
        gcg, ('measured_caption',), 512,
        lambda results, similarity: gcg_measures(list(results), similarity), caption_iou,
        score_name='symmetric IoU', thinking_tokens=2048),
    'dlc-bench': DatasetTask(
        dlc_bench, ('region_caption',), 1024,
        _plain(region_caption_measures), word_count, score_name='words',
        zoom=ZoomRule(0.3, compatible=True),
        predictions={'predictions.json': dlc_predictions}),
    'gar-bench': DatasetTask(
        gar_bench, ('multiple_choice',), 1024,
        _plain(choice_measures), is_right, score_name='right'),
    'psg': DatasetTask(
        psg, ('scene_graph', 'scene_graph_candidates', 'scene_graph_first_round',
              'scene_graph_second_round'), 2048,
        _plain(scene_graph_measures), triplet_recall, score_name='R@100', thinking_tokens=2048),
}
