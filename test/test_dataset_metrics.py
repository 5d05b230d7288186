# SPDX-License-Identifier: Apache-2.0
"""Figures of data sets: known answers, and against torchmetrics where it has the same figure."""
import shutil
from dataclasses import replace

import numpy as np
import pytest
from dataset_samples import (
    BOWL,
    BOWL_WORDS,
    GCG_ANSWERS,
    MUG,
    MUG_WORDS,
    NOTHING,
    PART,
    PART_WORDS,
    SIZE_HW,
    rectangle,
    triplet,
)

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.coco_masks import mask_to_coco
from samtok_ros.evaluation.datasets.result import DrawnMask, Result
from samtok_ros.evaluation.metrics import captions
from samtok_ros.evaluation.metrics.average_precision import precision_measures
from samtok_ros.evaluation.metrics.boxes import box_iou, inclusive_box
from samtok_ros.evaluation.metrics.captions import caption_measures
from samtok_ros.evaluation.metrics.grounded_captions import (
    gcg_measures,
    published_caption,
    published_phrases,
)
from samtok_ros.evaluation.metrics.matching import (
    greedy_hits,
    greedy_ious,
    iou_matrix,
    symmetric_iou,
)
from samtok_ros.evaluation.metrics.measure import Measure, mean_of, measure_table, recorded
from samtok_ros.evaluation.metrics.phrases import BertPhrases, EqualPhrases
from samtok_ros.evaluation.metrics.region_texts import choice_measures
from samtok_ros.evaluation.metrics.scene_graph import scene_graph_measures, triplet_recall
from samtok_ros.evaluation.metrics.segmentation import gres_measures, refcoco_measures, union_iou


def drawn(mask, label='', is_crowd=False):
    return DrawnMask(mask_to_coco(mask), label, is_crowd)


def result(said=(), truth=(), text='', **facts):
    return Result(0, 's', text=text, finish_reason='stop', size_hw=SIZE_HW,
                  said=tuple(one if isinstance(one, DrawnMask) else drawn(one) for one in said),
                  truth=tuple(one if isinstance(one, DrawnMask) else drawn(one) for one in truth),
                  facts=facts)


def values(measures):
    return {measure.name: measure.value for measure in measures}


# Prediction, truth, and what the published table makes of the pair: samtok-spec 4.1.
GRES_ROWS = ([[], []], [[MUG], []], [[], [MUG]], [[PART], [BOWL]], [[MUG, BOWL], [MUG, BOWL]])


def test_gres_when_every_row_of_the_published_table_occurs_then_its_figures_come_out():
    found = values(gres_measures([result(*row) for row in GRES_ROWS]))
    assert found == pytest.approx({
        'gIoU': (1 + 0 + 0 + 16 / 24 + 1) / 5, 'cIoU': (16 + 48) / (24 + 24 + 24 + 48),
        'N-acc': 0.5, 'T-acc': 2 / 3, 'mIoU': (0 + 16 / 24 + 1) / 3, 'IoU above 0.5': 2 / 3})


@pytest.mark.parametrize(('rows', 'missing'), [
    (GRES_ROWS[:2], {'T-acc', 'mIoU', 'IoU above 0.5'}), (GRES_ROWS[2:], {'N-acc'})])
def test_gres_when_a_side_is_missing_then_its_figure_has_no_value_and_says_why(rows, missing):
    measures = gres_measures([result(*row) for row in rows])
    assert {measure.name for measure in measures if measure.value is None} == missing
    notes = {measure.name: measure.note for measure in measures if measure.count == 0}
    assert all(notes.values())
    assert '-' in measure_table(measures)


def test_mask_iou_when_compared_with_torchmetrics_then_it_is_the_same():
    torch = pytest.importorskip('torch')
    jaccard = pytest.importorskip('torchmetrics.functional.classification').binary_jaccard_index
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.9):
        one, other = rng.random((2, *SIZE_HW)) < share
        theirs = float(jaccard(torch.from_numpy(one), torch.from_numpy(other)))
        assert union_iou(result([one], [other])) == pytest.approx(theirs)


def test_box_iou_when_compared_with_torchvision_then_boxes_and_overlap_are_the_same():
    torchvision = pytest.importorskip('torchvision')
    import torch

    masks = [MUG, BOWL, PART, rectangle((3, 9), (4, 12))]
    theirs = torchvision.ops.masks_to_boxes(torch.from_numpy(np.stack(masks)))
    ours = [inclusive_box(mask) for mask in masks]
    assert [list(box) for box in ours] == theirs.tolist()
    matrix = [[box_iou(one, other) for other in ours] for one in ours]
    assert np.allclose(matrix, torchvision.ops.box_iou(theirs, theirs).numpy())
    assert inclusive_box(NOTHING) is None
    point = (3.0, 3.0, 3.0, 3.0)
    assert box_iou(point, point) == 0.0


