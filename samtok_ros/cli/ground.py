# SPDX-License-Identifier: Apache-2.0
"""`samtok ground`: finds what a sentence names in an image."""

import argparse
from pathlib import Path

from samtok_ros.cli.answers import answer_json, answer_text
from samtok_ros.cli.files import check_picture_path, load_image, save_picture
from samtok_ros.cli.models import load_pipeline
from samtok_ros.cli.options import add_image, add_model_options


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'ground', help='find what a sentence names in an image',
        description='Find what a sentence names in an image; print the answer and its regions.')
    add_image(parser)
    parser.add_argument('goal', metavar='GOAL', help='such as "the red mug left of the bowl"')
    add_model_options(parser)
    parser.add_argument('--out', type=Path, metavar='PICTURE',
                        help='write the image with the regions drawn in')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Ground one goal.

    Raises:
        SamtokError: anything about the files, the goal or the model that the user can mend.
    """
    from samtok_ros.masks.overlay import draw_regions

    check_picture_path(arguments.out)
    image_rgb = load_image(arguments.image)
    pipeline = load_pipeline(arguments)
    answer = pipeline.ground(image_rgb, arguments.goal)
    vocabulary = pipeline.language_model.vocabulary
    if arguments.out is not None:
        save_picture(arguments.out, draw_regions(image_rgb, answer.regions))
    if arguments.json:
        print(answer_json(answer, vocabulary, pipeline.mask_tokenizer.tokenizer_id))
    else:
        print(answer_text(answer, vocabulary))
