# SPDX-License-Identifier: Apache-2.0
"""Write small data sets of rendered tables in the published layouts, to try `samtok eval` on.

    python tools/make_eval_data.py eval-data --scenes 8

They say nothing about published models: their use is to see every reader, figure and page at work
with a model that needs no GPU.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from samtok_ros.evaluation.datasets.coco_masks import mask_to_coco
from samtok_ros.evaluation.heldout_scenes import EvaluationScene, heldout_scenes
from samtok_ros.evaluation.scene_questions import Goal, QuestionPlan, questions_for
from samtok_ros.language.tasks import lettered
from samtok_ros.training.descriptors import COLOUR_WORDS, RELATIONS, SHAPE_PLURALS
from samtok_ros.training.goals import box_order, describe
from samtok_ros.training.question import Question
from samtok_ros.training.questions import draw_question
from samtok_ros.training.scene_tasks import clear_relation, with_article
from samtok_ros.training.texts import spans_in, spans_of_codes, write
from samtok_ros.words.vocabulary import MaskVocabulary

SEED = 1
"""Of scenes and questions; reported figures use others."""

_PLAN = QuestionPlan(single=2, several=1, none=1, region=2)
_CATEGORY = 1
_TRIES = 20


@dataclass(frozen=True)
class Picture:
    """A rendered scene that has been written as an image file.

    Attributes:
        number: of the image.
        name: file, as COCO names them.
        scene: the truth.
        goals: referring expressions for it.
    """

    number: int
    name: str
    scene: EvaluationScene
    goals: tuple[Goal, ...]

    @property
    def things(self) -> list:
        """Things that can be seen, from left to right."""
        return [thing for thing in box_order(list(self.scene.description.objects))
                if self.scene.mask(thing.object_id).any()]

    def union(self, object_ids: Sequence[int]) -> dict[str, object]:
        """Return the union of some masks as COCO run lengths."""
        return mask_to_coco(np.isin(self.scene.segmentation, object_ids))

    def goals_of(self, *groups: str) -> list[Goal]:
        """Return the goals that name so many things."""
        return [goal for goal in self.goals if goal.group in groups]


def name_of(thing) -> str:
    """Return the colour and shape of a thing."""
    return describe(thing, 'colour shape').words()


def write_gres(folder: Path, pictures: Sequence[Picture]) -> None:
    """gRefCOCO: references and instances."""
    annotations, references = [], []
    for picture in pictures:
        ids = {}
        for thing in picture.things:
            ids[thing.object_id] = len(annotations) + 1
            mask = picture.scene.mask(thing.object_id)
            annotations.append({
                'id': ids[thing.object_id], 'image_id': picture.number, 'category_id': _CATEGORY,
                'iscrowd': 0, 'area': int(mask.sum()), 'segmentation': mask_to_coco(mask)})
        for goal in picture.goals:
            number = len(references)
            references.append({
                'ref_id': number, 'image_id': picture.number, 'file_name': picture.name,
                'split': 'val', 'no_target': not goal.targets, 'category_id': [_CATEGORY],
                'ann_id': [ids[target] for target in goal.targets] or [-1],
                'sentences': [{'sent_id': number, 'sent': goal.text, 'raw': goal.text,
                               'tokens': goal.text.split()}]})
    height, width = pictures[0].scene.segmentation.shape
    write_json(folder / 'grefs(unc).json', references)
    write_json(folder / 'instances.json', {
        'images': [{'id': picture.number, 'file_name': picture.name, 'height': height,
                    'width': width} for picture in pictures],
        'annotations': annotations, 'categories': [{'id': _CATEGORY, 'name': 'thing'}]})


def write_refcoco(folder: Path, pictures: Sequence[Picture]) -> None:
    """RefCOCO in the files of PaDT, with a list of VLM-R1 for every other sample."""
    samples = [(picture, goal) for picture in pictures for goal in picture.goals_of('single')]
    write_lines(folder / 'refcoco_val.json', [
        {'image': picture.name, 'id': picture.number,
         'objects': [{'label': goal.text, 'rle': picture.union(goal.targets)}]}
        for picture, goal in samples])
    write_json(folder / 'rec_jsons_processed' / 'refcoco_val.json', [
        {'image': f'train2014/{picture.name}', 'normal_caption': goal.text}
        for picture, goal in samples[::2]])


def write_grounding_suite(folder: Path, pictures: Sequence[Picture]) -> None:
    """GroundingSuite: a sentence and one union of masks."""
    lines = []
    for picture in pictures:
        for goal in picture.goals_of('single', 'several'):
            mask = np.isin(picture.scene.segmentation, goal.targets)
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            lines.append({
                'idx': len(lines), 'image_path': picture.name, 'label': goal.text,
                'caption': goal.text, 'class_id': 0 if goal.group == 'single' else 2,
                'box': [float(columns[0]), float(rows[0]), float(columns[-1]), float(rows[-1])],
                'segmentation': mask_to_coco(mask)})
    write_lines(folder / 'GroundingSuite-Eval.jsonl', lines)


def write_gcg(folder: Path, pictures: Sequence[Picture]) -> None:
    """GranD-f: captions and masks."""
    images, captions, masks = [], [], []
    for picture in pictures:
        image_id = Path(picture.name).stem
        labels = [with_article(name_of(thing)) for thing in picture.things]
        images.append({'id': image_id, 'file_name': picture.name})
        captions.append({'image_id': image_id, 'labels': labels,
                         'caption': f'The picture shows {", ".join(labels[:-1])} and {labels[-1]}.'
                         if len(labels) > 1 else f'The picture shows {labels[0]}.'})
        masks += [{'image_id': image_id, 'category_id': _CATEGORY, 'iscrowd': 0,
                   'segmentation': picture.union([thing.object_id])} for thing in picture.things]
    numbered = [{'id': number, **mask} for number, mask in enumerate(masks, start=1)]
    write_json(folder / 'val_gcg_coco_caption_gt.json',
               {'images': images, 'annotations': captions})
    write_json(folder / 'val_gcg_coco_mask_gt.json', {
        'images': images, 'annotations': numbered, 'categories': [{'id': _CATEGORY, 'name': ''}]})


def write_dlc_bench(folder: Path, pictures: Sequence[Picture]) -> None:
    """DLC-Bench: masks to describe."""
    write_json(folder / 'annotations.json', [
        {'image_name': picture.name, 'mask_samples': [
            {'segmentation': picture.union([thing.object_id]), 'class_name': thing.shape}
            for thing in picture.things[:2]]} for picture in pictures])


def write_gar_bench(folder: Path, pictures: Sequence[Picture]) -> None:
    """GAR-Bench-VQA: choices about one region and about two."""
    items = []
    for picture in pictures:
        thing = picture.things[0]
        for kind, words in (('color', COLOUR_WORDS), ('shape', tuple(SHAPE_PLURALS))):
            right = thing.colour if kind == 'color' else thing.shape
            options = [right, *(word for word in words if word != right)][:4]
            options = sorted(options)
            items.append(_choice(picture, f'What {kind.replace("color", "colour")} is <Prompt0>?',
                                 [thing], options, right, kind))
        for first, second in zip(picture.things, picture.things[1:], strict=False):
            relation = clear_relation(first, second)
            if relation:
                pair = RELATIONS[:2] if relation in RELATIONS[:2] else RELATIONS[2:]
                items.append(_choice(picture, 'Where is <Prompt0> relative to <Prompt1>?',
                                     [first, second], sorted(pair), relation, 'relation'))
                break
    write_json(folder / 'GAR-Bench-VQA.json', items)


def _choice(picture: Picture, question: str, things: Sequence, options: Sequence[str],
            right: str, kind: str) -> dict[str, object]:
    return {'image': picture.name, 'question': question, 'type': kind,
            'mask_rles': [picture.union([thing.object_id]) for thing in things],
            'choices': lettered(options).split('\n'), 'answer': chr(65 + options.index(right))}


def write_psg(folder: Path, pictures: Sequence[Picture]) -> None:
    """PSG as COCO panoptic with relations."""
    categories = sorted({name_of(thing) for picture in pictures for thing in picture.things})
    annotations = []
    for picture in pictures:
        things = picture.things
        numbers = [thing.object_id for thing in things]
        png = f'panoptic_{Path(picture.name).stem}.png'
        colours = np.zeros((*picture.scene.segmentation.shape, 3), np.uint8)
        colours[..., 0] = picture.scene.segmentation
        Image.fromarray(colours).save(folder / png)
        relations = [(place, place + 1, clear_relation(things[place], things[place + 1]))
                     for place in range(len(things) - 1)]
        annotations.append({
            'image_id': picture.number, 'file_name': png,
            'segments_info': [{'id': number, 'category_id': categories.index(name_of(thing)),
                               'isthing': 1, 'iscrowd': 0}
                              for number, thing in zip(numbers, things, strict=True)],
            'relations': [[first, second, RELATIONS.index(relation)]
                          for first, second, relation in relations if relation]})
    height, width = pictures[0].scene.segmentation.shape
    write_json(folder / 'psg_val.json', {
        'images': [{'id': picture.number, 'file_name': picture.name, 'height': height,
                    'width': width} for picture in pictures],
        'annotations': annotations,
        'categories': [{'id': number, 'name': name, 'isthing': 1}
                       for number, name in enumerate(categories)],
        'relations_categories': [{'id': number, 'name': name}
                                 for number, name in enumerate(RELATIONS)]})


def write_multi_round(folder: Path, pictures: Sequence[Picture]) -> None:
    """MR-RefCOCO; the mask words of its earlier answers are those of the embedded model."""
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    tokenizer = MaskTokenizer.load(resolve_model('tabletop'))
    rounds: dict[str, list] = {'1': [], '2': []}
    for picture in pictures:
        question = _second_round(picture)
        if question is None:
            continue
        ids = sorted({*question.regions, *question.targets})
        masks = np.stack([picture.scene.mask(number) for number in ids])
        rows = tokenizer.encode(tokenizer.embed_image(picture.scene.image_rgb), masks)
        codes = dict(zip(ids, rows.tolist(), strict=True))
        ((asked, said),) = question.earlier
        history = [{'from': 'human', 'value': f'<image>\n{write(asked, {})}'}]
        rounds['1'].append({'image': picture.name, 'history': list(history), 'round_id': 1,
                            'target_masks': [picture.union(spans_in(said))]})
        spans = spans_of_codes(codes, ids, MaskVocabulary())
        history += [{'from': 'gpt', 'value': write(said, spans)},
                    {'from': 'human', 'value': write(question.instruction, spans)}]
        rounds['2'].append({'image': picture.name, 'history': history, 'round_id': 2,
                            'target_masks': [picture.union(question.targets)]})
    write_json(folder / 'mr_refcoco_val.json', rounds)


def _second_round(picture: Picture) -> Question | None:
    """Draw a goal relative to the answer of a first round, None where there is none."""
    for seed in range(_TRIES):
        rng = np.random.default_rng([SEED, picture.number, seed])
        question = draw_question(picture.scene.description, rng, 'rounds')
        if question.earlier and question.targets:
            return question
    return None


WRITERS = {'gres': write_gres, 'refcoco': write_refcoco, 'multi-round': write_multi_round,
           'grounding-suite': write_grounding_suite, 'gcg': write_gcg,
           'dlc-bench': write_dlc_bench, 'gar-bench': write_gar_bench, 'psg': write_psg}
"""One folder per task of `samtok eval`."""

FLAGS = {'dlc-bench': ' --no-zoom', 'psg': ' --candidates none'}
"""What the embedded model was not trained on."""


def write_json(path: Path, content: object) -> None:
    """Write one JSON value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding='utf-8')