def test_refcoco_when_both_masks_are_empty_then_the_published_figure_counts_nothing():
    found = values(refcoco_measures([result([], [], key='1_x')]))
    assert found == {'REC AP50': 0, 'REC AP50, best': 0, 'RES cIoU': 0, 'mIoU': 0, 'cIoU': None}


def test_matching_when_pairs_compete_then_greedy_and_best_differ():
    ious = np.array([[0.6, 0.5], [0.55, 0.0]])
    assert greedy_ious(ious) == [0.6]
    assert symmetric_iou(ious) == pytest.approx(2 * (0.5 + 0.55) / 4)
    assert symmetric_iou(np.zeros((0, 0))) == 1.0
    assert symmetric_iou(np.zeros((2, 0))) == 0.0
    assert symmetric_iou(np.array([[1.0], [0.0]])) == pytest.approx(2 / 3)
    assert iou_matrix([NOTHING, MUG], [NOTHING]).tolist() == [[0.0], [0.0]]
    assert iou_matrix([], [MUG]).shape == (0, 1)


def test_greedy_hits_when_the_largest_pair_fails_then_what_comes_behind_is_lost():
    ious = np.array([[0.9, 0.0], [0.0, 0.8]])
    assert greedy_hits(ious, np.array([[1.0, 0.0], [0.0, 1.0]])) == 2
    assert greedy_hits(ious, np.array([[0.4, 0.0], [0.0, 1.0]])) == 0
    assert greedy_hits(ious, np.array([[1.0, 0.0], [0.0, 0.4]])) == 1
    assert greedy_hits(np.zeros((2, 0)), np.zeros((2, 0))) == 0
    with pytest.raises(IndexError):
        greedy_hits(np.array([[0.0, 0.9]]), np.array([[1.0]]))


def captioned():
    """Image a: mug right, two thirds of the bowl under another name. Image b: one too many."""
    return [
        result([drawn(MUG, 'a red mug'), drawn(PART, 'the pot')],
               [drawn(MUG, 'a red mug'), drawn(BOWL, 'a bowl')], GCG_ANSWERS[0],
               caption='A red mug and a bowl.'),
        result([drawn(PART, 'a pot'), drawn(MUG, 'A red mug')], [drawn(MUG, 'a red mug')],
               GCG_ANSWERS[1], caption='A red mug.')]


@pytest.fixture
def no_java(monkeypatch):
    """Leave the caption figures out; they take seconds."""
    monkeypatch.setattr(captions.shutil, 'which', lambda name: None)


def test_gcg_when_masks_are_missing_and_too_many_then_published_and_symmetric_figures_differ(
        no_java):
    found = values(gcg_measures(captioned(), EqualPhrases()))
    assert found == pytest.approx({
        'METEOR': None, 'CIDEr': None,
        # Three true masks; in file order the predictions are right, right up to 0.65, wrong, right.
        # 101 recall steps: 67 with precision 1 and 34 with 3/4; above 0.65, 34 with 1 and 33 with
        # 1/2.
        'AP50': (67 + 34 * 0.75) / 101,
        'AP': (4 * (67 + 34 * 0.75) + 6 * (34 + 33 * 0.5)) / 10 / 101,
        'mIoU': ((1 + 2 / 3) / 2 + 1) / 2, 'Recall': 2 / 3,
        'symmetric mIoU': (2 * (1 + 2 / 3) / 4 + 2 * 1 / 3) / 2,
        'recall, all pairs': 2 / 3, 'precision, all pairs': 2 / 4})


def test_gcg_when_an_answer_has_more_masks_than_phrases_then_the_image_counts_nothing_there(
        no_java):
    answer = f'{PART_WORDS} {GCG_ANSWERS[1]}'
    one = result([drawn(PART), drawn(PART), drawn(MUG, 'a red mug')],
                 [drawn(MUG, 'a red mug')], answer, caption='x')
    found = values(gcg_measures([one], EqualPhrases()))
    assert found['Recall'] == 0.0
    assert found['recall, all pairs'] == 1.0


def test_published_caption_when_answer_is_marked_then_markup_is_gone_and_blanks_are_single():
    assert published_caption(GCG_ANSWERS[0]) == 'a red mug and the pot .'
    assert published_phrases(GCG_ANSWERS[0]) == ['a red mug', 'the pot']
    # Two blanks become one once, as in the published script.
    assert published_phrases(GCG_ANSWERS[1]) == ['a pot', 'A red mug']
    assert published_caption('<think>so</think><answer>A\n mug</answer>') == 'A mug'


