# SPDX-License-Identifier: Apache-2.0
"""`samtok eval`: measures a model; one file per benchmark."""

from samtok_ros.cli import (
    eval_comparison,
    eval_datasets,
    eval_lifting,
    eval_precision,
    eval_tabletop,
    eval_tracking,
)

_BENCHMARKS = (eval_tabletop, eval_comparison, eval_precision, eval_lifting, eval_tracking,
               eval_datasets)


def add_parser(commands) -> None:
    """Add the subcommand with its benchmarks; importing models is left to them."""
    parser = commands.add_parser('eval', help='measure a model')
    benchmarks = parser.add_subparsers(dest='benchmark', required=True, metavar='BENCHMARK')
    for benchmark in _BENCHMARKS:
        benchmark.add_parser(benchmarks)