def write_lines(path: Path, items: Sequence[object]) -> None:
    """Write one JSON value a line."""
    path.write_text(''.join(json.dumps(item) + '\n' for item in items), encoding='utf-8')


def draw_pictures(folder: Path, scenes: int) -> list[Picture]:
    """Render scenes and write their images."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for number, scene in enumerate(heldout_scenes(scenes, SEED), start=1):
        name = f'COCO_train2014_{number:012d}.jpg'
        Image.fromarray(scene.image_rgb).save(folder / name, quality=95)
        goals = questions_for(scene.description, _PLAN, SEED).goals
        pictures.append(Picture(number, name, scene, goals))
    return pictures


def main() -> None:
    """Write all data sets."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('out', type=Path, help='folder; images go to OUT/images, each data set '
                        'into a folder of its own')
    parser.add_argument('--scenes', type=int, default=8, help='number of images (default: 8)')
    arguments = parser.parse_args()
    pictures = draw_pictures(arguments.out / 'images', arguments.scenes)
    for name, writer in WRITERS.items():
        folder = arguments.out / name
        folder.mkdir(exist_ok=True)
        writer(folder, pictures)
        print(f'samtok eval {name} --data {folder} --images {arguments.out / "images"}'
              + FLAGS.get(name, ''))


if __name__ == '__main__':
    main()
