# SPDX-License-Identifier: Apache-2.0
"""`samtok make-bag`: renders the camera bag of the demo."""

import argparse
from pathlib import Path

from samtok_ros.cli.options import not_negative, positive


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'make-bag', help='render the camera bag of the demo',
        description='Render a bag of a moving camera over tables, with its truth and goals. '
        'Needs MuJoCo and OpenGL.')
    parser.add_argument('--out', type=Path, default=Path('out/bag'), metavar='DIR',
                        help='folder for the bag, its truth and its goals (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative, default=0,
                        help='0 is the bag that ships; others show other scenes '
                        '(default: %(default)s)')
    parser.add_argument('--scenes', type=positive, default=4,
                        help='1 to 4 (default: %(default)s)')
    parser.add_argument('--frames', type=positive, default=25,
                        help='images of each scene, at 10 Hz (default: %(default)s)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Render the bag.

    Raises:
        SamtokError: nothing can be rendered here, or there is a bag already.
    """
    import logging

    from samtok_ros.demo.make_bag import BagPlan, make_bag

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    make_bag(arguments.out, BagPlan(arguments.seed, arguments.scenes, arguments.frames))
    print(f'play it with: samtok demo --bag {arguments.out}')
