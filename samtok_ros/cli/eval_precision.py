# SPDX-License-Identifier: Apache-2.0
"""`samtok eval precision`: how far number formats of the mask tokenizer agree."""

import argparse

from samtok_ros.cli.files import check_folder_of
from samtok_ros.cli.models import load_mask_tokenizer
from samtok_ros.cli.options import add_model_options, add_scene_options


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
    from tqdm import tqdm

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
