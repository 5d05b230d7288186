# SPDX-License-Identifier: Apache-2.0
"""Answers in the files that published scripts read, or that are made into such."""

import json
from collections.abc import Iterable

from samtok_ros.evaluation.datasets.coco_masks import mask_to_coco
from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.metrics.boxes import inclusive_box
from samtok_ros.words.answers import answer_part


def suite_predictions(results: Iterable[Result]) -> str:
    """Return one line per sample for the script of GroundingSuite.

    The box is one flat list; differs: the published script nests it where something was found.

    Source: samtok-spec 4.4 and 7.
    """
    lines = []
    for result in results:
        mask = result.union(result.said)
        lines.append(json.dumps({
            'idx': result.facts['idx'], 'image_path': result.facts['image_path'],
            'predicted_box': list(inclusive_box(mask) or (0.0, 0.0, 0.0, 0.0)),
            'predicted_segmentation': mask_to_coco(mask),
            'class_id': result.facts['class_id']}))
    return ''.join(f'{line}\n' for line in lines)


def dlc_predictions(results: Iterable[Result]) -> str:
    """Return the entries of DLC-Bench, each mask with its `pred_caption`.

    The published judge reads {annotation id: caption}; docs/evaluation.md says how to make that.

    Source: samtok-spec 4.6.
    """
    images: dict[str, list[dict]] = {}
    for result in results:
        images.setdefault(str(result.facts['image_name']), []).append(
            {**result.facts['mask_sample'], 'pred_caption': answer_part(result.text)})
    entries = [{'image_name': name, 'mask_samples': samples} for name, samples in images.items()]
    return json.dumps(entries, indent=2, ensure_ascii=False) + '\n'