def test_average_precision_when_compared_with_torchmetrics_then_it_is_the_same():
    torch = pytest.importorskip('torch')
    theirs = pytest.importorskip('torchmetrics.detection').MeanAveragePrecision(iou_type='segm')
    results = captioned()
    for one in results:
        theirs.update([_of_torch(torch, one.said) | {'scores': torch.ones(len(one.said))}],
                      [_of_torch(torch, one.truth)])
    expected = theirs.compute()
    found = values(precision_measures(results))
    assert found['AP'] == pytest.approx(float(expected['map']), abs=1e-6)
    assert found['AP50'] == pytest.approx(float(expected['map_50']), abs=1e-6)


def _of_torch(torch, masks):
    return {'masks': torch.from_numpy(np.stack([one.mask for one in masks])),
            'labels': torch.ones(len(masks), dtype=torch.long)}


def test_average_precision_when_masks_are_crowds_then_they_need_not_be_found():
    crowd = result([MUG, PART], [drawn(MUG), drawn(BOWL, is_crowd=True)])
    assert values(precision_measures([crowd])) == pytest.approx({'AP': 1.0, 'AP50': 1.0})
    only_crowds = result([MUG], [drawn(BOWL, is_crowd=True)])
    assert values(precision_measures([only_crowds])) == {'AP': None, 'AP50': None}
    assert values(precision_measures([result([], [MUG])])) == {'AP': 0.0, 'AP50': 0.0}


@pytest.mark.skipif(shutil.which('java') is None, reason='java is not installed: no METEOR here')
def test_captions_when_java_is_there_then_equal_ones_score_highest_and_empty_ones_nothing():
    pytest.importorskip('pycocoevalcap')
    true = ['A red mug on the table.', 'A blue box beside a bowl.', 'A cone.']
    said = ['a red mug on the table', 'A box.', '']
    meteor, cider = caption_measures(said, true)
    # Worked out once with pycocoevalcap's own classes on these very captions.
    assert meteor.value == pytest.approx(0.3127, abs=1e-4)
    assert cider.value == pytest.approx(3.6670, abs=1e-3)


def test_captions_when_java_is_missing_then_the_reason_stands_in_the_table(no_java):
    measures = caption_measures(['a'], ['a'])
    assert values(measures) == {'METEOR': None, 'CIDEr': None}
    assert 'not computed: java is not installed' in measure_table(measures)
    assert {measure.note for measure in caption_measures([], [])} == {'no captions'}


def test_captions_when_java_fails_then_the_reason_stands_in_the_table(monkeypatch):
    def broken(said, true):
        raise OSError('no room')

    monkeypatch.setattr(captions, '_missing', lambda: '')
    monkeypatch.setattr(captions, '_scores', broken)
    assert 'no room' in caption_measures(['a'], ['a'])[0].note


@pytest.fixture(scope='module')
def phrase_model(tmp_path_factory):
    """Directory of a tiny BERT with random weights."""
    transformers = pytest.importorskip('transformers')
    import torch

    folder = tmp_path_factory.mktemp('models') / 'tiny-bert'
    folder.mkdir()
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'a', 'red', 'mug', 'bowl', '##s']
    (folder / 'vocab.txt').write_text('\n'.join(words) + '\n')
    transformers.BertTokenizer(str(folder / 'vocab.txt')).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(transformers.BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32)).save_pretrained(folder)
    return folder


def test_bert_phrases_when_compared_then_it_is_the_cosine_of_mean_hidden_states(phrase_model):
    import torch
    from transformers import AutoTokenizer, BertModel

    tokenizer, model = AutoTokenizer.from_pretrained(phrase_model), BertModel.from_pretrained(
        phrase_model)
    with torch.no_grad():
        means = [model(**tokenizer(text, return_tensors='pt')).last_hidden_state[0].mean(0)
                 for text in ('a red mug', 'bowls')]
    similarity = BertPhrases(phrase_model)
    found = similarity.matrix(['a red mug', 'bowls'], ['a red mug'])
    assert similarity.name == 'BERT (tiny-bert)'
    assert found[:, 0] == pytest.approx(
        [1.0, float(torch.cosine_similarity(means[0], means[1], dim=0))], abs=1e-5)
    assert found[1, 0] < 0.999
    assert similarity.matrix([], ['x']).shape == (0, 1)


def test_bert_phrases_when_the_folder_holds_no_model_then_it_says_so(tmp_path):
    with pytest.raises(ConfigError, match='no text encoder can be read'):
        BertPhrases(tmp_path)


