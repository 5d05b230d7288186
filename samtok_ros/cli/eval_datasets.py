# SPDX-License-Identifier: Apache-2.0
"""`samtok eval TASK --data DIR`: measures a model on published data sets."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from samtok_ros.cli.files import load_image
from samtok_ros.cli.models import device_and_dtype
from samtok_ros.cli.options import add_model_options, add_thinks, positive

if TYPE_CHECKING:
    from samtok_ros.evaluation.datasets.asking import Asking
    from samtok_ros.evaluation.datasets.run_directory import RunDirectory
    from samtok_ros.evaluation.datasets.running import Work
    from samtok_ros.evaluation.datasets.sample import Samples
    from samtok_ros.evaluation.datasets.tasks import DatasetTask
    from samtok_ros.evaluation.metrics.phrases import PhraseSimilarity

_HELP = {
    'gres': 'several targets or none (gRefCOCO)',
    'refcoco': 'one target (RefCOCO, RefCOCO+, RefCOCOg)',
    'multi-round': 'targets relative to earlier answers (MR-RefCOCO/+/g, MR-PACO)',
    'grounding-suite': 'sentences (GroundingSuite)',
    'gcg': 'captions with masks (GranD-f)',
    'dlc-bench': 'captions of regions, for a judge (DLC-Bench)',
    'gar-bench': 'multiple choice about regions (GAR-Bench-VQA)',
    'psg': 'scene graphs (PSG)',
}
"""The tasks by name. Their table imports a lot, so it is not read for this."""

_HAS_CANDIDATES, _ZOOMS, _COMPARES_PHRASES = 'psg', 'dlc-bench', 'gcg'


def add_parser(benchmarks) -> None:
    """Add one benchmark per data set, and `merge`."""
    for name, text in _HELP.items():
        parser = benchmarks.add_parser(
            name, help=text,
            description=f'Measure a model on {text}. docs/evaluation.md says how the files have to '
            'lie. A run that was interrupted goes on when the same command is given again; '
            '`accelerate launch` shares the samples among several processes.')
        _add_data(parser)
        if name == _HAS_CANDIDATES:
            parser.add_argument('--candidates', choices=('listed', 'two-rounds', 'none'),
                                default='listed',
                                help='categories and predicates to choose from: in the question, '
                                'categories in a question before it, or left out (default: '
                                '%(default)s)')
        if name == _ZOOMS:
            parser.add_argument('--no-zoom', action='store_true',
                                help='no enlarged pictures of small regions, for models that were '
                                'not trained on them')
        add_model_options(parser)
        _add_report(parser, name == _COMPARES_PHRASES)
        parser.set_defaults(run=run)
    merge = benchmarks.add_parser(
        'merge', help='figures of a run so far',
        description='Write the figures, the table and the page of worst cases of a run, finished '
        'or not. A run that ends does this by itself.')
    merge.add_argument('run_dir', type=Path, metavar='DIR', help='folder of the run')
    _add_report(merge, compares_phrases=True)
    merge.set_defaults(run=run_merge)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--data', type=Path, required=True, metavar='DIR',
                        help='folder of the annotation files, or one such file')
    parser.add_argument('--images', type=Path, metavar='DIR',
                        help='folder of the images (default: that of the annotations)')
    parser.add_argument('--split', help='such as val, testA, refcocog_test (default: that of the '
                        'published figures)')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder of results and figures (default: eval-TASK)')
    parser.add_argument('--limit', type=positive, metavar='N', help='the first N samples only')
    add_thinks(parser)
    parser.add_argument('--max-new-tokens', type=positive, metavar='N',
                        help='limit of an answer (default: that of the published script)')


def _add_report(parser: argparse.ArgumentParser, compares_phrases: bool) -> None:
    if compares_phrases:
        parser.add_argument('--phrase-model', type=Path, metavar='DIR',
                            help='text encoder that compares the phrases of gcg, such as '
                            'bert-base-uncased; without it they have to be equal')
    parser.add_argument('--pictures', type=positive, default=20, metavar='N',
                        help='cases on the page of worst cases (default: %(default)s)')


def run(arguments: argparse.Namespace) -> None:
    """Ask what was not asked yet; the last process writes and prints the figures.

    Raises:
        SamtokError: data set, model or run folder cannot be used.
    """
    from samtok_ros.evaluation.datasets.manifest import run_manifest
    from samtok_ros.evaluation.datasets.processes import this_process
    from samtok_ros.evaluation.datasets.run_directory import RunDirectory
    from samtok_ros.evaluation.datasets.running import Work
    from samtok_ros.evaluation.datasets.sample import Candidates, DataPlace
    from samtok_ros.evaluation.datasets.tasks import TASKS

    name, task = arguments.benchmark, TASKS[arguments.benchmark]
    similarity = _similarity(arguments)
    place = DataPlace(arguments.data, arguments.images, arguments.split,
                      Candidates(getattr(arguments, 'candidates', 'listed')))
    # Everything that can be wrong with the files is found before the model is loaded.
    samples = sum(1 for _ in task.reader.read(place))
    samples = min(samples, arguments.limit or samples)
    process = this_process()
    if process.device and arguments.device == 'auto':
        arguments.device = process.device
    how = _asking(arguments, task)
    run_dir = RunDirectory(arguments.out or Path(f'eval-{name}'))
    device, dtype = device_and_dtype(arguments)
    arguments.device, arguments.dtype = device, dtype
    run_dir.begin(run_manifest(name, task, place, arguments.model, {
        'dtype': dtype, 'limit': arguments.limit, 'thinks': arguments.thinks,
        'candidates': place.candidates,
        'zoom': None if how.zoom is None else how.zoom.below,
        'max_new_tokens': how.limits.max_new_tokens}))
    work = Work(run_dir, process.share, how, load_image, arguments.limit)
    _ask(arguments, task.reader.read(place), work, samples)
    if run_dir.finish(process.share, samples):
        _report(run_dir, similarity, arguments.pictures)


def run_merge(arguments: argparse.Namespace) -> None:
    """Write and print the figures of a run.

    Raises:
        SamtokError: there is no run, or nothing in it.
    """
    from samtok_ros.evaluation.datasets.run_directory import RunDirectory

    _report(RunDirectory(arguments.run_dir), _similarity(arguments), arguments.pictures)


def _asking(arguments: argparse.Namespace, task: 'DatasetTask') -> 'Asking':
    from samtok_ros.evaluation.datasets.asking import Asking
    from samtok_ros.language.generation import GenerationLimits

    published = task.thinking_tokens if arguments.thinks else task.max_new_tokens
    most = arguments.max_new_tokens or published
    return Asking(GenerationLimits(max_new_tokens=most, max_masks=most),
                  None if getattr(arguments, 'no_zoom', False) else task.zoom)


def _ask(arguments: argparse.Namespace, data: 'Samples', work: 'Work', samples: int) -> None:
    """Ask what is left of the share; the model is loaded only if something is."""
    from tqdm import tqdm

    from samtok_ros.cli.models import load_pipeline
    from samtok_ros.evaluation.datasets.running import run_samples

    mine = sum(work.share.takes(number) for number in range(samples))
    done = sum(work.share.takes(number) for number in work.run.answered())
    if done >= mine:
        return
    results = run_samples(load_pipeline(arguments), data, work)
    # Of several processes one shows its progress.
    for _ in tqdm(results, total=mine, initial=done, unit='sample', disable=work.share.index > 0):
        pass


def _report(run_dir: 'RunDirectory', similarity: 'PhraseSimilarity', pictures: int) -> None:
    from samtok_ros.evaluation.datasets.merging import merge

    print(merge(run_dir, similarity, load_image, pictures), end='')
    print(f'{run_dir.path / "report.json"}, {run_dir.path / "worst.html"}')


def _similarity(arguments: argparse.Namespace) -> 'PhraseSimilarity':
    from samtok_ros.evaluation.metrics.phrases import BertPhrases, EqualPhrases

    model_dir = getattr(arguments, 'phrase_model', None)
    return BertPhrases(model_dir) if model_dir else EqualPhrases()
