# SPDX-License-Identifier: Apache-2.0
"""Figures of answers that are one union of masks: GRES, MR-RefCOCO, GroundingSuite, RefCOCO."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.metrics.boxes import box_iou, inclusive_box
from samtok_ros.evaluation.metrics.measure import Measure, mean_of
from samtok_ros.masks.scores import Overlap, ciou, giou, iou_share, n_acc, overlap, t_acc

IOU_BAR = 0.5
_CUMULATIVE = 'all intersections over all unions'


def overlap_of(result: Result) -> Overlap:
    """Compare the union of what was said with the union of what is true."""
    return overlap(result.union(result.said), result.union(result.truth))


def union_iou(result: Result) -> float:
    """Return the IoU of the unions; 1 if both are empty."""
    return overlap_of(result).iou


def gres_measures(results: Iterable[Result]) -> list[Measure]:
    """Return gIoU, cIoU, N-acc and T-acc, and what stands behind them.

    Source: samtok-spec 4.1.
    """
    overlaps = [overlap_of(result) for result in results]
    empty = sum(not sample.truth_px for sample in overlaps)
    named = len(overlaps) - empty
    return [
        Measure('gIoU', giou(overlaps), len(overlaps),
                'mean IoU; without a target 1 if nothing was found'),
        Measure('cIoU', ciou(overlaps), len(overlaps), _CUMULATIVE),
        Measure('N-acc', n_acc(overlaps), empty,
                '' if empty else 'no sample without a target'),
        Measure('T-acc', t_acc(overlaps), named, '' if named else 'no sample with a target'),
        Measure('mIoU', mean_of('', (one.iou for one in overlaps if one.truth_px)).value, named,
                'of the samples with a target'),
        Measure('IoU above 0.5', iou_share(overlaps), named, 'of the samples with a target')]


def multi_round_measures(results: Iterable[Result]) -> list[Measure]:
    """Return gIoU and cIoU per round and of all; an empty union counts 1.

    Source: samtok-spec 4.3.
    """
    rounds: dict[str, list[Overlap]] = defaultdict(list)
    for result in results:
        rounds[str(result.facts['round'])].append(overlap_of(result))
    found: list[Measure] = []
    for name in sorted(rounds, key=lambda key: (len(key), key)):
        found += _giou_and_ciou(f'round {name}: ', rounds[name])
    return found + _giou_and_ciou('', [one for group in rounds.values() for one in group])


def grounding_suite_measures(results: Iterable[Result]) -> list[Measure]:
    """Return gIoU and box accuracy, overall and per class; an empty union counts 0.

    Source: samtok-spec 4.4.
    """
    ious: dict[str, list[float]] = defaultdict(list)
    boxes: dict[str, list[float]] = defaultdict(list)
    for result in results:
        name = str(result.facts['class_id'])
        ious[name].append(_strict_iou(overlap_of(result)))
        found = inclusive_box(result.union(result.said))
        true = tuple(result.facts['box'])
        boxes[name].append(float(found is not None and box_iou(found, true) >= IOU_BAR))
    note = 'box around the mask, IoU of at least 0.5'
    return [
        mean_of('gIoU', _flat(ious), 'mean IoU'),
        mean_of('box accuracy', _flat(boxes), note),
        *(mean_of(f'class {name}: gIoU', ious[name]) for name in sorted(ious)),
        *(mean_of(f'class {name}: box accuracy', boxes[name]) for name in sorted(boxes))]


def refcoco_measures(results: Iterable[Result]) -> list[Measure]:
    """Return the published figures under their names and what they are beside them.

    Samples of one image and phrase share a key. The published mask figure takes the best of them,
    the published box figure the last one that is read.

    Source: samtok-spec 4.2; box coordinates as torchvision's masks_to_boxes gives them.
    """
    overlaps: list[Overlap] = []
    masks: dict[str, list[float]] = defaultdict(list)
    boxes: dict[str, list[float]] = defaultdict(list)
    listed: dict[str, int] = {}
    for result in results:
        key = str(result.facts['key'])
        listed[key] = int(result.facts.get('listed', 0))
        if result.skipped:
            continue
        overlaps.append(overlap_of(result))
        masks[key].append(_strict_iou(overlaps[-1]))
        boxes[key].append(box_iou_of(result))
    return [
        mean_of('REC AP50', (_hit(ious[-1]) for ious in boxes.values()),
                'share of image and phrase; of duplicates the last one'),
        mean_of('REC AP50, best', (_hit(max(ious)) for ious in boxes.values()),
                'the same; of duplicates the best one'),
        mean_of('RES cIoU', (max(ious) for ious in masks.values()),
                'published name; a mean IoU, of duplicates the best one'),
        mean_of('mIoU', (_strict_iou(one) for one in overlaps), 'mean IoU of all samples'),
        Measure('cIoU', ciou(overlaps), len(overlaps), _CUMULATIVE),
        *_listed_measures(listed, masks, boxes)]


def box_iou_of(result: Result) -> float:
    """Return the IoU of the boxes around what was said and what is true; 0 without a box."""
    found, true = (inclusive_box(result.union(masks)) for masks in (result.said, result.truth))
    return 0.0 if found is None or true is None else box_iou(found, true)


def _listed_measures(listed: dict[str, int], masks: dict[str, list[float]],
                     boxes: dict[str, list[float]]) -> list[Measure]:
    """Return the figures over the list of VLM-R1; what is listed and was not asked counts 0."""
    keys = [key for key, times in listed.items() for _ in range(times)]
    if not keys:
        return []

    def over_list(name: str, of: dict[str, list[float]], value: Callable) -> Measure:
        return mean_of(f'VLM-R1: {name}', (value(of[key]) if of.get(key) else 0.0 for key in keys),
                       'over the list of VLM-R1; what is missing counts 0')

    return [over_list('REC AP50', boxes, lambda ious: _hit(ious[-1])),
            over_list('RES cIoU', masks, max)]


def _giou_and_ciou(prefix: str, overlaps: Sequence[Overlap]) -> list[Measure]:
    return [Measure(f'{prefix}gIoU', giou(overlaps), len(overlaps), 'mean IoU'),
            Measure(f'{prefix}cIoU', ciou(overlaps), len(overlaps), _CUMULATIVE)]


def _strict_iou(sample: Overlap) -> float:
    return sample.iou if sample.union_px else 0.0


def _hit(value: float) -> float:
    return float(value >= IOU_BAR)


def _flat(groups: dict[str, list[float]]) -> list[float]:
    return [value for group in groups.values() for value in group]
