# SPDX-License-Identifier: Apache-2.0
"""Masks as COCO writes them, against pycocotools; large JSON files piece by piece."""
import json

import numpy as np
import pytest
from dataset_samples import BOWL, MUG, MUG_POLYGON, NOTHING, SIZE_HW, plain_runs

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.evaluation.datasets import json_items
from samtok_ros.evaluation.datasets.coco_masks import (
    coco_to_mask,
    counts_to_text,
    mask_to_coco,
    size_of,
    text_to_counts,
)
from samtok_ros.evaluation.datasets.json_items import (
    Item,
    line_items,
    list_items,
    object_entries,
    object_values,
)

coco = pytest.importorskip('pycocotools.mask', reason='pycocotools is not installed')


@pytest.mark.parametrize('mask', [
    MUG, NOTHING, ~NOTHING, MUG | BOWL,
    *(np.random.default_rng(seed).random((37, 53)) < share
      for seed, share in enumerate((0.01, 0.5, 0.99))),
    np.kron(np.eye(3, dtype=bool), np.ones((300, 200), bool))])
def test_run_lengths_when_written_as_text_then_they_are_those_of_pycocotools(mask):
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = mask_to_coco(mask)
    assert ours == {'size': list(mask.shape), 'counts': theirs['counts'].decode()}
    assert np.array_equal(coco_to_mask(ours), mask)
    assert np.array_equal(coco_to_mask(theirs), mask)
    assert counts_to_text(text_to_counts(ours['counts'])) == ours['counts']


def test_run_lengths_when_written_as_a_list_then_they_are_read_as_pycocotools_reads_them():
    crowd = plain_runs(BOWL)
    theirs = coco.decode([coco.frPyObjects(crowd, *SIZE_HW)])[..., 0].astype(bool)
    assert np.array_equal(coco_to_mask(crowd, SIZE_HW), theirs)
    assert np.array_equal(theirs, BOWL)


@pytest.mark.parametrize(('polygons', 'expected'), [
    (MUG_POLYGON, MUG), ([], NOTHING),
    ([*MUG_POLYGON, [9, 7, 15, 7, 15, 11, 9, 11]], MUG | BOWL)])
def test_polygons_when_drawn_then_all_parts_are_inside(polygons, expected):
    assert np.array_equal(coco_to_mask(polygons, SIZE_HW), expected)


@pytest.mark.parametrize(('segmentation', 'words'), [
    ({'size': [12, 16], 'counts': 'zz\x7f'}, 'damaged'),
    ({'size': [12, 16], 'counts': 'P'}, 'cut off'),
    ({'size': [12, 16], 'counts': 'P' * 40}, 'damaged'),
    ({'size': [12, 16], 'counts': [5, 5]}, 'do not fit'),
    ({'size': [12, 16], 'counts': [-5, 197]}, 'wrong form'),
    ({'size': [12, 16], 'counts': ['a']}, 'no known form'),
    ({'size': [12, 0], 'counts': []}, 'without a size'),
    ({'counts': []}, 'without a size'),
    ({'size': [16, 12], 'counts': [192]}, 'not of the size of the image'),
    ([[1, 2, 3, 4]], 'three corners'),
    ([[1, 2, 3, 4, 5, 'a']], 'three corners'),
    ('text', 'no known form')])
def test_segmentation_when_damaged_then_the_reason_is_named(segmentation, words):
    with pytest.raises(ImageError, match=words):
        coco_to_mask(segmentation, SIZE_HW)


def test_huge_mask_when_read_then_it_is_refused_before_memory_is_taken():
    with pytest.raises(ImageError, match='too large'):
        coco_to_mask({'size': [100_000, 100_000], 'counts': [10**10]})


def test_size_of_when_polygons_then_there_is_none():
    assert size_of(MUG_POLYGON) is None
    assert size_of(plain_runs(MUG)) == SIZE_HW


@pytest.mark.parametrize('chunk', [1, 3, 1 << 20])
def test_list_items_when_file_comes_in_pieces_then_every_value_is_whole(tmp_path, monkeypatch,
                                                                         chunk):
    monkeypatch.setattr(json_items, '_CHUNK', chunk)
    content = {'info': {'a': [1, {'images': 2}]}, 'number': 1234, 'skipped': [{'x': [1]}, 'ü'],
               'images': [{'id': 12345, 'name': 'a "b" ]'}, {'id': 2}], 'last': None}
    path = tmp_path / 'file.json'
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False))
    assert [dict(item.fields) for item in list_items(path, 'images')] == content['images']
    path.write_text(json.dumps([12, 345, 6789]))
    assert list(object_values(path, None)) == [12, 345, 6789]
    path.write_text(json.dumps({'1': [{'a': 1}], '2': [{'b': 2}, {'b': 3}]}))
    assert [(name, [item.place for item in items]) for name, items in object_entries(path)] == [
        ('1', ['file.json, 1, item 0']), ('2', ['file.json, 2, item 0', 'file.json, 2, item 1'])]


@pytest.mark.parametrize(('text', 'words'), [
    ('[{"a": 1}', 'ends too early'), ('{"b": []}', "no list 'a'"), ('[{"a": }]', 'damaged'),
    ('', 'ends too early'), ('[1]', 'is no object')])
def test_list_items_when_file_is_wrong_then_it_is_named(tmp_path, text, words):
    path = tmp_path / 'file.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        list(list_items(path, 'a' if text.startswith('{') else None))


def test_items_when_a_field_is_wrong_then_file_item_and_field_are_named(tmp_path):
    path = tmp_path / 'file.jsonl'
    path.write_text('{"a": 1}\n\n{"a": true, "list": [1]}\n')
    first, second = line_items(path)
    assert first.get('a', int) == 1
    assert first.optional('b', str, 'x') == 'x'
    with pytest.raises(ConfigError, match="file.jsonl, line 1: field 'b' is missing"):
        first.get('b', str)
    with pytest.raises(ConfigError, match="line 3: field 'a' is wrong: expected int, got bool"):
        second.get('a', int)
    with pytest.raises(ConfigError, match="line 3: field 'list' is wrong"):
        second.inner('list')
    with pytest.raises(ConfigError, match='0 entries'):
        Item('x', {'list': []}).inner('list')
    path.write_text('{"a": 1}\nnothing\n')
    with pytest.raises(ConfigError, match='line 2 is no JSON'):
        list(line_items(path))
    with pytest.raises(ConfigError, match='there is no file'):
        list(line_items(tmp_path / 'other.jsonl'))
