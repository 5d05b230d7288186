# SPDX-License-Identifier: Apache-2.0
"""RefCOCO, RefCOCO+ and RefCOCOg in the files of PaDT: one JSON object a line.

Beside them may lie the lists of VLM-R1, a choice of the samples for which papers report figures of
their own. Source: samtok-spec 4.2.
"""

from collections import Counter
from pathlib import Path

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, line_items, list_items
from samtok_ros.evaluation.datasets.sample import DataPlace, Sample, Samples, Skipped, TrueMask
from samtok_ros.evaluation.datasets.wording import wording

DEFAULT_SPLIT = 'refcoco_val'
_LISTS = 'rec_jsons_processed'
NOT_THERE = 'listed by VLM-R1, not in the annotation file'


def files(place: DataPlace) -> tuple[Path, ...]:
    """Return the annotation file, and the list of VLM-R1 where there is one.

    Raises:
        ConfigError: the annotation file is not there.
    """
    path = place.file(f'{place.split or DEFAULT_SPLIT}.json')
    listed = path.parent / _LISTS / path.name
    return (path, listed) if listed.is_file() else (path,)


def read(place: DataPlace) -> Samples:
    """Give the samples of a split in the order of the file.

    Raises:
        ConfigError: a file or field is missing or wrong.
    """
    path, *lists = files(place)
    listed = Counter(_listed_key(item) for item in list_items(lists[0])) if lists else Counter()
    seen: set[str] = set()
    for number, item in enumerate(line_items(path)):
        first = item.inner('objects')
        phrase = first.get('label', str)
        key = f'{item.get("id", int)}_{phrase}'
        facts = {'key': key}
        if lists:
            facts['listed'] = listed[key]
        seen.add(key)
        yield Sample(str(number), place.image(item.get('image', str)),
                     wording('goal', phrase=phrase),
                     (TrueMask(first.get('rle', (dict, list)), phrase),), facts=facts)
    for key in sorted(set(listed) - seen):
        yield Skipped(key, NOT_THERE, facts={'key': key, 'listed': listed[key]})


def _listed_key(item: Item) -> str:
    name = item.get('image', str)
    number = Path(name).stem.split('_')[-1]
    if not number.isdigit():
        raise ConfigError(f'{item.place}: image has no number',
                          expected='a name such as COCO_train2014_000000000123.jpg', got=name)
    return f'{int(number)}_{item.get("normal_caption", str)}'
