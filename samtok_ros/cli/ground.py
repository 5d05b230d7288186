# SPDX-License-Identifier: Apache-2.0
"""`samtok ground`: finds what a sentence names in an image."""

import argparse

from samtok_ros.cli.answers import print_answer
from samtok_ros.cli.files import check_picture_path, load_image
from samtok_ros.cli.models import load_pipeline
from samtok_ros.cli.options import add_answer_options, add_image, add_model_options
from samtok_ros.cli.pointing import add_region_options, pointers


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'ground', help='find what a sentence names in an image',
        description='Find what a sentence names in an image; print the answer and its regions. '
        '<region:1>, <region:2>, ... in the sentence stand for the regions in their order.')
    add_image(parser)
    parser.add_argument('goal', metavar='GOAL', help='such as "the red mug left of <region:1>"')
    add_region_options(parser)
    add_model_options(parser)
    add_answer_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Ground one goal.

    Raises:
        SamtokError: anything about the files, the goal or the model that the user can mend.
    """
    check_picture_path(arguments.out)
    image_rgb = load_image(arguments.image)
    pipeline = load_pipeline(arguments)
    regions = pointers(arguments.regions, pipeline.language_model.vocabulary, image_rgb.shape[:2])
    asked = pipeline.references(image_rgb, regions)
    answer = pipeline.ground(image_rgb, arguments.goal, regions=asked)
    print_answer(answer, pipeline, image_rgb, asked, arguments)
