# SPDX-License-Identifier: Apache-2.0
"""Small data sets in the published layouts, with answers whose figures are known by hand.

One image of 12 x 16 pixels shows a mug and a bowl of 24 pixels each. The scripted model can draw
them (numbers 0 and 1) and two thirds of the bowl (number 2).
"""
import json

import numpy as np
from PIL import Image
from scripted_model import VOCABULARY, PerfectTokenizer, ScriptedModel, listed

from samtok_ros.evaluation.datasets.coco_masks import mask_to_coco
from samtok_ros.evaluation.datasets.sample import DataPlace
from samtok_ros.pipeline import Pipeline

SIZE_HW = (12, 16)
IMAGE = 'COCO_train2014_000000000001.jpg'
SMALL = 'COCO_train2014_000000000002.jpg'


def rectangle(rows, columns):
    mask = np.zeros(SIZE_HW, np.bool_)
    mask[slice(*rows), slice(*columns)] = True
    return mask


MUG, BOWL, PART = (rectangle((2, 6), (2, 8)), rectangle((7, 11), (9, 15)),
                   rectangle((7, 11), (11, 15)))
NOTHING = np.zeros(SIZE_HW, np.bool_)
MUG_POLYGON = [[2, 2, 8, 2, 8, 6, 2, 6]]
MUG_WORDS, BOWL_WORDS, PART_WORDS = (VOCABULARY.codes_to_words((0, number)) for number in range(3))


def plain_runs(mask):
    """Return run lengths as a list, as COCO writes those of crowds."""
    flat = mask.ravel(order='F')
    runs, value, length = [], False, 0
    for pixel in flat:
        if pixel != value:
            runs, value, length = [*runs, length], pixel, 0
        length += 1
    return {'size': list(mask.shape), 'counts': [*runs, length]}


def pipeline_saying(script):
    """Return a pipeline that answers by heart and draws the three masks."""
    tokenizer = PerfectTokenizer()
    tokenizer.encode(None, np.stack([MUG, BOWL, PART]))
    return Pipeline(ScriptedModel(script), tokenizer)


def please(phrase):
    return f'Please segment {phrase} in this image.'


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_lines(path, items):
    # An empty line at the end, as published files have it.
    path.write_text(''.join(json.dumps(item) + '\n' for item in items) + '\n')


def images(folder):
    """Write the image, and one that is smaller than its data set says."""
    for name, size in ((IMAGE, SIZE_HW), (SMALL, (6, 8))):
        Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(folder / name)
    return DataPlace(folder)


def gres(folder):
    """Five goals to ask, one image of another size, one that is missing; another split."""
    place = images(folder)

    def reference(number, phrase, annotations, image=1, split='val'):
        return {'ref_id': number, 'image_id': image, 'split': split, 'ann_id': annotations,
                'category_id': [1], 'file_name': 'x.jpg', 'no_target': annotations == [-1],
                'sentences': [{'sent_id': 70 + number, 'sent': phrase, 'raw': phrase,
                               'tokens': phrase.split()}]}

    write(folder / 'grefs(unc).json', [
        reference(0, ' The red Mug ', [11]), reference(1, 'both things', [11, 12]),
        reference(2, 'a cone', [-1]), reference(3, 'a ghost', [-1]),
        reference(4, 'something small', [11], image=2), reference(5, 'lost', [11], image=3),
        reference(6, 'elsewhere', [11], split='testA')])
    write(folder / 'instances.json', {
        'info': {'year': 2014}, 'licenses': [],
        'images': [{'id': number, 'file_name': name, 'height': 12, 'width': 16}
                   for number, name in ((1, IMAGE), (2, SMALL), (3, 'missing.jpg'))],
        'annotations': [
            {'id': 11, 'image_id': 1, 'category_id': 1, 'iscrowd': 0, 'area': 24,
             'segmentation': MUG_POLYGON},
            {'id': 12, 'image_id': 1, 'category_id': 1, 'iscrowd': 1, 'area': 24,
             'segmentation': plain_runs(BOWL)}],
        'categories': [{'id': 1, 'name': 'thing'}]})
    return place


GRES_SCRIPT = {please('the red mug'): listed(0), please('both things'): listed(0),
               please('a cone'): 'No target.', please('a ghost'): listed(0)}


