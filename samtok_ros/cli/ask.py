# SPDX-License-Identifier: Apache-2.0
"""`samtok ask`: asks about an image, or about regions of it."""

import argparse

from samtok_ros.cli.answers import print_answer
from samtok_ros.cli.files import check_picture_path, load_image
from samtok_ros.cli.models import load_pipeline
from samtok_ros.cli.options import (
    add_answer_options,
    add_image,
    add_model_options,
    allow_any_order,
)
from samtok_ros.cli.pointing import add_region_options, pointers
from samtok_ros.errors import ConfigError


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'ask', help='ask about an image or regions of it',
        description='Ask about an image. <region:1>, <region:2>, ... in the question stand for the '
        'regions in their order; without these the regions go in front of the question. With '
        '--task the words are those that the models were trained on.')
    add_image(parser)
    parser.add_argument('question', metavar='QUESTION', nargs='?', default='',
                        help='such as "What colour is <region:1>?"; most tasks need none')
    parser.add_argument('--task', default='', metavar='TASK',
                        help='region_caption (one region), relation (two regions), multiple_choice '
                        '(a question and items), categories (items), brief_caption, '
                        'detailed_caption or scene_graph (nothing, or items and predicates)')
    parser.add_argument('--item', action='append', default=[], metavar='TEXT', dest='items',
                        help='an option to choose from, a category to find, or a name for a scene '
                        'graph; may be given several times')
    parser.add_argument('--predicate', action='append', default=[], metavar='TEXT',
                        dest='predicates', help='a relation for a scene graph')
    add_region_options(parser)
    parser.add_argument('--zoom-below', type=float, default=0.0, metavar='SHARE',
                        help='with region_caption: show a region enlarged whose box covers less of '
                        'the image (published: 0.3); only for models trained on it, which the '
                        'embedded one was not (default: never)')
    add_model_options(parser)
    add_answer_options(parser)
    parser.set_defaults(run=run)
    allow_any_order(parser)


def run(arguments: argparse.Namespace) -> None:
    """Ask one question.

    Raises:
        SamtokError: anything about the files, the question or the model that the user can mend.
    """
    from samtok_ros.image.zoom import ZoomRule
    from samtok_ros.language.tasks import TaskQuestion

    check_picture_path(arguments.out)
    question = TaskQuestion(arguments.task, arguments.question, tuple(arguments.items),
                            tuple(arguments.predicates))
    zoom = ZoomRule(arguments.zoom_below)
    if zoom.below and question.task != 'region_caption':
        raise ConfigError('only the task region_caption can zoom in', got=question.task or 'none',
                          fix='leave --zoom-below out')
    image_rgb = load_image(arguments.image)
    pipeline = load_pipeline(arguments)
    regions = pointers(arguments.regions, pipeline.language_model.vocabulary, image_rgb.shape[:2])
    question.check(len(regions))  # not earlier: the words of one option may name several
    asked = pipeline.references(image_rgb, regions)
    if zoom.below:
        answer = pipeline.describe_region(image_rgb, regions[0], zoom)
    else:
        answer = pipeline.ask(image_rgb, question, asked)
    print_answer(answer, pipeline, image_rgb, asked, arguments)
