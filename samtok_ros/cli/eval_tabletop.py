# SPDX-License-Identifier: Apache-2.0
"""`samtok eval tabletop`: measures a model on scenes it was never trained on."""

import argparse

from samtok_ros.cli.files import check_report_path, write_report
from samtok_ros.cli.models import device_and_dtype, load_pipeline
from samtok_ros.cli.options import add_model_options
from samtok_ros.cli.scenes import add_scene_options, chosen_scenes


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

    from samtok_ros.evaluation.report import RunFacts, report, table
    from samtok_ros.evaluation.tabletop import measure
    from samtok_ros.model_directory import resolve_model

    check_report_path(arguments.out)
    device, dtype = device_and_dtype(arguments)
    pipeline = load_pipeline(arguments)
    started_s = time.monotonic()
    seed, scenes = chosen_scenes(arguments)
    samples = measure(pipeline, scenes, seed=seed)
    facts = RunFacts(resolve_model(arguments.model), pipeline.mask_tokenizer.tokenizer_id, device,
                     dtype, arguments.scenes, seed, time.monotonic() - started_s)
    print(table(samples))
    print(f'{facts.scenes} scenes, seed {seed}, {facts.seconds:.0f} s, {facts.tokenizer_id}')
    write_report(arguments.out, report(samples, facts))
