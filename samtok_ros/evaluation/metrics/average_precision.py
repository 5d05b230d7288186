# SPDX-License-Identifier: Apache-2.0
"""AP and AP50 of masks, by pycocotools' COCOeval."""

import contextlib
import io
from collections.abc import Iterable

import numpy as np

from samtok_ros.evaluation.datasets.coco_masks import coco_tools
from samtok_ros.evaluation.datasets.result import DrawnMask, Result
from samtok_ros.evaluation.metrics.measure import Measure

_AP, _AP50 = 0, 1
"""Places of the two figures among those that COCOeval gives."""


def precision_measures(results: Iterable[Result]) -> list[Measure]:
    """Return AP and AP50 with one category and the score 1 for every predicted mask.

    Crowd masks need not be found, and what lies on them is not wrong.

    Source: samtok-spec 4.5.
    """
    images, true, said = [], [], []
    for number, result in enumerate(results, start=1):
        height, width = result.size_hw
        images.append({'id': number, 'height': height, 'width': width})
        true += [_annotation(number, drawn) for drawn in result.truth]
        said += [{'image_id': number, 'category_id': 1, 'score': 1.0,
                  'segmentation': _coco(drawn)} for drawn in result.said]
    # COCOeval takes the number 0 for "no match", so annotations count from 1.
    for number, annotation in enumerate(true, start=1):
        annotation['id'] = number
    note = 'every mask with the score 1'
    if not any(not annotation['iscrowd'] for annotation in true):
        return [Measure(name, None, len(images), 'no true masks') for name in ('AP', 'AP50')]
    stats = _stats(images, true, said) if said else np.zeros(2)
    return [Measure('AP', float(stats[_AP]), len(images), note),
            Measure('AP50', float(stats[_AP50]), len(images), note)]


def _annotation(image: int, drawn: DrawnMask) -> dict[str, object]:
    coco = _coco(drawn)
    return {'image_id': image, 'category_id': 1, 'segmentation': coco,
            'area': float(coco_tools().area(coco)), 'iscrowd': int(drawn.is_crowd)}


def _coco(drawn: DrawnMask) -> dict[str, object]:
    return {'size': list(drawn.coco['size']), 'counts': drawn.coco['counts']}


def _stats(images: list[dict], true: list[dict], said: list[dict]) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {'images': images, 'annotations': true,
                         'categories': [{'id': 1, 'name': 'phrase'}]}
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(said), 'segm')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
