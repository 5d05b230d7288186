# SPDX-License-Identifier: Apache-2.0
"""`samtok eval`: measures a model on scenes it was never trained on."""

import argparse
import json
from pathlib import Path

from samtok_ros.cli.files import check_folder_of
from samtok_ros.cli.models import device_and_dtype, load_pipeline
from samtok_ros.cli.options import add_model_options, not_negative, positive


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser('eval', help='measure a model')
    benchmarks = parser.add_subparsers(dest='benchmark', required=True, metavar='BENCHMARK')
    tabletop = benchmarks.add_parser(
        'tabletop', help='rendered tables with held-out shapes',
        description='Measure a model on rendered tables whose shapes were kept out of training: '
        'masks through words and back, grounding by free generation, no-target goals, questions '
        'about regions. Needs MuJoCo and OpenGL to render.')
    add_model_options(tabletop)
    _add_scenes(tabletop, 500)
    tabletop.set_defaults(run=run_tabletop)
    precision = benchmarks.add_parser(
        'precision', help='how far number formats of the mask tokenizer agree',
        description='Send the masks of rendered tables through the mask tokenizer in float32 on '
        'the CPU and in another number format or on another device, and print how far codes and '
        'masks agree, as JSON.')
    add_model_options(precision)
    _add_scenes(precision, 100)
    precision.set_defaults(run=run_precision, dtype='bfloat16')


def _add_scenes(parser: argparse.ArgumentParser, count: int) -> None:
    parser.add_argument('--out', type=Path, metavar='FILE', help='write all figures as JSON')
    parser.add_argument('--scenes', type=positive, default=count,
                        help='number of scenes (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative,
                        help='base seed of the scenes; another one draws other scenes')
    parser.add_argument('--cache', type=Path, metavar='DIR',
                        help='keep rendered scenes there (1.2 MB each) and read them from there')


def run_tabletop(arguments: argparse.Namespace) -> None:
    """Measure, print a table, write the report.

    Raises:
        SamtokError: the model or the renderer is missing or damaged, or the file cannot be written.
    """
    import time

    from tqdm import tqdm

    from samtok_ros.evaluation.heldout_scenes import BASE_SEED, heldout_scenes
    from samtok_ros.evaluation.report import RunFacts, report, table
    from samtok_ros.evaluation.tabletop import measure
    from samtok_ros.model_directory import resolve_model

    if arguments.out is not None:
        check_folder_of(arguments.out)
    seed = BASE_SEED if arguments.seed is None else arguments.seed
    device, dtype = device_and_dtype(arguments)
    pipeline = load_pipeline(arguments)
    started_s = time.monotonic()
    scenes = tqdm(heldout_scenes(arguments.scenes, seed, arguments.cache), unit='scene',
                  total=arguments.scenes)
    samples = measure(pipeline, scenes, seed=seed)
    facts = RunFacts(resolve_model(arguments.model), pipeline.mask_tokenizer.tokenizer_id, device,
                     dtype, arguments.scenes, seed, time.monotonic() - started_s)
    if arguments.out is not None:
        text = json.dumps(report(samples, facts), indent=2) + '\n'
        arguments.out.write_text(text, encoding='utf-8')
    print(table(samples))
    print(f'{facts.scenes} scenes, seed {seed}, {facts.seconds:.0f} s, {facts.tokenizer_id}')


def run_precision(arguments: argparse.Namespace) -> None:
    """Compare two number formats, print the figures, write them.

    Raises:
        SamtokError: the model or the renderer is missing or damaged, the device cannot run the
            format, or the file cannot be written.
    """
    from tqdm import tqdm

    from samtok_ros.cli.models import load_mask_tokenizer
    from samtok_ros.evaluation.heldout_scenes import BASE_SEED, heldout_scenes
    from samtok_ros.evaluation.precision import compare_precisions
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    if arguments.out is not None:
        check_folder_of(arguments.out)
    other = load_mask_tokenizer(arguments)
    reference = MaskTokenizer.load(resolve_model(arguments.model))
    seed = BASE_SEED if arguments.seed is None else arguments.seed
    scenes = tqdm(heldout_scenes(arguments.scenes, seed, arguments.cache), unit='scene',
                  total=arguments.scenes)
    text = compare_precisions(reference, other, scenes).to_json()
    if arguments.out is not None:
        arguments.out.write_text(text + '\n', encoding='utf-8')
    print(text)
