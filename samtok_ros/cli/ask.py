# SPDX-License-Identifier: Apache-2.0
"""`samtok ask`: asks about an image, or about regions of it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from samtok_ros.cli.answers import answer_json, answer_text
from samtok_ros.cli.files import load_image, load_mask
from samtok_ros.cli.models import load_pipeline
from samtok_ros.cli.options import add_image, add_model_options
from samtok_ros.cli.spans import looks_like_words, read_words
from samtok_ros.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from samtok_ros.language.instructions import RegionReference
    from samtok_ros.pipeline import Pipeline


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'ask', help='ask about an image or regions of it',
        description='Ask about an image. <region:1>, <region:2>, ... in the question stand for the '
        'regions in their order; without these the regions go in front of the question.')
    add_image(parser)
    parser.add_argument('question', metavar='QUESTION', help='such as "What colour is <region:1>?"')
    parser.add_argument('--region', action='append', default=[], metavar='WORDS|MASK',
                        help='mask words (in quotes) or a mask file; may be given several times')
    add_model_options(parser)
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Ask one question.

    Raises:
        SamtokError: anything about the files, the question or the model that the user can mend.
    """
    image_rgb = load_image(arguments.image)
    pipeline = load_pipeline(arguments)
    regions = region_references(pipeline, image_rgb, arguments.region)
    answer = pipeline.ask(image_rgb, arguments.question, regions)
    vocabulary = pipeline.language_model.vocabulary
    if arguments.json:
        print(answer_json(answer, vocabulary, pipeline.mask_tokenizer.tokenizer_id))
    else:
        print(answer_text(answer, vocabulary))


def region_references(
    pipeline: 'Pipeline', image_rgb: 'np.ndarray', regions: list[str],
) -> 'list[RegionReference]':
    """Turn what the user named as regions into references, in the same order.

    Args:
        pipeline: whose words they are.
        image_rgb: (H, W, 3) uint8, the image the regions belong to.
        regions: mask words, or paths of mask files.
    Raises:
        ConfigError: neither mask words nor a file.
        SpanError: damaged mask words.
        ImageError: a mask file cannot be used.
    """
    from samtok_ros.language.instructions import RegionReference

    codes: list[tuple[int, ...]] = []
    for region in regions:
        if looks_like_words(region):
            codes += read_words(region, pipeline.language_model.vocabulary)
        elif Path(region).is_file():
            codes.append(_encode(pipeline, image_rgb, Path(region)))
        else:
            raise ConfigError(f'region {region!r} is neither mask words nor a file',
                              fix='put mask words in quotes, or check the path')
    return [RegionReference(one) for one in codes]


def _encode(pipeline: 'Pipeline', image_rgb: 'np.ndarray', path: Path) -> tuple[int, ...]:
    mask = load_mask(path, image_rgb.shape[:2])
    features = pipeline.mask_tokenizer.embed_image(image_rgb)
    return tuple(map(int, pipeline.mask_tokenizer.encode(features, mask[None])[0]))
