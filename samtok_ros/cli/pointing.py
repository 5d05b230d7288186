# SPDX-License-Identifier: Apache-2.0
"""Regions that users point at on the command line: words, mask files, boxes, points."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from samtok_ros.cli.files import load_mask
from samtok_ros.cli.spans import looks_like_words, read_words
from samtok_ros.errors import ConfigError

if TYPE_CHECKING:
    from samtok_ros.pointing import Pointer
    from samtok_ros.words.vocabulary import MaskVocabulary


class _InOrder(argparse.Action):
    """Collects options of several names in one list, in the order in which they were given."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        given = list(getattr(namespace, self.dest) or [])
        setattr(namespace, self.dest, [*given, values])


def add_region_options(parser: argparse.ArgumentParser) -> None:
    """Add --region, --box and --point, to be given any number of times, in any order."""
    parser.add_argument('--region', dest='regions', action=_InOrder, default=[],
                        metavar='WORDS|MASK', help='mask words (in quotes) or a mask file')
    add_prompt_options(parser)


def add_prompt_options(parser: argparse.ArgumentParser) -> None:
    """Add --box and --point alone."""
    parser.add_argument('--box', dest='regions', action=_InOrder, type=_box, default=[],
                        metavar='X0,Y0,X1,Y1', help='a box around a thing, in pixels of the image; '
                        'right and bottom edges are outside; with a minus in front: --box=-5,...')
    parser.add_argument('--point', dest='regions', action=_InOrder, type=_point, default=[],
                        metavar='X,Y', help='a point on a thing, in pixels of the image; the '
                        'centre of the first pixel is 0.5,0.5')


def pointers(
    regions: list, vocabulary: 'MaskVocabulary', size_hw: tuple[int, int],
) -> 'list[Pointer]':
    """Return what the user pointed at, in the same order; words may stand for several regions.

    Args:
        regions: as the options collected them.
        vocabulary: of the words among them.
        size_hw: of the image.
    Raises:
        ConfigError: neither mask words nor a file.
        SpanError: damaged mask words.
        ImageError: a mask file cannot be used.
    """
    from samtok_ros.language.instructions import RegionReference

    found: list[Pointer] = []
    for region in regions:
        if not isinstance(region, str):
            found.append(region)
        elif looks_like_words(region):
            found += [RegionReference(codes) for codes in read_words(region, vocabulary)]
        elif Path(region).is_file():
            found.append(load_mask(Path(region), size_hw))
        else:
            raise ConfigError(f'region {region!r} is neither mask words nor a file',
                              fix='put mask words in quotes, or check the path')
    return found


def _box(text: str):
    from samtok_ros.regions import BoxPrompt

    return BoxPrompt(*_numbers(text, 4, 'X0,Y0,X1,Y1'))


def _point(text: str):
    from samtok_ros.regions import PointPrompt

    return PointPrompt(*_numbers(text, 2, 'X,Y'))


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(',')]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f'{text!r} is not {form}, in pixels')
    return numbers
