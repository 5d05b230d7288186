# SPDX-License-Identifier: Apache-2.0
"""MR-RefCOCO/+/g and MR-PACO: segmentation that refers to the answers of earlier rounds.

The earlier answers are the true ones, with the mask words of the published mask tokenizer, so the
figures mean something for models with that mask tokenizer only. Source: samtok-spec 3.6 and 4.3.
"""

from pathlib import Path

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.json_items import Item, object_entries
from samtok_ros.evaluation.datasets.sample import (
    DataPlace,
    EarlierRound,
    Sample,
    Samples,
    TrueMask,
)

DEFAULT_SPLIT = 'mr_refcoco_val'
_IMAGE_MARK = '<image>\n'
_SPEAKERS = ('human', 'gpt')


def files(place: DataPlace) -> tuple[Path, ...]:
    """Return the annotation file.

    Raises:
        ConfigError: it is not there.
    """
    return (place.file(f'{place.split or DEFAULT_SPLIT}.json'),)


def read(place: DataPlace) -> Samples:
    """Give the samples of all rounds, round after round as they stand in the file.

    Raises:
        ConfigError: the file or a field is missing or wrong.
    """
    (path,) = files(place)
    for number, items in object_entries(path):
        for index, item in enumerate(items):
            texts = _texts(item)
            earlier = tuple(EarlierRound(*texts[start:start + 2])
                            for start in range(0, len(texts) - 1, 2))
            masks = item.get('target_masks', list)
            if len(masks) != 1:
                raise ConfigError(f"{item.place}: field 'target_masks' is wrong",
                                  expected='one mask', got=len(masks))
            yield Sample(f'{number}:{index}', place.image(item.get('image', str)), texts[-1],
                         (TrueMask(masks[0]),), earlier=earlier,
                         facts={'round': number})


def _texts(item: Item) -> list[str]:
    """Return what was said in turn, the last by the human."""
    texts = []
    for index in range(len(item.get('history', list))):
        turn = item.inner('history', index)
        speaker = turn.get('from', str)
        if speaker != _SPEAKERS[index % 2]:
            raise ConfigError(f'{turn.place}: the wrong one speaks',
                              expected=_SPEAKERS[index % 2], got=speaker)
        texts.append(turn.get('value', str))
    if len(texts) % 2 == 0:
        raise ConfigError(f"{item.place}: field 'history' is wrong",
                          expected='turns that end with the human', got=f'{len(texts)} turns')
    texts[0] = texts[0].replace(_IMAGE_MARK, '', 1)
    return texts
