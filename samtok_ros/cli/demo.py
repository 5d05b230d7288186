# SPDX-License-Identifier: Apache-2.0
"""`samtok demo`: replays the camera bag through the nodes and scores what they find."""

import argparse
from pathlib import Path


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'demo', help='replay a camera bag through the nodes',
        description='Replay the camera bag that ships with the package through the real nodes; '
        'write pictures, a bag of results and a scored report.')
    parser.add_argument('--out', type=Path, default=Path('out/demo'), metavar='DIR',
                        help='folder for the results (default: %(default)s)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Run the demo.

    Raises:
        SamtokError: the bag, the model or ROS 2 is missing.
    """
    from samtok_ros.demo.run_demo import run_demo

    run_demo(arguments.out)
