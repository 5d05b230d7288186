# SPDX-License-Identifier: Apache-2.0
"""Panoptic scene graphs (PSG): things, what they are, and how they relate.

Two layouts: COCO panoptic with relations (`psg_val.json`: images, annotations with segments_info
and relations, categories, relations_categories), and OpenPSG's own (`psg.json`: data,
thing_classes, stuff_classes, predicate_classes, test_image_ids). Source: samtok-spec 3.4 and 4.7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, list_items, object_values
from samtok_ros.evaluation.datasets.panoptic import PanopticSegment
from samtok_ros.evaluation.datasets.sample import (
    Candidates,
    DataPlace,
    Sample,
    Samples,
    TrueMask,
)
from samtok_ros.evaluation.datasets.wording import wording

_PANOPTIC, _OPEN = 'psg_val.json', 'psg.json'
_EVALUATED_QUESTION = 1
"""Which wording of the scene graph question is asked with candidates."""


@dataclass(frozen=True)
class _Names:
    """What the numbers of a file stand for."""

    things: dict[int, str]
    stuff: dict[int, str]
    predicates: dict[int, str]

    @property
    def categories(self) -> dict[int, str]:
        return self.things | self.stuff


def files(place: DataPlace) -> tuple[Path, ...]:
    """Return the annotation file.

    Raises:
        ConfigError: it is not there.
    """
    names = (f'{place.split}.json',) if place.split else (_PANOPTIC, _OPEN)
    return (place.file(*names),)


def read(place: DataPlace) -> Samples:
    """Give one sample per image; the masks stay in their PNG files until they are needed.

    Raises:
        ConfigError: a file or field is missing or wrong.
    """
    (path,) = files(place)
    is_open = path.name == _OPEN
    names = _open_names(path) if is_open else _panoptic_names(path)
    questions = _questions(place.candidates, names)
    for image, annotation in _open_images(path) if is_open else _panoptic_images(path):
        yield _sample(place, image, annotation, names, questions)


def _braced(names: dict[int, str]) -> str:
    return '{' + ', '.join(names.values()) + '}'


def _questions(candidates: Candidates, names: _Names) -> tuple[str, ...]:
    """Return what is asked in turn."""
    question = wording('scene_graph', _EVALUATED_QUESTION)
    categories, predicates = _braced(names.categories), _braced(names.predicates)
    if candidates is Candidates.LISTED:
        return (wording('scene_graph_candidates', names=categories, predicates=predicates,
                        question=question),)
    if candidates is Candidates.TWO_ROUNDS:
        return (wording('scene_graph_first_round', names=categories),
                wording('scene_graph_second_round', predicates=predicates, question=question))
    return (question,)


def _sample(place: DataPlace, image: Item, annotation: Item, names: _Names,
            questions: tuple[str, ...]) -> Sample:
    png = _panoptic_picture(place, annotation)
    segments = [annotation.inner('segments_info', index)
                for index in range(len(annotation.get('segments_info', list)))]
    truth = tuple(
        TrueMask(PanopticSegment(png, segment.get('id', int)),
                 _name(names.categories, segment, segment.get('category_id', int)))
        for segment in segments)
    name = image.get('file_name', str)
    return Sample(
        Path(name).stem, place.image(name), questions[-1], truth, asked_before=questions[:-1],
        size_hw=(image.get('height', int), image.get('width', int)),
        facts={'relations': _relations(annotation, names, len(segments)),
               'things': list(names.things.values()), 'stuff': list(names.stuff.values()),
               'predicates': list(names.predicates.values())})


def _panoptic_picture(place: DataPlace, annotation: Item) -> Path:
    """Return the PNG of an image: beside the annotations, or else below the images."""
    name = annotation.get(
        'pan_seg_file_name' if 'pan_seg_file_name' in annotation.fields else 'file_name', str)
    beside = place.folder / name
    return beside if beside.is_file() else place.image(name)


def _relations(annotation: Item, names: _Names, segments: int) -> list[list[object]]:
    relations = []
    for entry in annotation.get('relations', list):
        if (not isinstance(entry, list) or len(entry) != 3
                or not all(isinstance(number, int) for number in entry)
                or not all(0 <= number < segments for number in entry[:2])):
            raise ConfigError(f"{annotation.place}: field 'relations' is wrong",
                              expected='[subject, object, predicate] by numbers of segments',
                              got=repr(entry)[:60])
        relations.append([entry[0], entry[1], _name(names.predicates, annotation, entry[2])])
    return relations


def _name(names: dict[int, str], item: Item, number: int) -> str:
    if number not in names:
        raise ConfigError(f'{item.place}: number {number} has no name in the file')
    return names[number]


def _panoptic_names(path: Path) -> _Names:
    categories = list(list_items(path, 'categories'))
    things, stuff = ({item.get('id', int): item.get('name', str) for item in categories
                      if bool(item.get('isthing', (int, bool))) is is_thing}
                     for is_thing in (True, False))
    predicates = {item.get('id', int): item.get('name', str)
                  for item in list_items(path, 'relations_categories')}
    return _Names(things, stuff, predicates)


def _panoptic_images(path: Path) -> Iterator[tuple[Item, Item]]:
    images = {item.get('id', (int, str)): item for item in list_items(path, 'images')}
    for annotation in list_items(path, 'annotations'):
        number = annotation.get('image_id', (int, str))
        if number not in images:
            raise ConfigError(f'{annotation.place}: image {number} is not in the file')
        yield images[number], annotation


def _open_names(path: Path) -> _Names:
    names = {key: list(object_values(path, key))
             for key in ('thing_classes', 'stuff_classes', 'predicate_classes')}
    things = dict(enumerate(names['thing_classes']))
    stuff = dict(enumerate(names['stuff_classes'], start=len(things)))
    return _Names(things, stuff, dict(enumerate(names['predicate_classes'])))


def _open_images(path: Path) -> Iterator[tuple[Item, Item]]:
    test = {str(number) for number in object_values(path, 'test_image_ids')}
    for item in list_items(path, 'data'):
        if str(item.get('image_id', (str, int))) in test:
            yield item, item
