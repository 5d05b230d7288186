# SPDX-License-Identifier: Apache-2.0
"""`samtok encode`: masks, boxes or points of an image to mask words."""

import argparse
from pathlib import Path

from samtok_ros.cli.files import load_image, load_mask
from samtok_ros.cli.models import load_mask_tokenizer
from samtok_ros.cli.options import add_image, add_model_options, allow_any_order
from samtok_ros.cli.pointing import add_prompt_options
from samtok_ros.errors import ConfigError


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'encode', help='masks, boxes or points to mask words',
        description='Print the mask words of regions, one line each: of mask files first, then of '
        'boxes and points in the order in which they were given.')
    add_image(parser)
    parser.add_argument('masks', nargs='*', type=Path, metavar='MASK',
                        help='PNG of the size of the image; pixels that are not 0 are inside')
    add_prompt_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=run)
    allow_any_order(parser)


def run(arguments: argparse.Namespace) -> None:
    """Encode masks, boxes and points.

    Raises:
        SamtokError: anything about the files or the model that the user can mend.
    """
    from samtok_ros.pointing import references_to
    from samtok_ros.regions import ImageSize
    from samtok_ros.words.vocabulary import MaskVocabulary

    if not (arguments.masks or arguments.regions):
        raise ConfigError('there is nothing to encode',
                          fix='give mask files, --box or --point')
    image_rgb = load_image(arguments.image)
    size_hw = image_rgb.shape[:2]
    masks = [load_mask(path, size_hw) for path in arguments.masks]
    mask_tokenizer = load_mask_tokenizer(arguments)
    sizes = mask_tokenizer.config
    vocabulary = MaskVocabulary(sizes.codebook_size, sizes.codebook_depth)
    features = mask_tokenizer.embed_image(image_rgb)
    for reference in references_to([*masks, *arguments.regions], ImageSize(*size_hw),
                                   mask_tokenizer, lambda: features):
        print(vocabulary.codes_to_words(reference.codes))
