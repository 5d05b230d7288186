# SPDX-License-Identifier: Apache-2.0
"""What the nodes answered, read back from the bag of results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samtok_ros.demo.bag_file import BagReader, open_bag, stamp_of
from samtok_ros.demo.camera_bag import COLOUR_INFO_TOPIC
from samtok_ros.demo.lifted_results import LiftedResult, read_lifted
from samtok_ros.demo.replay_plan import MASKS_TOPIC, WORDS_TOPIC
from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.regions import Region
from samtok_ros.runtime.records import Origin, Status

_NS_PER_MS, _NS_PER_S = 1e6, 1_000_000_000


@dataclass(frozen=True, eq=False)
class GoalAnswer:
    """The complete masks of a goal in one image.

    Attributes:
        stamp_ns: of the image.
        goal_id: number of the goal, from 1.
        goal: its text, as the nodes understood it.
        status: how the answer ended.
        text: what the language model wrote.
        regions: with masks.
        latency_ms: from the stamp of the image to the arrival of its masks.
        tokenizer_id: mask tokenizer that the codes belong to.
        followed_ms: by how much the image is newer than the one that the language model was asked
            about; None for an answer of the model to this very image.
    """

    stamp_ns: int
    goal_id: int
    goal: str
    status: Status
    text: str
    regions: tuple[Region, ...]
    latency_ms: float
    tokenizer_id: str
    followed_ms: float | None = None

    @property
    def answer_age_ms(self) -> float:
        """From the image that the language model was asked about to the arrival of the masks."""
        return self.latency_ms + (self.followed_ms or 0.0)

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Return the union of its masks, (H, W) bool."""
        union = np.zeros(size_hw, np.bool_)
        for region in self.regions:
            union |= region.mask
        return union


@dataclass(frozen=True)
class Results:
    """A whole replay.

    Attributes:
        shown: stamps of all images that the camera sent, in order.
        answers: of the language model, in the order of their arrival.
        followed: masks of images between two answers, in which things were found again.
        lifted: targets in 3D, in the order of their arrival.
    """

    shown: tuple[int, ...]
    answers: tuple[GoalAnswer, ...]
    followed: tuple[GoalAnswer, ...] = ()
    lifted: tuple[LiftedResult, ...] = ()


def read_results(path: Path) -> Results:
    """Read a bag of results.

    Raises:
        ConfigError: it is missing or damaged.
        ImageError: a mask in it does not fit its image.
    """
    with open_bag(path) as bag:
        shown = tuple(message.time_ns for message in bag.messages(COLOUR_INFO_TOPIC))
        texts = _texts(bag)
        answers: dict[Origin, list[GoalAnswer]] = {origin: [] for origin in Origin}
        for message in bag.messages(MASKS_TOPIC):
            record = bag.record(message)
            if record.complete:
                latency_ms = (message.time_ns - stamp_of(record)) / _NS_PER_MS
                answers[Origin(record.origin)].append(_answer(record, latency_ms, texts))
        lifted = tuple(read_lifted(bag))
    return Results(shown, tuple(answers[Origin.ANSWERED]), tuple(answers[Origin.TRACKED]), lifted)


def _texts(bag: BagReader) -> dict[tuple[int, int], str]:
    """Read the answer texts, which only the words carry, by stamp and goal."""
    records = (bag.record(message) for message in bag.messages(WORDS_TOPIC))
    return {(stamp_of(record), record.goal_id): record.answer
            for record in records if record.complete}


def _answer(record: Any, latency_ms: float, texts: dict[tuple[int, int], str]) -> GoalAnswer:
    stamp_ns = stamp_of(record)
    size_hw = (record.height, record.width)
    regions = tuple(
        Region(mask.id, tuple(int(code) for code in mask.codes), mask.label, float(mask.score),
               rle_to_mask(mask.rle, size_hw), mask_score=float(mask.mask_score),
               track_id=mask.track_id, lost=mask.lost)
        for mask in record.masks)
    followed_ms = None
    if record.origin == Origin.TRACKED:
        asked = record.answer_stamp
        followed_ms = (stamp_ns - asked.sec * _NS_PER_S - asked.nanosec) / _NS_PER_MS
    return GoalAnswer(stamp_ns, record.goal_id, record.goal, Status(record.status),
                      texts.get((stamp_ns, record.goal_id), ''), regions, latency_ms,
                      record.tokenizer_id, followed_ms)
