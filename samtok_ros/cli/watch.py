# SPDX-License-Identifier: Apache-2.0
"""`samtok watch`: prints what running nodes find, as it comes, and what is wrong with them."""

import argparse
from contextlib import suppress
from pathlib import Path

from samtok_ros.cli.files import check_folder, save_mask
from samtok_ros.cli.options import positive
from samtok_ros.cli.ros import add_namespace, load_ros_part, note


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'watch', help='show what running nodes find, and what is wrong with them',
        description='Print a line for each complete answer, for each image in which its regions '
        'were followed, and for each target in 3D: age of the image, where the line comes from '
        '(answered, tracked, lifted), status, and the target: label, score, box, area, or centre '
        'and size. Another line when the worst level in diagnostics changes. Ctrl-C ends it.')
    add_namespace(parser)
    parser.add_argument('--count', type=positive, default=0, metavar='N',
                        help='end after N lines about answers and targets (default: go on)')
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='write the mask of each target (PNG of 0 and 255) there, and its '
                        'picture where the nodes draw one, which they do not of an answer that '
                        'comes behind newer images; named after the stamp in nanoseconds')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Print lines until the end.

    Raises:
        SamtokError: ROS is not here, the namespace is wrong, or the folder is a file.
    """
    out = arguments.out
    if out is not None:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
    part = load_ros_part('watch')
    with suppress(KeyboardInterrupt):
        for seen in part.watch(arguments.namespace, arguments.count, note,
                               with_files=out is not None):
            if seen.line:
                print(seen.line, flush=True)
            if seen.mask is not None:
                save_mask(out / f'{seen.stamp_ns}-mask.png', seen.mask)
            if seen.jpeg is not None:
                (out / f'{seen.stamp_ns}-overlay.jpg').write_bytes(seen.jpeg)
