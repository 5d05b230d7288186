# SPDX-License-Identifier: Apache-2.0
"""`samtok eval tabletop`: measures a model on scenes it was never trained on."""

import argparse
import json

from samtok_ros.cli.files import check_folder_of
from samtok_ros.cli.models import device_and_dtype, load_pipeline
from samtok_ros.cli.options import add_model_options, add_scene_options


def add_parser(benchmarks) -> None:
    """Add the benchmark."""
    parser = benchmarks.add_parser(
        'tabletop', help='rendered tables with held-out shapes',
        description='Measure a model on rendered tables whose shapes were kept out of training: '
        'masks through words and back, grounding by free generation, no-target goals, questions '
        'about regions. Needs MuJoCo and OpenGL to render.')
    add_model_options(parser)
    add_scene_options(parser, 500)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
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
