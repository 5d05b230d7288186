# SPDX-License-Identifier: Apache-2.0
"""GroundingSuite: one sentence, one union of masks. Source: samtok-spec 4.4."""

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, line_items
from samtok_ros.evaluation.datasets.sample import DataPlace, Sample, Samples, TrueMask, one_file
from samtok_ros.evaluation.datasets.wording import wording

files = one_file('GroundingSuite-Eval.jsonl')


def read(place: DataPlace) -> Samples:
    """Give the samples in the order of the file.

    Raises:
        ConfigError: the file or a field is missing or wrong.
    """
    (path,) = files(place)
    for item in line_items(path):
        mask = item.get('segmentation', dict)
        name = item.get('image_path', str)
        facts = {'idx': item.get('idx', (int, str)), 'image_path': name, 'box': _box(item),
                 'class_id': item.get('class_id', (int, str))}
        yield Sample(str(facts['idx']), place.image(name),
                     wording('sentence_goal', phrase=item.get('caption', str)),
                     (TrueMask(mask, item.get('label', str)),), facts=facts)


def _box(item: Item) -> list[float]:
    box = item.get('box', list)
    if len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        raise ConfigError(f"{item.place}: field 'box' is wrong",
                          expected='left, top, right, bottom', got=repr(box)[:60])
    return [float(edge) for edge in box]