def refcoco(folder):
    """A phrase twice with different masks, and one with two thirds of its mask found."""
    place = images(folder)
    write_lines(folder / 'refcoco_val.json', [
        {'image': IMAGE, 'id': 1, 'objects': [{'label': label, 'rle': rle}]}
        for label, rle in (('Mug', mask_to_coco(MUG)), ('Mug', plain_runs(BOWL)),
                           ('bowl', mask_to_coco(BOWL)))])
    write(folder / 'rec_jsons_processed' / 'refcoco_val.json', [
        {'image': f'train2014/{IMAGE}', 'normal_caption': caption}
        for caption in ('Mug', 'bowl', 'bowl', 'cone')])
    return place


REFCOCO_SCRIPT = {please('Mug'): listed(0), please('bowl'): listed(2)}


def multi_round(folder):
    """Two samples of the first round, one of the second that points at the first answer."""
    place = images(folder)
    first = {'from': 'human', 'value': f'<image>\n{please("mug")}'}
    write(folder / 'mr_refcoco_val.json', {
        '1': [{'image': IMAGE, 'history': [first], 'round_id': 1,
               'target_masks': [mask_to_coco(MUG)]},
              {'image': IMAGE, 'history': [{'from': 'human', 'value': please('cone')}],
               'round_id': 1, 'target_masks': [mask_to_coco(NOTHING)]}],
        '2': [{'image': IMAGE, 'round_id': 2, 'target_masks': [mask_to_coco(BOWL)],
               'history': [first, {'from': 'gpt', 'value': f'It is {MUG_WORDS}.'},
                           {'from': 'human', 'value': please(f'what is right of {MUG_WORDS}')}]}]})
    return place


MULTI_ROUND_SCRIPT = {please('mug'): listed(0), please('cone'): 'No target.',
                      please('what is right of <0>'): listed(2)}


def grounding_suite(folder):
    place = images(folder)
    write_lines(folder / 'GroundingSuite-Eval.jsonl', [
        {'idx': number, 'image_path': f'unlabeled2017/{IMAGE}', 'label': 'x', 'caption': caption,
         'class_id': class_id, 'box': box, 'segmentation': mask_to_coco(mask)}
        for number, caption, class_id, box, mask in (
            (0, 'A mug.', 1, [2.0, 2.0, 7.0, 5.0], MUG), (1, 'Walls.', 3, [0, 0, 9, 9], BOWL),
            (2, 'A bowl.', 3, [9.0, 7.0, 14.0, 10.0], BOWL))])
    return place


_DETECT = 'Please carefully check the image and detect the object this sentence describes: '
GROUNDING_SUITE_SCRIPT = {f'{_DETECT}A mug.': listed(0), f'{_DETECT}Walls.': 'No target.',
                          f'{_DETECT}A bowl.': listed(2)}


def gcg(folder):
    """One image with two phrases, one with a mask too many, one that does not fit together."""
    place = images(folder)
    names = {'a': IMAGE, 'b': IMAGE, 'c': IMAGE}
    write(folder / 'val_gcg_coco_caption_gt.json', {
        'images': [{'id': key, 'file_name': name} for key, name in names.items()],
        'annotations': [
            {'image_id': 'a', 'caption': 'A red mug and a bowl.',
             'labels': ['a red mug', 'a bowl']},
            {'image_id': 'b', 'caption': 'A red mug.', 'labels': ['a red mug']},
            {'image_id': 'c', 'caption': 'A cone.', 'labels': ['a cone']}]})
    write(folder / 'val_gcg_coco_mask_gt.json', {
        'images': [], 'categories': [{'id': 1, 'name': 'x'}],
        'annotations': [
            {'id': 1, 'image_id': 'a', 'category_id': 1, 'segmentation': mask_to_coco(MUG)},
            {'id': 2, 'image_id': 'a', 'category_id': 1, 'segmentation': mask_to_coco(BOWL)},
            {'id': 3, 'image_id': 'b', 'category_id': 1, 'segmentation': mask_to_coco(MUG)}]})
    return place


def marked(phrase, words):
    return f'<|object_ref_start|> {phrase} <|object_ref_end|> {words}'


GCG_ANSWERS = (
    f'{marked("a red mug", MUG_WORDS)} and\n {marked("the pot", PART_WORDS)}.',
    f'{marked("a pot", PART_WORDS)}, {marked("A red  mug", MUG_WORDS)}.')


def dlc_bench(folder):
    place = images(folder)
    write(folder / 'annotations.json', [
        {'image_name': IMAGE, 'mask_samples': [
            {'segmentation': mask_to_coco(MUG), 'class_name': 'mug'},
            {'segmentation': mask_to_coco(BOWL), 'class_name': 'bowl', 'id': 9},
            {'segmentation': mask_to_coco(NOTHING), 'class_name': 'air'}]}])
    return place


