# SPDX-License-Identifier: Apache-2.0
"""Answers of the model as text for people and as JSON for programs."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samtok_ros.regions import Answer, Region
    from samtok_ros.words.vocabulary import MaskVocabulary


def answer_text(answer: 'Answer', vocabulary: 'MaskVocabulary') -> str:
    """Return the answer, then one line per region and per malformed span."""
    lines = [answer.text]
    lines += [_region_line(region, vocabulary) for region in answer.regions]
    lines += [f'malformed span at character {span.position}: {span.reason}: {span.text}'
              for span in answer.malformed]
    if answer.finish_reason != 'stop':
        lines.append(f'the answer is cut short: {answer.finish_reason}')
    return '\n'.join(lines)


def answer_json(answer: 'Answer', vocabulary: 'MaskVocabulary', tokenizer_id: str) -> str:
    """Return the answer as JSON; boxes in source pixels, right and bottom edges outside."""
    return json.dumps({
        'text': answer.text,
        'finish_reason': answer.finish_reason,
        'regions': [_region_fields(region, vocabulary) for region in answer.regions],
        'malformed': [vars(span) for span in answer.malformed],
        'tokenizer_id': tokenizer_id,
    }, indent=2, ensure_ascii=False)


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
