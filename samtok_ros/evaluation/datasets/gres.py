# SPDX-License-Identifier: Apache-2.0
"""Generalised referring segmentation (gRefCOCO): several targets, or none.

Two layouts: the published pair `grefs(unc).json` and `instances.json`, and a list of
{image, phrase, segmentation} with the union of the targets. Source: samtok-spec 4.1.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, list_items
from samtok_ros.evaluation.datasets.sample import DataPlace, Sample, Samples, TrueMask
from samtok_ros.evaluation.datasets.wording import wording

_REFERENCES, _INSTANCES, _NO_ANNOTATION = 'grefs(unc).json', 'instances.json', -1
DEFAULT_SPLIT = 'val'


def files(place: DataPlace) -> tuple[Path, ...]:
    """Return the annotation files.

    Raises:
        ConfigError: they are not there.
    """
    path = place.file(_REFERENCES, f'gres_{place.split or DEFAULT_SPLIT}.json')
    if path.name != _REFERENCES:
        return (path,)
    instances = path.with_name(_INSTANCES)
    if not instances.is_file():
        raise ConfigError(f'{path} needs {_INSTANCES} beside it', got='no such file')
    return path, instances


def read(place: DataPlace) -> Samples:
    """Give the samples of a split in the order of the file.

    Raises:
        ConfigError: a file, field or annotation is missing or wrong.
    """
    path, *instances = files(place)
    if instances:
        yield from _of_references(place, path, instances[0])
    else:
        yield from _of_list(place, path)


def _of_list(place: DataPlace, path: Path) -> Samples:
    for number, item in enumerate(list_items(path)):
        mask = item.get('segmentation', (dict, list))
        phrase = item.get('phrase', str)
        yield Sample(
            str(item.optional('id', (int, str), number)), place.image(item.get('image', str)),
            _question(phrase), (TrueMask(mask, phrase),))


def _of_references(place: DataPlace, path: Path, instances: Path) -> Samples:
    wanted = {number for reference in _of_split(path, place.split or DEFAULT_SPLIT)
              for number in _annotation_ids(reference)}
    masks = _segmentations(instances, wanted)
    images = {item.get('id', int): (item.get('file_name', str),
                                    (item.get('height', int), item.get('width', int)))
              for item in list_items(instances, 'images')}
    for reference in _of_split(path, place.split or DEFAULT_SPLIT):
        image_id = reference.get('image_id', int)
        if image_id not in images:
            raise ConfigError(f'{reference.place}: image {image_id} is not in {instances.name}')
        name, size = images[image_id]
        truth = tuple(_true_mask(masks, number, reference, instances)
                      for number in _annotation_ids(reference))
        for index in range(len(reference.get('sentences', list))):
            sentence = reference.inner('sentences', index)
            yield Sample(
                f'{reference.get("ref_id", int)}_{sentence.get("sent_id", int)}',
                place.image(name), _question(sentence.get('sent', str)), truth, size_hw=size)


def _question(phrase: str) -> str:
    return wording('goal', phrase=phrase.strip().lower())


def _of_split(path: Path, split: str) -> Iterator[Item]:
    seen: set[str] = set()
    found = False
    for item in list_items(path):
        seen.add(item.get('split', str))
        if item.get('split', str) == split:
            found = True
            yield item
    if not found:
        raise ConfigError(f'{path.name} has no split {split!r}',
                          expected=' or '.join(sorted(seen)) or 'references in the file')


def _annotation_ids(reference: Item) -> list[int]:
    """Return the numbers of the annotations; none for a reference without a target."""
    numbers = reference.get('ann_id', (list, int))
    numbers = numbers if isinstance(numbers, list) else [numbers]
    return [number for number in numbers if number != _NO_ANNOTATION]


def _segmentations(path: Path, wanted: set[int]) -> dict[int, tuple[str, bool]]:
    """Keep the wanted segmentations as text: a tenth of the memory of what they are parsed to."""
    return {item.get('id', int): (json.dumps(item.get('segmentation', (list, dict))),
                                  bool(item.optional('iscrowd', (int, bool), 0)))
            for item in list_items(path, 'annotations') if item.get('id', int) in wanted}


def _true_mask(masks: dict[int, tuple[str, bool]], number: int, reference: Item,
               path: Path) -> TrueMask:
    if number not in masks:
        raise ConfigError(f'{reference.place}: annotation {number} is not in {path.name}')
    text, is_crowd = masks[number]
    return TrueMask(json.loads(text), is_crowd=is_crowd)