# Regions are encoded in the order of asking, behind the three masks that are known.
DLC_SCRIPT = {'Given a detailed description of this region <3>.': 'A red mug.',
              'Given a detailed description of this region <4>.': ('', 'length')}


def gar_bench(folder):
    place = images(folder)
    mug, bowl = mask_to_coco(MUG), mask_to_coco(BOWL)
    write(folder / 'GAR-Bench-VQA.json', [
        {'image': IMAGE, 'question': 'What colour is <Prompt0>?', 'mask_rles': [mug],
         'choices': ['A. red', 'B. blue'], 'answer': 'A', 'type': 'color'},
        {'image': IMAGE, 'question': 'What colour is <Prompt0>?', 'mask_rles': [bowl],
         'choices': ['red', 'blue'], 'answer': 'B', 'type': 'color'},
        {'image': IMAGE, 'question': 'Is <Prompt1> right of <Prompt0>?', 'mask_rles': [mug, bowl],
         'choices': ['A. yes', 'B. no'], 'answer': 'A', 'type': 'relation'}])
    return place


def asked_to_choose(question, *choices):
    listed_choices = '\n'.join(choices)
    return (f'Question: {question}\nOptions:\n{listed_choices}\n'
            "Answer with the correct option's letter directly.")


GAR_SCRIPT = {
    asked_to_choose('What colour is <3>?', 'A. red', 'B. blue'): '<think>red</think>A.',
    asked_to_choose('What colour is <4>?', 'A. red', 'B. blue'): 'It is B',
    asked_to_choose('Is <6> right of <5>?', 'A. yes', 'B. no'): 'A'}


def _panoptic(folder):
    numbers = np.zeros((*SIZE_HW, 3), np.uint8)
    numbers[MUG] = (5, 1, 0)
    numbers[BOWL] = (0, 0, 1)
    Image.fromarray(numbers).save(folder / 'panoptic.png')


PSG_SEGMENTS = [{'id': 5 + 256, 'category_id': 0}, {'id': 65536, 'category_id': 1}]
PSG_RELATIONS = [[0, 1, 0], [1, 0, 2], [0, 1, 0]]


def psg(folder):
    """COCO panoptic with relations, one of them twice."""
    place = images(folder)
    _panoptic(folder)
    write(folder / 'psg_val.json', {
        'images': [{'id': 4, 'file_name': IMAGE, 'height': 12, 'width': 16}],
        'annotations': [{'image_id': 4, 'file_name': 'panoptic.png',
                         'segments_info': PSG_SEGMENTS, 'relations': PSG_RELATIONS}],
        'categories': [{'id': 0, 'name': 'mug', 'isthing': 1},
                       {'id': 1, 'name': 'sky', 'isthing': 0}],
        'relations_categories': [{'id': number, 'name': name}
                                 for number, name in enumerate(('over', 'on', 'beside'))]})
    return place


def open_psg(folder):
    """The same in the file of OpenPSG, where categories are numbered through."""
    place = images(folder)
    _panoptic(folder)
    entry = {'file_name': IMAGE, 'height': 12, 'width': 16, 'pan_seg_file_name': 'panoptic.png',
             'segments_info': PSG_SEGMENTS, 'relations': PSG_RELATIONS, 'annotations': []}
    write(folder / 'psg.json', {
        'data': [{'image_id': '8', **entry}, {'image_id': '9', **entry}],
        'thing_classes': ['mug'], 'stuff_classes': ['sky'],
        'predicate_classes': ['over', 'on', 'beside'], 'test_image_ids': ['9']})
    return place


def triplet(subject, words, predicate, thing, other_words):
    return {'subject': {'mask_2d': words, 'label': subject}, 'predicate': predicate,
            'object': {'mask_2d': other_words, 'label': thing}}


PSG_QUESTION = (
    'CANDIDATE CATEGORIES: \n{mug, sky}\nCANDIDATE PREDICATES: \n{over, on, beside}\n'
    'Create a scene graph by identifying triplets of <subject, predicate, object>. Focus on the '
    'most prominent interactions.')
PSG_ANSWER = '```json\n' + json.dumps([
    triplet('mug', MUG_WORDS, 'over', 'sky', PART_WORDS),
    triplet('mug', MUG_WORDS, 'over', 'sky', BOWL_WORDS),
    triplet('mug', MUG_WORDS, 'under', 'sky', BOWL_WORDS),
    triplet('tree', MUG_WORDS, 'over', 'sky', BOWL_WORDS)]) + '\n```'
