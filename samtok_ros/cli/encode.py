# SPDX-License-Identifier: Apache-2.0
"""`samtok encode`: masks of an image to mask words."""

import argparse
from pathlib import Path

from samtok_ros.cli.files import load_image, load_mask
from samtok_ros.cli.models import load_mask_tokenizer
from samtok_ros.cli.options import add_image, add_model_options


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'encode', help='masks to mask words',
        description='Print the mask words of masks, one line per mask file.')
    add_image(parser)
    parser.add_argument('masks', nargs='+', type=Path, metavar='MASK',
                        help='PNG of the size of the image; pixels that are not 0 are inside')
    add_model_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Encode masks.

    Raises:
        SamtokError: anything about the files or the model that the user can mend.
    """
    import numpy as np

    from samtok_ros.words.vocabulary import MaskVocabulary

    image_rgb = load_image(arguments.image)
    masks = np.stack([load_mask(path, image_rgb.shape[:2]) for path in arguments.masks])
    mask_tokenizer = load_mask_tokenizer(arguments)
    sizes = mask_tokenizer.config
    vocabulary = MaskVocabulary(sizes.codebook_size, sizes.codebook_depth)
    for codes in mask_tokenizer.encode(mask_tokenizer.embed_image(image_rgb), masks):
        print(vocabulary.codes_to_words(codes.tolist()))
