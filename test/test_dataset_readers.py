# SPDX-License-Identifier: Apache-2.0
"""Readers of the published layouts, on files whose content is known."""
import json

import dataset_samples as data
import numpy as np
import pytest
from PIL import Image

from samtok_ros.errors import ConfigError, ImageError
from samtok_ros.evaluation.datasets import (
    dlc_bench,
    gar_bench,
    gcg,
    gres,
    grounding_suite,
    multi_round,
    psg,
    refcoco,
)
from samtok_ros.evaluation.datasets.coco_masks import coco_to_mask, mask_to_coco
from samtok_ros.evaluation.datasets.json_items import line_items, list_items
from samtok_ros.evaluation.datasets.panoptic import PanopticSegment
from samtok_ros.evaluation.datasets.sample import (
    Candidates,
    DataPlace,
    EarlierRound,
    Skipped,
)


def masks_of(sample):
    return [coco_to_mask(mask.segmentation, data.SIZE_HW) for mask in sample.truth]


def changed(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_gres_when_read_then_phrases_targets_and_sizes_are_those_of_the_split(tmp_path):
    samples = list(gres.read(data.gres(tmp_path)))
    assert [sample.question for sample in samples[:4]] == list(data.GRES_SCRIPT)
    assert [sample.sample_id for sample in samples] == [f'{n}_{70 + n}' for n in range(6)]
    assert [[int(mask.sum()) for mask in masks_of(sample)] for sample in samples] == [
        [24], [24, 24], [], [], [24], [24]]
    assert [mask.is_crowd for mask in samples[1].truth] == [False, True]
    assert {sample.size_hw for sample in samples} == {data.SIZE_HW}
    other = list(gres.read(DataPlace(tmp_path, split='testA')))
    assert [sample.question for sample in other] == [data.please('elsewhere')]


def test_gres_when_list_form_then_the_union_is_given(tmp_path):
    data.images(tmp_path)
    data.write(tmp_path / 'gres_testB.json', [
        {'image': data.IMAGE, 'phrase': 'All Things ',
         'segmentation': mask_to_coco(data.MUG | data.BOWL)},
        {'image': data.IMAGE, 'phrase': 'none', 'segmentation': mask_to_coco(data.NOTHING)}])
    for place in (DataPlace(tmp_path, split='testB'), DataPlace(tmp_path / 'gres_testB.json')):
        first, second = gres.read(place)
        assert first.question == data.please('all things')
        assert np.array_equal(masks_of(first)[0], data.MUG | data.BOWL)
        assert not masks_of(second)[0].any()


def test_gres_when_something_is_missing_then_file_and_number_are_named(tmp_path):
    place = data.gres(tmp_path)
    with pytest.raises(ConfigError, match="no split 'val2'.*expected testA or val"):
        list(gres.read(DataPlace(tmp_path, split='val2')))
    changed(tmp_path / 'instances.json', lambda content: content['annotations'].pop())
    with pytest.raises(ConfigError, match=r'item 1: annotation 12 is not in instances.json'):
        list(gres.read(place))
    data.gres(tmp_path)
    changed(tmp_path / 'instances.json', lambda content: content['images'].pop())
    with pytest.raises(ConfigError, match='image 3 is not in instances.json'):
        list(gres.read(DataPlace(tmp_path, split='val')))
    (tmp_path / 'instances.json').unlink()
    with pytest.raises(ConfigError, match='needs instances.json beside it'):
        list(gres.read(place))
    with pytest.raises(ConfigError, match=r'expected grefs\(unc\).json or gres_val.json, got no'):
        list(gres.read(DataPlace(tmp_path / 'nowhere')))


def test_refcoco_when_read_then_phrases_keep_their_capitals_and_duplicates_their_key(tmp_path):
    samples = list(refcoco.read(data.refcoco(tmp_path)))
    assert [sample.question for sample in samples[:3]] == [
        data.please('Mug'), data.please('Mug'), data.please('bowl')]
    assert [sample.facts['key'] for sample in samples[:3]] == ['1_Mug', '1_Mug', '1_bowl']
    assert [sample.facts['listed'] for sample in samples[:3]] == [1, 1, 2]
    assert samples[3] == Skipped('1_cone', refcoco.NOT_THERE, facts={'key': '1_cone', 'listed': 1})
    (tmp_path / 'rec_jsons_processed' / 'refcoco_val.json').unlink()
    assert ['listed' in s.facts for s in refcoco.read(DataPlace(tmp_path))] == [False] * 3


def test_refcoco_when_the_list_names_no_number_then_it_says_so(tmp_path):
    place = data.refcoco(tmp_path)
    data.write(tmp_path / 'rec_jsons_processed' / 'refcoco_val.json',
               [{'image': 'mug.jpg', 'normal_caption': 'mug'}])
    with pytest.raises(ConfigError, match='image has no number'):
        list(refcoco.read(place))


def test_multi_round_when_read_then_earlier_rounds_and_the_image_mark_are_split_off(tmp_path):
    samples = list(multi_round.read(data.multi_round(tmp_path)))
    assert [sample.facts['round'] for sample in samples] == ['1', '1', '2']
    assert samples[0].question == data.please('mug')
    assert samples[2].earlier == (
        EarlierRound(data.please('mug'), f'It is {data.MUG_WORDS}.'),)
    assert samples[2].question == data.please(f'what is right of {data.MUG_WORDS}')


@pytest.mark.parametrize(('history', 'words'), [
    ([{'from': 'gpt', 'value': 'x'}], 'expected human, got gpt'),
    ([{'from': 'human', 'value': 'x'}, {'from': 'gpt', 'value': 'x'}], 'end with the human'),
    ([], 'end with the human'), ([{'from': 'human'}], "field 'value' is missing")])
def test_multi_round_when_turns_are_wrong_then_it_is_said_where(tmp_path, history, words):
    data.write(tmp_path / 'mr_refcoco_val.json', {'1': [
        {'image': 'x', 'history': history, 'target_masks': [mask_to_coco(data.MUG)]}]})
    with pytest.raises(ConfigError, match=words):
        list(multi_round.read(DataPlace(tmp_path)))


def test_grounding_suite_when_read_then_sentence_box_and_class_are_there(tmp_path):
    place = data.grounding_suite(tmp_path)
    samples = list(grounding_suite.read(place))
    assert [sample.question for sample in samples] == list(data.GROUNDING_SUITE_SCRIPT)
    assert samples[0].facts['box'] == [2.0, 2.0, 7.0, 5.0]
    # The data set names a folder of COCO; the images lie in one folder.
    assert samples[0].image == tmp_path / data.IMAGE
    path = tmp_path / 'GroundingSuite-Eval.jsonl'
    path.write_text(path.read_text().replace('[2.0, 2.0, 7.0, 5.0]', '[2.0, 2.0]'))
    with pytest.raises(ConfigError, match="line 1: field 'box' is wrong"):
        list(grounding_suite.read(place))


def test_gcg_when_read_then_phrases_belong_to_masks_and_misfits_are_skipped(tmp_path):
    first, second, third = gcg.read(data.gcg(tmp_path))
    assert first.question == (
        'Could you please give me a brief description of the image? Please respond with '
        'interleaved     segmentation masks for the corresponding parts of the answer.')
    assert [mask.label for mask in first.truth] == ['a red mug', 'a bowl']
    assert np.array_equal(masks_of(first)[1], data.BOWL)
    assert second.facts == {'image_id': 'b', 'caption': 'A red mug.'}
    assert third == Skipped('c', 'as many phrases as masks are needed', '1 phrases, 0 masks')
    changed(tmp_path / 'val_gcg_coco_caption_gt.json', lambda c: c['annotations'].pop(0))
    with pytest.raises(ConfigError, match='image a has no caption'):
        list(gcg.read(DataPlace(tmp_path)))


def test_dlc_bench_when_read_then_each_mask_is_a_sample(tmp_path):
    samples = list(dlc_bench.read(data.dlc_bench(tmp_path)))
    assert [sample.sample_id for sample in samples] == [f'{data.IMAGE}#{n}' for n in range(3)]
    assert {sample.question for sample in samples} == {
        'Given a detailed description of this region <region:1>.'}
    assert samples[1].facts['mask_sample']['id'] == 9


def test_gar_bench_when_read_then_regions_have_numbers_and_options_letters(tmp_path):
    samples = list(gar_bench.read(data.gar_bench(tmp_path)))
    assert samples[1].question == data.asked_to_choose(
        'What colour is <region:1>?', 'A. red', 'B. blue')
    assert 'Is <region:2> right of <region:1>?' in samples[2].question
    assert [len(sample.regions) for sample in samples] == [1, 1, 2]
    changed(tmp_path / 'GAR-Bench-VQA.json', lambda content: content[2]['mask_rles'].pop())
    with pytest.raises(ConfigError, match='item 2: the question points at <Prompt1>'):
        list(gar_bench.read(DataPlace(tmp_path)))


@pytest.mark.parametrize(('make', 'name'), [(data.psg, 'COCO'), (data.open_psg, 'OpenPSG')])
def test_psg_when_read_then_both_layouts_say_the_same(tmp_path, make, name):
    (sample,) = psg.read(make(tmp_path))
    assert sample.question == data.PSG_QUESTION
    assert [mask.label for mask in sample.truth] == ['mug', 'sky']
    assert np.array_equal(sample.truth[0].segmentation.mask(data.SIZE_HW), data.MUG)
    assert np.array_equal(sample.truth[1].segmentation.mask(), data.BOWL)
    assert sample.facts == {
        'relations': [[0, 1, 'over'], [1, 0, 'beside'], [0, 1, 'over']], 'things': ['mug'],
        'stuff': ['sky'], 'predicates': ['over', 'on', 'beside']}
    with pytest.raises(ConfigError, match='expected psg_test.json, got'):
        list(psg.read(DataPlace(tmp_path, split='psg_test')))
    (bare,) = psg.read(DataPlace(tmp_path, candidates=Candidates.NONE))
    assert bare.question.startswith('Create a scene graph')
    (second,) = psg.read(DataPlace(tmp_path, candidates=Candidates.TWO_ROUNDS))
    assert second.asked_before == (
        'Please carefully check the image and detect the following objects: {mug, sky}',)
    assert second.question == (
        f'CANDIDATE PREDICATES: \n{{over, on, beside}}\n{bare.question}')


def test_psg_when_a_relation_points_nowhere_then_it_is_said_where(tmp_path):
    place = data.psg(tmp_path)
    path = tmp_path / 'psg_val.json'
    changed(path, lambda content: content['annotations'][0]['relations'].append([0, 2, 0]))
    with pytest.raises(ConfigError, match=r"item 0: field 'relations' is wrong.*\[0, 2, 0\]"):
        list(psg.read(place))
    changed(path, lambda content: content['annotations'][0].update(relations=[[0, 1, 7]]))
    with pytest.raises(ConfigError, match='number 7 has no name'):
        list(psg.read(place))


def test_panoptic_segment_when_it_cannot_be_read_then_the_reason_is_named(tmp_path):
    data.psg(tmp_path)
    path = tmp_path / 'panoptic.png'
    with pytest.raises(ImageError, match='not in its panoptic picture'):
        PanopticSegment(path, 3).mask()
    with pytest.raises(ImageError, match='not of the size'):
        PanopticSegment(path, 261).mask((3, 3))
    with pytest.raises(ImageError, match='missing'):
        PanopticSegment(tmp_path / 'other.png', 1).mask()
    (tmp_path / 'text.png').write_text('x')
    with pytest.raises(ImageError, match='damaged'):
        PanopticSegment(tmp_path / 'text.png', 1).mask()


def test_images_when_named_with_folders_then_the_named_place_comes_first(tmp_path):
    (tmp_path / 'train2014').mkdir()
    place = DataPlace(tmp_path / 'nowhere', tmp_path)
    Image.new('RGB', (2, 2)).save(tmp_path / 'a.jpg')
    assert place.image('train2014/a.jpg') == tmp_path / 'a.jpg'
    Image.new('RGB', (2, 2)).save(tmp_path / 'train2014' / 'a.jpg')
    assert place.image('train2014/a.jpg') == tmp_path / 'train2014' / 'a.jpg'
    assert place.image('train2014/b.jpg') == tmp_path / 'train2014' / 'b.jpg'


@pytest.mark.parametrize(('content', 'read'), [
    ('[{"a": "é"}]', list_items), ('{"a": "é"}\n', line_items)])
def test_items_when_a_file_has_a_byte_order_mark_or_is_not_utf_8_then_it_is_read_or_named(
        tmp_path, content, read):
    path = tmp_path / 'items.json'
    path.write_text(content, encoding='utf-8-sig')
    assert [item.fields for item in read(path)] == [{'a': 'é'}]
    path.write_text(content, encoding='latin-1')
    with pytest.raises(ConfigError, match='items.json is damaged or of another form.*utf-8'):
        list(read(path))
