# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share."""

import argparse
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


def hours(text: str) -> float:
    """Read a duration in hours, above 0."""
    number = float(text)
    if not 0 < number < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is no number of hours above 0')
    return number
