# SPDX-License-Identifier: Apache-2.0
"""Recall of the triplets of scene graphs, subject and object by panoptic masks.

Source: samtok-spec 4.7; the mean recall is the mean over images, then over all predicates, where
one that does not occur counts 0, as in OpenPSG.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.metrics.measure import Measure, mean_of
from samtok_ros.masks.scores import iou
from samtok_ros.words.answer_record import NO_REGION
from samtok_ros.words.answers import answer_part
from samtok_ros.words.record_reader import read_record

DEPTHS = (20, 50, 100)
BAR = 0.5
_END_OF_ANSWER = '```'


@dataclass(frozen=True)
class End:
    """Subject or object of a triplet.

    Attributes:
        label: category.
        mask: (H, W) bool.
    """

    label: str
    mask: np.ndarray

    def is_same(self, other: 'End') -> bool:
        """Say whether label and mask agree."""
        return self.label == other.label and iou(self.mask, other.mask) >= BAR


@dataclass(frozen=True)
class Triplet:
    """One relation of a scene graph."""

    subject: End
    predicate: str
    object: End

    def is_same(self, other: 'Triplet') -> bool:
        """Say whether predicate, labels and masks agree."""
        return (self.predicate == other.predicate and self.subject.is_same(other.subject)
                and self.object.is_same(other.object))


def scene_graph_measures(results: Iterable[Result]) -> list[Measure]:
    """Return R@K and mR@K, and how much of the answers could be used."""
    recalls: dict[int, list[float]] = defaultdict(list)
    by_predicate: dict[int, dict[str, list[float]]] = {depth: defaultdict(list) for depth in DEPTHS}
    predicates: set[str] = set()
    unfinished = unknown = count = 0
    for result in results:
        predicates.update(result.facts['predicates'])
        true = true_triplets(result)
        said, dropped = said_triplets(result)
        count += 1
        unfinished += not is_finished(result)
        unknown += dropped
        for depth in DEPTHS:
            found = found_triplets(said[:depth], true)
            if true:
                recalls[depth].append(sum(found) / len(true))
            for name, hits in _by_predicate(found, true).items():
                by_predicate[depth][name].append(sum(hits) / len(hits))
    return [
        *(mean_of(f'R@{depth}', recalls[depth]) for depth in DEPTHS),
        *(_mean_recall(f'mR@{depth}', by_predicate[depth], predicates) for depth in DEPTHS),
        Measure('answers without a whole list', float(unfinished), count,
                'count as no triplets', 'answers'),
        Measure('unusable triplets', float(unknown), count,
                'label or predicate unknown, or no mask', 'triplets')]


def triplet_recall(result: Result) -> float | None:
    """Return R@100 of one image, None without true triplets."""
    true = true_triplets(result)
    said, _ = said_triplets(result)
    return sum(found_triplets(said[:DEPTHS[-1]], true)) / len(true) if true else None


def is_finished(result: Result) -> bool:
    """Say whether the list of an answer was closed."""
    return result.finish_reason == 'stop' and answer_part(result.text).endswith(_END_OF_ANSWER)


def true_triplets(result: Result) -> list[Triplet]:
    """Return the triplets of the data set, each once."""
    ends = [End(drawn.label, drawn.mask) for drawn in result.truth]
    return _distinct([Triplet(ends[subject], predicate, ends[thing])
                      for subject, thing, predicate in result.facts['relations']])


def said_triplets(result: Result) -> tuple[list[Triplet], int]:
    """Return the triplets of an answer that can be used, and the number of the others.

    Labels and predicates that are unknown are dropped. Masks of one thing and all masks of one
    stuff become one mask; triplets that are then the same count once.
    """
    if not is_finished(result):
        return [], 0
    known = {*result.facts['things'], *result.facts['stuff']}
    relations = read_record(result.text).relations
    usable = [relation for relation in relations
              if {relation.subject, relation.object} <= known
              and relation.predicate in result.facts['predicates']
              and _has_mask(relation.subject_id, result) and _has_mask(relation.object_id, result)]
    triplets = [Triplet(End(one.subject, result.said[one.subject_id - 1].mask), one.predicate,
                        End(one.object, result.said[one.object_id - 1].mask)) for one in usable]
    return (_distinct(merged_ends(triplets, set(result.facts['stuff']))),
            len(relations) - len(usable))


def merged_ends(triplets: Sequence[Triplet], stuff: set[str]) -> list[Triplet]:
    """Give ends that are one segment one mask.

    Args:
        triplets: as said.
        stuff: labels whose masks are all one segment; those of other labels are one if their IoU
            is above 0.5 with what was merged so far.
    """
    ends = [end for triplet in triplets for end in (triplet.subject, triplet.object)]
    segments: list[End] = []
    segment_of: list[int] = []
    for end in ends:
        place = next((index for index, segment in enumerate(segments)
                      if segment.label == end.label and (
                          end.label in stuff or iou(segment.mask, end.mask) > BAR)), len(segments))
        if place == len(segments):
            segments.append(end)
        else:
            segments[place] = replace(end, mask=segments[place].mask | end.mask)
        segment_of.append(place)
    return [replace(triplet, subject=segments[segment_of[2 * number]],
                    object=segments[segment_of[2 * number + 1]])
            for number, triplet in enumerate(triplets)]


def found_triplets(said: Sequence[Triplet], true: Sequence[Triplet]) -> list[bool]:
    """Say for each true triplet whether one of those said is the same."""
    return [any(one.is_same(other) for one in said) for other in true]


def _mean_recall(name: str, shares: Mapping[str, Sequence[float]], predicates: set[str]) -> Measure:
    note = 'mean over all predicates; one that does not occur counts 0'
    return mean_of(name, (sum(shares[predicate]) / len(shares[predicate])
                          if predicate in shares else 0.0
                          for predicate in sorted(predicates) if shares), note)


def _by_predicate(found: Sequence[bool], true: Sequence[Triplet]) -> dict[str, list[bool]]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for hit, triplet in zip(found, true, strict=True):
        groups[triplet.predicate].append(hit)
    return groups


def _distinct(triplets: Iterable[Triplet]) -> list[Triplet]:
    kept: list[Triplet] = []
    for triplet in triplets:
        if not any(triplet.is_same(other) for other in kept):
            kept.append(triplet)
    return kept


def _has_mask(region_id: int, result: Result) -> bool:
    return region_id != NO_REGION and region_id <= len(result.said)
