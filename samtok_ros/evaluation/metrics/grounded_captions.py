# SPDX-License-Identifier: Apache-2.0
"""Figures of captions with masks (GCG), as GLaMM computes them, and symmetric ones beside them."""

import re
from collections.abc import Sequence

import numpy as np

from samtok_ros.evaluation.datasets.result import DrawnMask, Result
from samtok_ros.evaluation.metrics.average_precision import precision_measures
from samtok_ros.evaluation.metrics.captions import caption_measures
from samtok_ros.evaluation.metrics.matching import (
    best_pairs,
    greedy_hits,
    greedy_ious,
    iou_matrix,
    symmetric_iou,
)
from samtok_ros.evaluation.metrics.measure import Measure, mean_of
from samtok_ros.evaluation.metrics.phrases import PhraseSimilarity
from samtok_ros.words.answers import answer_part

BAR = 0.5
_PHRASE = re.compile(r'<\|object_ref_start\|>(.*?)<\|object_ref_end\|>')
_MARKUP = re.compile(r'<.*?>')


def published_caption(text: str) -> str:
    """Return a raw answer as the published script cleans it: no markup, single blanks."""
    return ' '.join(_MARKUP.sub('', _flat(text)).split())


def published_phrases(text: str) -> list[str]:
    """Return what stands between the phrase marks of a raw answer, in order."""
    return [phrase.strip() for phrase in _PHRASE.findall(_flat(text))]


def caption_iou(result: Result) -> float:
    """Return the symmetric IoU of one image."""
    return symmetric_iou(iou_matrix(_masks(result.said), _masks(result.truth)))


def gcg_measures(results: Sequence[Result], similarity: PhraseSimilarity) -> list[Measure]:
    """Return the published figures and the symmetric ones.

    The published mIoU leaves out masks without a partner, and the published recall ends an image at
    its first pair that fails. The symmetric figures punish what is missing and what is too much.

    Args:
        results: one per image.
        similarity: of phrases.
    Source: samtok-spec 4.5.
    """
    matched, symmetric, hits, right = [], [], [], []
    for result in results:
        ious = iou_matrix(_masks(result.said), _masks(result.truth))
        matched.append(sum(found) / len(found) if (found := greedy_ious(ious)) else 0.0)
        symmetric.append(symmetric_iou(ious))
        hits.append(_published_hits(result, ious, similarity))
        right.append(_right_pairs(result, ious, similarity))
    true, said = (sum(len(getattr(result, side)) for result in results)
                  for side in ('truth', 'said'))
    by = f'IoU and {similarity.name}'
    return [
        *caption_measures([published_caption(result.text) for result in results],
                          [str(result.facts['caption']) for result in results]),
        *precision_measures(results),
        mean_of('mIoU', matched, 'published: of masks with a partner only'),
        _share('Recall', sum(hits), true, f'published: {by}; an image ends at its first miss'),
        mean_of('symmetric mIoU', symmetric, 'masks without a partner count 0, on both sides'),
        _share('recall, all pairs', sum(right), true, by),
        _share('precision, all pairs', sum(right), said, by)]


def _published_hits(result: Result, ious: np.ndarray, similarity: PhraseSimilarity) -> int:
    """Count as published, where an answer with more masks than phrases may count nothing."""
    likes = similarity.matrix([drawn.label for drawn in result.truth],
                              published_phrases(result.text))
    try:
        return greedy_hits(ious.T, likes, BAR)
    except IndexError:
        return 0


def _right_pairs(result: Result, ious: np.ndarray, similarity: PhraseSimilarity) -> int:
    """Count the most pairs that reach both bars, each mask once."""
    if not ious.size:
        return 0
    likes = similarity.matrix([drawn.label for drawn in result.truth],
                              [drawn.label for drawn in result.said])
    right = (ious.T >= BAR) & (likes >= BAR)
    return len(best_pairs(right.astype(np.float64)))


def _share(name: str, part: int, whole: int, note: str) -> Measure:
    return Measure(name, part / whole if whole else None, whole, note if whole else 'no masks')


def _masks(drawn: Sequence[DrawnMask]) -> list[np.ndarray]:
    return [one.mask for one in drawn]


def _flat(text: str) -> str:
    return answer_part(text).replace('\n', '').replace('  ', ' ')
