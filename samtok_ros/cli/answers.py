# SPDX-License-Identifier: Apache-2.0
"""Answers of the model as text for people and as JSON for programs."""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from samtok_ros.cli.files import save_picture

if TYPE_CHECKING:
    import numpy as np

    from samtok_ros.language.instructions import RegionReference
    from samtok_ros.pipeline import Pipeline
    from samtok_ros.regions import Answer, Region
    from samtok_ros.words.answer_record import Relation
    from samtok_ros.words.vocabulary import MaskVocabulary


def print_answer(
    answer: 'Answer', pipeline: 'Pipeline', image_rgb: 'np.ndarray',
    asked: 'Sequence[RegionReference]', arguments: argparse.Namespace,
) -> None:
    """Print an answer in the form that the user wants, and write its picture.

    Args:
        answer: to print.
        pipeline: whose answer it is.
        image_rgb: (H, W, 3) uint8.
        asked: regions that the question was about; they are drawn in too.
        arguments: of the command, see options.add_answer_options.
    """
    from samtok_ros.masks.overlay import draw_regions
    from samtok_ros.regions import Region

    vocabulary = pipeline.language_model.vocabulary
    if arguments.out is not None:
        first_id = len(answer.regions) + 1  # other colours than those of the answer
        pointed = pipeline.draw(image_rgb, [
            Region(first_id + place, reference.codes, f'<region:{place + 1}>', math.nan)
            for place, reference in enumerate(asked)])
        save_picture(arguments.out, draw_regions(image_rgb, [*answer.regions, *pointed]))
    if arguments.json:
        print(answer_json(answer, vocabulary, pipeline.mask_tokenizer.tokenizer_id))
    else:
        print(answer_text(answer, vocabulary))


def answer_text(answer: 'Answer', vocabulary: 'MaskVocabulary') -> str:
    """Return the answer for people, then a line for each region, relation and damaged part."""
    record = answer.record
    lines = [f'thought: {record.thought}'] if record.thought else []
    lines.append(record.text)
    if record.choice:
        lines.append(f'choice: {record.choice}')
    lines += [_region_line(region, vocabulary) for region in answer.regions]
    lines += [f'relation: {_relation_line(relation)}' for relation in record.relations]
    lines += [f'malformed span at character {span.position}: {span.reason}: {span.text}'
              for span in answer.malformed]
    known = {span.text for span in answer.malformed}
    lines += [f'not understood: {part}' for part in record.unparsed if part not in known]
    if answer.finish_reason != 'stop':
        lines.append(f'the answer is cut short: {answer.finish_reason}')
    return '\n'.join(lines)


def answer_json(answer: 'Answer', vocabulary: 'MaskVocabulary', tokenizer_id: str) -> str:
    """Return the answer as JSON; boxes in source pixels, right and bottom edges outside.

    `text` is the answer as the model wrote it, `record` what it says.
    """
    return json.dumps({
        'text': answer.text,
        'finish_reason': answer.finish_reason,
        'record': asdict(answer.record),
        'regions': [_region_fields(region, vocabulary) for region in answer.regions],
        'malformed': [vars(span) for span in answer.malformed],
        'tokenizer_id': tokenizer_id,
    }, indent=2, ensure_ascii=False)


def _relation_line(relation: 'Relation') -> str:
    ends = [f'{name} ({number or "no region"})' for name, number in (
        (relation.subject, relation.subject_id), (relation.object, relation.object_id))]
    return f'{ends[0]} {relation.predicate} {ends[1]}'


def _region_line(region: 'Region', vocabulary: 'MaskVocabulary') -> str:
    fields = _region_fields(region, vocabulary)
    box = 'empty mask' if region.box_xyxy is None else (
        'box {:g} {:g} {:g} {:g}'.format(*region.box_xyxy))
    return (f'{fields["id"]}  {fields["label"]}  {fields["words"]}  score {region.score:.2f}  '
            f'{box}  {fields["area_px"]} px')


def _region_fields(region: 'Region', vocabulary: 'MaskVocabulary') -> dict[str, object]:
    return {
        'id': region.region_id,
        'label': region.label,
        'words': vocabulary.codes_to_words(region.codes),
        'codes': list(region.codes),
        'score': round(region.score, 4),
        'mask_score': None if region.mask_score is None else round(region.mask_score, 4),
        'box_xyxy': region.box_xyxy,
        'area_px': 0 if region.mask is None else int(region.mask.sum()),
    }
