# SPDX-License-Identifier: Apache-2.0
"""`samtok make-bag`: renders the camera bag of the demo."""

import argparse
from pathlib import Path

from samtok_ros.cli.options import not_negative


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'make-bag', help='render the camera bag of the demo',
        description='Render a bag of a moving camera over tables, with its truth.')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of the bag')
    parser.add_argument('--seed', type=not_negative, default=0,
                        help='of the scenes (default: %(default)s)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Render the bag.

    Raises:
        SamtokError: nothing can be rendered here.
    """
    from samtok_ros.demo.make_bag import make_bag

    make_bag(arguments.out, seed=arguments.seed)
