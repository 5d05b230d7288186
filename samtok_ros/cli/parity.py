# SPDX-License-Identifier: Apache-2.0
"""`samtok parity`: compares the mask tokenizer with recorded outputs of the published code."""

import argparse
import dataclasses
from pathlib import Path

from samtok_ros.cli.files import check_report_path, write_report


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'parity', help='compare with recorded outputs of the published mask tokenizer',
        description='Rebuild the network with synthetic weights that follow from the names of '
        'its tensors, and print the largest differences from recorded outputs as JSON. '
        'These were recorded in float32 on a CPU: on another device or in another number format '
        'the command measures what that changes, with weights that exaggerate it.')
    parser.add_argument('vectors', type=Path, metavar='VECTORS.npz', help='recorded outputs')
    parser.add_argument('--inventory', type=Path, required=True, metavar='KEYS.json',
                        help='names and shapes of all tensors, in state-dict order')
    parser.add_argument('--device', default='cpu', help='torch device (default: %(default)s)')
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16', 'float16'),
                        help='number format of the heavy parts (default: %(default)s)')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the JSON there too')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare; return 1 when float32 on a CPU does not give the masks of the published code.

    Raises:
        SamtokError: the files cannot be used.
    """
    from samtok_ros.evaluation.parity import load_and_run

    check_report_path(arguments.out)
    report = load_and_run(arguments.vectors, arguments.inventory, arguments.device,
                          arguments.dtype)
    print(report.to_json())
    write_report(arguments.out, dataclasses.asdict(report))
    as_recorded = (arguments.device, arguments.dtype) == ('cpu', 'float32')
    agrees = report.codes_equal and report.masks_within_rounding
    return 1 if as_recorded and not agrees else 0
