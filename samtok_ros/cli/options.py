# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share."""

import argparse
import math
from pathlib import Path


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add --model, --device and --dtype."""
    parser.add_argument('--model', default='tabletop',
                        help="'tabletop' (ships with the package), a directory, or OWNER/NAME from "
                        'the hub cache (default: %(default)s)')
    parser.add_argument('--device', default='auto',
                        help='torch device; auto takes a GPU where there is one (default: auto)')
    parser.add_argument('--dtype', default='auto',
                        choices=('auto', 'float32', 'bfloat16', 'float16'),
                        help='number format; auto is bfloat16 on a GPU, else float32; float16 '
                        'needs a GPU')


def add_image(parser: argparse.ArgumentParser) -> None:
    """Add the image file."""
    parser.add_argument('image', type=Path, metavar='IMAGE',
                        help='image file; its EXIF orientation is applied')


def add_thinks(parser: argparse.ArgumentParser) -> None:
    """Add --thinks, which load_pipeline reads."""
    parser.add_argument('--thinks', action='store_true',
                        help='ask as models want it that were trained by reinforcement, such as '
                        '...-gres-rl; for no other model')


def add_answer_options(parser: argparse.ArgumentParser) -> None:
    """Add --thinks, --out and --json, of commands that ask the language model."""
    add_thinks(parser)
    parser.add_argument('--out', type=Path, metavar='PICTURE',
                        help='write the image with the regions of question and answer drawn in')
    parser.add_argument('--json', action='store_true', help='print JSON')


def allow_any_order(parser: argparse.ArgumentParser) -> None:
    """Let an optional positional argument stand behind options too.

    By itself argparse counts it as left out when options come between it and the one before.
    """
    plain = parser.parse_known_args

    def parse(args=None, namespace=None):
        parser.parse_known_args = plain  # which the other way of parsing calls itself
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            parser.parse_known_args = parse

    parser.parse_known_args = parse


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is below 1')
    return number


def not_negative(text: str) -> int:
    """Read a whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f'{text} is below 0')
    return number


def finite(text: str) -> float:
    """Read a number that is one."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f'{text} is no number')
    return number


def hours(text: str) -> float:
    """Read a duration in hours, above 0."""
    return _duration(text, 'hours')


def seconds(text: str) -> float:
    """Read a duration in seconds, above 0."""
    return _duration(text, 'seconds')


def _duration(text: str, unit: str) -> float:
    number = float(text)
    if not 0 < number < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is no number of {unit} above 0')
    return number
