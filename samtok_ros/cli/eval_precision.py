# SPDX-License-Identifier: Apache-2.0
"""`samtok eval precision`: how far number formats of the mask tokenizer agree."""

import argparse
import dataclasses

from samtok_ros.cli.files import check_report_path, write_report
from samtok_ros.cli.models import load_mask_tokenizer
from samtok_ros.cli.options import add_model_options
from samtok_ros.cli.scenes import add_scene_options, chosen_scenes


def add_parser(benchmarks) -> None:
    """Add the benchmark."""
    parser = benchmarks.add_parser(
        'precision', help='how far number formats of the mask tokenizer agree',
        description='Send the masks of rendered tables through the mask tokenizer in float32 on '
        'the CPU and in another number format or on another device, and print how far codes and '
        'masks agree, as JSON.')
    add_model_options(parser)
    add_scene_options(parser, 100)
    parser.set_defaults(run=run, dtype='bfloat16')


def run(arguments: argparse.Namespace) -> None:
    """Compare two number formats, print the figures, write them.

    Raises:
        SamtokError: the model or the renderer is missing or damaged, the device cannot run the
            format, or the file cannot be written.
    """
    from samtok_ros.evaluation.precision import compare_precisions
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

    check_report_path(arguments.out)
    other = load_mask_tokenizer(arguments)
    reference = MaskTokenizer.load(resolve_model(arguments.model))
    _, scenes = chosen_scenes(arguments)
    report = compare_precisions(reference, other, scenes)
    print(report.to_json())
    write_report(arguments.out, dataclasses.asdict(report))
