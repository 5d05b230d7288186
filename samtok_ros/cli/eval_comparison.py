# SPDX-License-Identifier: Apache-2.0
"""`samtok eval comparison`: two models on the same held-out scenes, with intervals."""

import argparse
from pathlib import Path

from samtok_ros.cli.files import check_report_path, write_report
from samtok_ros.cli.options import positive
from samtok_ros.cli.scenes import add_scene_options, chosen_scenes


def add_parser(benchmarks) -> None:
    """Add the benchmark."""
    parser = benchmarks.add_parser(
        'comparison', help='two models on the same rendered tables',
        description='Ask two models the same about rendered tables with held-out shapes, and say '
        'which differences are beyond chance: paired bootstrap over scenes.')
    parser.add_argument('before', help="'tabletop', a directory, or OWNER/NAME from the hub cache")
    parser.add_argument('after', help='the other model; with the same mask tokenizer')
    parser.add_argument('--device', default='auto', help='torch device (default: auto)')
    parser.add_argument('--goals', type=positive, default=2,
                        help='goals per scene that name one thing (default: %(default)s)')
    add_scene_options(parser, 500)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure both, print a table, write the figures.

    Raises:
        SamtokError: a model or the renderer is missing or damaged, the models have different mask
            tokenizers, or the file cannot be written.
    """
    from dataclasses import asdict

    from samtok_ros.errors import ConfigError
    from samtok_ros.evaluation.comparison import compare, measure_both, table
    from samtok_ros.evaluation.report import versions, weight_hashes
    from samtok_ros.evaluation.scene_questions import QuestionPlan
    from samtok_ros.model_directory import resolve_model, split_tokenizer_id
    from samtok_ros.pipeline import Pipeline
    from samtok_ros.runtime.torch_backend import choose_device

    check_report_path(arguments.out)
    device = choose_device(arguments.device)
    names = (arguments.before, arguments.after)
    models = [Pipeline.load(name, device) for name in names]
    ids = [split_tokenizer_id(model.mask_tokenizer.tokenizer_id)[1] for model in models]
    if ids[0] != ids[1]:
        raise ConfigError('the models have different mask tokenizers', expected=ids[0],
                          got=ids[1], fix='measure each with samtok eval tabletop')
    seed, scenes = chosen_scenes(arguments)
    differences = compare(measure_both(*models, scenes, QuestionPlan(single=arguments.goals),
                                       seed))
    print(table(differences))
    facts = {'models': [{'name': name, 'weights': weight_hashes(Path(resolve_model(name)))}
                        for name in names],
             'scenes': arguments.scenes, 'seed': seed, 'versions': versions()}
    write_report(arguments.out, {**facts, 'differences': [asdict(one) for one in differences]})
