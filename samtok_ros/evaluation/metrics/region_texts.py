# SPDX-License-Identifier: Apache-2.0
"""Figures of texts about regions: multiple choice, and captions that a judge will read."""

from collections import defaultdict
from collections.abc import Iterable

from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.metrics.measure import Measure, mean_of
from samtok_ros.words.answers import answer_part


def is_right(result: Result) -> float:
    """Return 1 if the answer is exactly the right letter, without thoughts and a final full stop.

    Source: samtok-spec 4.6.
    """
    said = answer_part(result.text).strip().removesuffix('.').strip()
    return float(said == str(result.facts['answer']).strip().removesuffix('.').strip())


def choice_measures(results: Iterable[Result]) -> list[Measure]:
    """Return the share of right letters, overall and per type of question."""
    types: dict[str, list[float]] = defaultdict(list)
    for result in results:
        types[str(result.facts['type'])].append(is_right(result))
    return [mean_of('overall', (value for group in types.values() for value in group)),
            *(mean_of(name, types[name]) for name in sorted(types) if name)]


def word_count(result: Result) -> float:
    """Return the number of words of a caption."""
    return float(len(answer_part(result.text).split()))


def region_caption_measures(results: Iterable[Result]) -> list[Measure]:
    """Return what needs no judge: how long the captions are, and how many are empty or cut off."""
    results = list(results)
    words = [word_count(result) for result in results]
    return [
        Measure('positive, negative, average', None, len(results),
                'not computed: need a judge, see predictions.json'),
        mean_of('words', words, 'mean length of a caption', 'words'),
        Measure('empty captions', float(words.count(0.0)), len(words), unit='captions'),
        Measure('cut off', float(sum(one.finish_reason == 'length' for one in results)),
                len(words), 'at the limit of tokens', 'captions')]