def test_choices_when_letters_are_dressed_up_then_only_thoughts_and_a_full_stop_are_taken_off():
    results = [result(text=text, answer='A', type=kind) for text, kind in (
        ('A', 'color'), ('A.', 'color'), ('<think>B</think>\nA', 'shape'), ('A red one', 'shape'))]
    assert values(choice_measures(results)) == {'overall': 0.75, 'color': 1.0, 'shape': 0.5}


GRAPH = {'relations': [[0, 1, 'over'], [1, 0, 'beside'], [0, 1, 'over']], 'things': ['mug'],
         'stuff': ['sky'], 'predicates': ['over', 'on', 'beside']}


def graph(*triplets, ended='```', said=(MUG, PART, BOWL)):
    import json

    text = f'```json\n{json.dumps(list(triplets))}\n{ended}'
    return result(said, [drawn(MUG, 'mug'), drawn(BOWL, 'sky')], text, **GRAPH)


def test_scene_graph_when_triplets_repeat_then_truth_and_answer_count_each_once():
    one = graph(triplet('mug', MUG_WORDS, 'over', 'sky', PART_WORDS),
                triplet('mug', MUG_WORDS, 'over', 'sky', BOWL_WORDS), said=(MUG, PART, MUG, BOWL))
    found = values(scene_graph_measures([one]))
    assert found['R@20'] == 0.5
    # "over" is found, "beside" is not, "on" does not occur.
    assert found['mR@20'] == pytest.approx(1 / 3)
    assert triplet_recall(one) == 0.5


def test_scene_graph_when_labels_are_unknown_then_triplets_are_dropped_and_counted():
    one = graph(triplet('tree', MUG_WORDS, 'over', 'sky', BOWL_WORDS),
                triplet('mug', MUG_WORDS, 'under', 'sky', BOWL_WORDS), said=(MUG, BOWL, MUG, BOWL))
    found = values(scene_graph_measures([one]))
    assert (found['R@100'], found['unusable triplets']) == (0.0, 2.0)


@pytest.mark.parametrize(('second', 'recall'), [('sky', 0.5), ('mug', 0.0)])
def test_scene_graph_when_masks_are_parts_then_those_of_one_stuff_are_put_together(second, recall):
    rest = rectangle((7, 11), (9, 11))
    one = graph(triplet('mug', MUG_WORDS, 'over', 'sky', BOWL_WORDS),
                triplet('mug', MUG_WORDS, 'on', second, BOWL_WORDS), said=(MUG, rest, MUG, PART))
    assert triplet_recall(one) == recall


def test_scene_graph_when_list_was_not_closed_then_it_counts_as_nothing_said():
    one = graph(triplet('mug', MUG_WORDS, 'over', 'sky', BOWL_WORDS), ended='')
    found = values(scene_graph_measures([one]))
    assert (found['R@20'], found['answers without a whole list']) == (0.0, 1.0)


@pytest.mark.parametrize('wrapped', [
    '<think>hm ``` </think>{}', '<think> hm </think><answer> {} </answer>', '{}<|im_end|>'])
def test_scene_graph_when_the_list_is_wrapped_then_it_counts_as_closed(wrapped):
    one = graph(triplet('mug', MUG_WORDS, 'over', 'sky', BOWL_WORDS), said=(MUG, BOWL))
    found = values(scene_graph_measures([replace(one, text=wrapped.format(one.text))]))
    assert (found['R@20'], found['answers without a whole list']) == (0.5, 0.0)


def test_scene_graph_when_predicates_do_not_occur_then_they_count_nothing_in_the_mean_recall():
    one = graph(triplet('mug', MUG_WORDS, 'over', 'sky', BOWL_WORDS),
                triplet('sky', BOWL_WORDS, 'beside', 'mug', MUG_WORDS),
                said=(MUG, BOWL, BOWL, MUG))
    (mean,) = (m for m in scene_graph_measures([one]) if m.name == 'mR@50')
    assert (mean.value, mean.count) == (pytest.approx(2 / 3), 3)
    nothing = replace(one, facts={**GRAPH, 'relations': []})
    assert values(scene_graph_measures([nothing]))['mR@50'] is None


def test_measures_when_recorded_then_percent_is_times_a_hundred_and_notes_stay():
    measures = [Measure('a', 0.12345678, 3), mean_of('b', []), Measure('c', 2.0, 1, unit='words')]
    assert recorded(measures) == {
        'a': {'value': 12.3457, 'unit': '%', 'count': 3},
        'b': {'value': None, 'unit': '%', 'count': 0, 'note': 'no such samples'},
        'c': {'value': 2.0, 'unit': 'words', 'count': 1}}
    assert [line.split()[:2] for line in measure_table(measures).splitlines()] == [
        ['figure', 'value'], ['a', '12.35'], ['b', '-'], ['c', '2.00']]
