# SPDX-License-Identifier: Apache-2.0
"""`samtok decode`: mask words to masks of the image they belong to."""

import argparse
import re
from pathlib import Path

from samtok_ros.cli.files import check_folder, load_image, save_mask
from samtok_ros.cli.models import load_mask_tokenizer
from samtok_ros.cli.options import add_image, add_model_options, finite
from samtok_ros.cli.spans import read_words, read_words_by_order

_MASK_FILE = re.compile(r'mask-(\d\d|[1-9]\d{2,})\.png')


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'decode', help='mask words to masks',
        description='Write the masks that mask words stand for, as PNG files of 0 and 255. Words '
        'mean nothing without the image and the model that they come from.')
    add_image(parser)
    parser.add_argument('words', nargs='+', metavar='WORDS',
                        help='mask words, in quotes; text around them, such as a whole answer, is '
                        'passed over')
    add_model_options(parser)
    parser.add_argument('--compatible', action='store_true',
                        help='read and draw damaged words as the published demo does: by order, '
                        'and a missing second word as entry 0; else they are an error')
    parser.add_argument('--by-order', action='store_true',
                        help='the same, but a missing second word leaves the first one alone')
    parser.add_argument('--logit-threshold', type=finite, metavar='T',
                        help="a pixel is inside above this logit (default: the model's own, 0.5 in "
                        'published models)')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR',
                        help='folder for mask-01.png, mask-02.png, ...; made if it is not there; '
                        'masks of these names that an earlier run left are replaced or removed')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Decode mask words.

    Raises:
        SamtokError: anything about the image, the words or the model that the user can mend.
    """
    import numpy as np

    from samtok_ros.tokenizer.records import DecodeOptions
    from samtok_ros.words.vocabulary import MaskVocabulary

    check_folder(arguments.out)
    image_rgb = load_image(arguments.image)
    mask_tokenizer = load_mask_tokenizer(arguments)
    sizes = mask_tokenizer.config
    vocabulary = MaskVocabulary(sizes.codebook_size, sizes.codebook_depth)
    read = read_words_by_order if arguments.compatible or arguments.by_order else read_words
    codes = [one for text in arguments.words for one in read(text, vocabulary)]
    options = DecodeOptions(arguments.compatible, arguments.logit_threshold)
    decoded = mask_tokenizer.decode(mask_tokenizer.embed_image(image_rgb), np.array(codes), options)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, (mask, score) in enumerate(zip(decoded.masks, decoded.scores, strict=True), 1):
        path = arguments.out / f'mask-{number:02d}.png'
        save_mask(path, mask)
        print(f'{path}  {int(mask.sum())} px  predicted IoU {score:.2f}')
    _remove_masks_after(len(codes), arguments.out)


def _remove_masks_after(last: int, folder: Path) -> None:
    """Remove what an earlier run with more words left: it would pass for masks of these words."""
    for path in sorted(folder.iterdir()):
        match = _MASK_FILE.fullmatch(path.name)
        if match and int(match[1]) > last and path.is_file():
            path.unlink()
            print(f'{path}  removed, it is of an earlier run')
