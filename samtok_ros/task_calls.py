# SPDX-License-Identifier: Apache-2.0
"""One call per task: what it needs as arguments, its answer as an Answer with a record."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from samtok_ros.image.zoom import ZoomRule, zoomed
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.instructions import Picture, RegionReference, Round, named_regions
from samtok_ros.language.tasks import TaskQuestion, zoomed_in
from samtok_ros.regions import Answer, Region

if TYPE_CHECKING:
    from samtok_ros.pipeline import Inquiry, Pipeline
    from samtok_ros.pointing import Pointer


class TaskCalls:
    """Calls of a Pipeline, in words that the models were trained on.

    Each raises what `ask` raises. A region is whatever `ask` takes as one.
    """

    def describe_region(
        self: 'Pipeline',
        image_rgb: np.ndarray,
        region: 'Pointer',
        zoom: ZoomRule | None = None,
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Describe a region: `record.text` is the description.

        Args:
            image_rgb: (H, W, 3) uint8.
            region: to describe.
            zoom: shows a small region a second time, enlarged, with mask words of its own. Only
                for models that were trained on it, which the embedded one was not; None: never.
            limits: when to end at the latest.
        """
        inquiry = self.question(image_rgb, TaskQuestion('region_caption'), [region])
        if zoom is not None:
            inquiry = self._zoomed_in(image_rgb, inquiry, region, zoom)
        *_, answer = self.stream(image_rgb, inquiry, limits)
        return answer

    def relate(
        self: 'Pipeline', image_rgb: np.ndarray, first: 'Pointer', second: 'Pointer',
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Say how two regions stand to one another: `record.text` says it."""
        return self.ask(image_rgb, TaskQuestion('relation'), [first, second], limits)

    def choose(
        self: 'Pipeline', image_rgb: np.ndarray, question: str, options: Sequence[str],
        regions: Sequence['Pointer'] = (), limits: GenerationLimits | None = None,
    ) -> Answer:
        """Let the model choose: `record.choice` is the letter, 'A' for the first option.

        Args:
            image_rgb: (H, W, 3) uint8.
            question: `<region:1>` in it stands for the first region.
            options: two or more, without letters.
            regions: that the question is about.
            limits: when to end at the latest.
        """
        asked = TaskQuestion('multiple_choice', question, tuple(options))
        return self.ask(image_rgb, asked, regions, limits)

    def find_categories(
        self: 'Pipeline', image_rgb: np.ndarray, names: Sequence[str],
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Find everything of some categories: `regions` with the names as labels."""
        return self.ask(image_rgb, TaskQuestion('categories', items=tuple(names)), (), limits)

    def caption(
        self: 'Pipeline', image_rgb: np.ndarray, detailed: bool = False,
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Describe the image with a mask for each thing named: `record.phrases` tells which."""
        task = 'detailed_caption' if detailed else 'brief_caption'
        return self.ask(image_rgb, TaskQuestion(task), (), limits)

    def scene_graph(
        self: 'Pipeline', image_rgb: np.ndarray, names: Sequence[str] = (),
        predicates: Sequence[str] = (), regions: Sequence['Pointer'] = (),
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Say how the things in the image stand to one another: `record.relations`.

        Args:
            image_rgb: (H, W, 3) uint8.
            names: of things to choose from; with predicates, or none.
            predicates: to choose from; alone they are the second of the two published rounds, in
                a conversation (docs/tasks.md).
            regions: the things themselves, with names and predicates, or none.
            limits: when to end at the latest.
        """
        asked = TaskQuestion('scene_graph', '', tuple(names), tuple(predicates))
        return self.ask(image_rgb, asked, regions, limits)

    def conversation(self: 'Pipeline', image_rgb: np.ndarray) -> 'Conversation':
        """Begin a conversation about an image, in which later rounds know the earlier ones."""
        return Conversation(self, image_rgb)

    def _zoomed_in(
        self: 'Pipeline', image_rgb: np.ndarray, inquiry: 'Inquiry', region: 'Pointer',
        rule: ZoomRule,
    ) -> 'Inquiry':
        """Return a question about one region with an enlarged picture of it, if the rule says so.

        Source: samtok-spec 3.3 and 3.5.
        """
        mask = self.mask_of(image_rgb, region)
        crop = zoomed(image_rgb, mask, rule) if mask.any() else None
        if crop is None:
            return inquiry
        # Past the features that are kept: those of the image will be wanted again.
        features = self.mask_tokenizer.embed_image(crop.image_rgb)
        (codes,) = self.mask_tokenizer.encode(features, crop.mask[None]).tolist()
        closer = RegionReference(tuple(codes))
        told = zoomed_in(inquiry.instruction, Picture(crop.image_rgb), closer)
        return replace(inquiry, instruction=told)


class Conversation:
    """Rounds about one image: each sees what was asked and answered before.

    Attributes:
        regions: those of the newest answer that named some; `<region:1>` is the first of them
            where a round gives no regions of its own.
        history: all rounds, oldest first.
    """

    def __init__(self, pipeline: 'Pipeline', image_rgb: np.ndarray) -> None:
        self._pipeline = pipeline
        self._image_rgb = image_rgb
        self.regions: tuple[Region, ...] = ()
        self.history: tuple[Round, ...] = ()

    def ground(
        self, goal: str, regions: Sequence['Pointer'] | None = None,
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Find what a goal names; see Pipeline.ground."""
        if regions is None:
            (goal,), regions = named_regions((goal,), self.regions)
        return self._answer(self._pipeline.goal(self._image_rgb, goal, regions), limits)

    def ask(
        self, question: str | TaskQuestion, regions: Sequence['Pointer'] | None = None,
        limits: GenerationLimits | None = None,
    ) -> Answer:
        """Ask a question; see Pipeline.ask."""
        asked = TaskQuestion(text=question) if isinstance(question, str) else question
        if regions is None:
            (text, *items), regions = named_regions((asked.text, *asked.items), self.regions)
            asked = replace(asked, text=text, items=tuple(items))
        return self._answer(self._pipeline.question(self._image_rgb, asked, regions), limits)

    def _answer(self, inquiry: 'Inquiry', limits: GenerationLimits | None) -> Answer:
        *_, answer = self._pipeline.stream(self._image_rgb, inquiry, limits, history=self.history)
        self.history = (*self.history, Round(inquiry.instruction, answer.text))
        self.regions = answer.regions or self.regions
        return answer
