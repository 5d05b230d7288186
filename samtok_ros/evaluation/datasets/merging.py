# SPDX-License-Identifier: Apache-2.0
"""Results of all processes -> figures, table, page of worst cases, published predictions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.result import Result
from samtok_ros.evaluation.datasets.run_directory import RunDirectory
from samtok_ros.evaluation.datasets.running import LoadImage
from samtok_ros.evaluation.datasets.tasks import TASKS, DatasetTask
from samtok_ros.evaluation.datasets.worst_cases import worst_results
from samtok_ros.evaluation.datasets.worst_page import PageFacts, worst_page
from samtok_ros.evaluation.metrics.measure import measure_table, recorded
from samtok_ros.evaluation.metrics.phrases import PhraseSimilarity
from samtok_ros.evaluation.report import versions

_PACKAGES = ('pycocotools', 'pycocoevalcap')


@dataclass
class Tally:
    """What became of the samples.

    Attributes:
        asked: number of samples with an answer.
        skipped: number of the others, by reason.
        examples: first sample of each reason, with its detail.
        malformed: damaged spans in all answers.
        cut_short: answers that a limit ended.
        seconds: that all answers took.
    """

    asked: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    malformed: int = 0
    cut_short: int = 0
    seconds: float = 0.0

    def count(self, result: Result) -> None:
        """Take one result into account."""
        if result.skipped:
            self.skipped[result.skipped] = self.skipped.get(result.skipped, 0) + 1
            self.examples.setdefault(result.skipped, f'{result.sample_id}: {result.detail}'
                                     if result.detail else result.sample_id)
        else:
            self.asked += 1
            self.malformed += result.malformed
            self.cut_short += result.finish_reason == 'length'
            self.seconds += result.seconds

    def lines(self, samples: int | None) -> list[str]:
        """Return the lines above a table.

        Args:
            samples: of the data set, None if no process has come to its end.
        """
        seen = self.asked + sum(self.skipped.values())
        total = 'at least ' + str(seen) if samples is None else str(samples)
        first = f'{self.asked} of {total} samples asked, {sum(self.skipped.values())} skipped'
        if samples is None or seen < samples:
            first += '; the run is not finished'
        damage = f'{self.malformed} damaged spans, {self.cut_short} answers cut short'
        return [first, *(f'  skipped {count}: {reason} (first: {self.examples[reason]})'
                         for reason, count in sorted(self.skipped.items())), damage]


def merge(run: RunDirectory, similarity: PhraseSimilarity, load_image: LoadImage,
          most_pictures: int = 20) -> str:
    """Write report.json, table.txt, worst.html and the published predictions of a run.

    May be called at any time and again; an unfinished run is reported as such.

    Args:
        run: with a manifest and results.
        similarity: of phrases, for the tasks that compare them.
        load_image: path -> (H, W, 3) uint8.
        most_pictures: cases on the page.
    Returns:
        What stands in table.txt.
    Raises:
        ConfigError: no run, a damaged line, or no sample could be asked; the text says why.
    """
    manifest = run.manifest()
    task = TASKS[str(manifest['task'])]
    tally = Tally()
    for result in run.results():
        tally.count(result)
    if not tally.asked:
        reasons = '; '.join(tally.lines(run.samples())[1:-1]).strip()
        raise ConfigError(f'{run.path}: no sample could be asked', got=reasons or 'no results',
                          fix='check --data and --images')
    measures = list(task.measures(_counted(run, task), similarity))
    lines = tally.lines(run.samples())
    text = '\n'.join([*lines, '', measure_table(measures)]) + '\n'
    run.write('report.json', json.dumps({
        'measures': recorded(measures), 'samples': run.samples(), 'asked': tally.asked,
        'skipped': tally.skipped, 'skipped_first': tally.examples,
        'malformed_spans': tally.malformed, 'cut_short': tally.cut_short,
        'seconds_of_answers': round(tally.seconds, 1), 'manifest': manifest,
        'versions': versions(_PACKAGES)}, indent=2, ensure_ascii=False) + '\n')
    run.write('table.txt', text)
    worst = worst_results(_asked(run), task.score, most_pictures)
    facts = PageFacts(str(manifest['task']), str(manifest['model']['name']), task.score_name, text)
    run.write('worst.html', worst_page(facts, worst, load_image))
    for name, content in (task.predictions or {}).items():
        run.write(name, content(_asked(run)))
    return text


def _asked(run: RunDirectory) -> Iterator[Result]:
    return (result for result in run.results() if not result.skipped)


def _counted(run: RunDirectory, task: DatasetTask) -> Iterator[Result]:
    return run.results() if task.needs_skipped else _asked(run)
