# SPDX-License-Identifier: Apache-2.0
"""Grounded conversation (GCG) on GranD-f: a caption whose phrases have masks.

Source: samtok-spec 4.5; layout of the ground truth as the evaluation of GLaMM reads it.
"""

import json
from collections import defaultdict
from pathlib import Path

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, list_items
from samtok_ros.evaluation.datasets.sample import DataPlace, Sample, Samples, Skipped, TrueMask
from samtok_ros.evaluation.datasets.wording import wording

DEFAULT_SPLIT = 'val'


def files(place: DataPlace) -> tuple[Path, ...]:
    """Return the files of captions and of masks.

    Raises:
        ConfigError: one is not there.
    """
    split = place.split or DEFAULT_SPLIT
    return tuple(DataPlace(place.folder).file(f'{split}_gcg_coco_{content}_gt.json')
                 for content in ('caption', 'mask'))


def read(place: DataPlace) -> Samples:
    """Give one sample per image, in the order of the caption file.

    The n-th phrase of a caption belongs to the n-th mask of its image.

    Raises:
        ConfigError: a file or field is missing or wrong.
    """
    captions, masks = files(place)
    said = {str(item.get('image_id', (str, int))): item
            for item in list_items(captions, 'annotations')}
    drawn: dict[str, list[str]] = defaultdict(list)
    for item in list_items(masks, 'annotations'):
        # As text: a tenth of the memory of what it is parsed to.
        drawn[str(item.get('image_id', (str, int)))].append(json.dumps(
            [item.get('segmentation', (dict, list)), item.optional('iscrowd', (int, bool), 0)]))
    for image in list_items(captions, 'images'):
        image_id = str(image.get('id', (str, int)))
        if image_id not in said:
            raise ConfigError(f'{image.place}: image {image_id} has no caption')
        yield _sample(place, image, said[image_id], drawn[image_id])


def _sample(place: DataPlace, image: Item, caption: Item, drawn: list[str]) -> Sample | Skipped:
    image_id = str(image.get('id', (str, int)))
    labels = caption.get('labels', list)
    masks = [json.loads(text) for text in drawn]
    if len(labels) != len(masks):
        return Skipped(image_id, 'as many phrases as masks are needed',
                       f'{len(labels)} phrases, {len(masks)} masks')
    truth = tuple(TrueMask(mask, str(label), bool(is_crowd))
                  for label, (mask, is_crowd) in zip(labels, masks, strict=True))
    name = image.optional('file_name', str, f'{image_id}.jpg')
    return Sample(image_id, place.image(name), wording('measured_caption'), truth,
                  facts={'image_id': image_id, 'caption': caption.get('caption', str)})
