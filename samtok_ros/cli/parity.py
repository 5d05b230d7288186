# SPDX-License-Identifier: Apache-2.0
"""`samtok parity`: compares the mask tokenizer with recorded outputs of the published code."""

import argparse
from pathlib import Path

from samtok_ros.cli.files import check_folder_of


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'parity', help='compare with recorded outputs of the published mask tokenizer',
        description='Rebuild the network with synthetic weights that follow from the names of '
        'its tensors, and print the largest differences from recorded outputs as JSON. '
        'In float32 on the CPU.')
    parser.add_argument('vectors', type=Path, metavar='VECTORS.npz', help='recorded outputs')
    parser.add_argument('--inventory', type=Path, required=True, metavar='KEYS.json',
                        help='names and shapes of all tensors, in state-dict order')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the JSON there too')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare; return 1 when the masks are not those of the published code.

    Raises:
        SamtokError: the files cannot be used.
    """
    from samtok_ros.evaluation.parity import load_and_run

    if arguments.out is not None:
        check_folder_of(arguments.out)
    report = load_and_run(arguments.vectors, arguments.inventory)
    if arguments.out is not None:
        arguments.out.write_text(report.to_json() + '\n', encoding='utf-8')
    print(report.to_json())
    return 0 if report.codes_equal and report.masks_within_rounding else 1
