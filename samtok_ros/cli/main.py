# SPDX-License-Identifier: Apache-2.0
"""Entry of the `samtok` command: finds the subcommand, turns errors into one line."""

import argparse
import os
import sys
from collections.abc import Sequence

from samtok_ros.cli import (
    ask,
    bench,
    build_engines,
    convert,
    decode,
    demo,
    doctor,
    encode,
    evaluate,
    export,
    extend_vocab,
    fetch,
    goal,
    ground,
    make_bag,
    parity,
    policy,
    train,
    up,
    watch,
)
from samtok_ros.errors import SamtokError

COMMANDS = (ground, ask, encode, decode, fetch, doctor, convert, export,
            build_engines, train, evaluate, parity, bench, make_bag,
            demo, up, goal, watch, policy, extend_vocab)
_FAILED, _INTERRUPTED = 2, 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command; importing models is left to the subcommands."""
    parser = argparse.ArgumentParser(
        prog='samtok', description='Masks as words: ground, ask, encode, decode, train, measure.')
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: arguments without the program's name; those of the process when left out.
    Returns:
        Exit status: 0 done, 2 an error that was reported in one line, 130 interrupted, or what
        the subcommand returned.
    """
    _print_anything()
    arguments = build_parser().parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print('samtok: interrupted', file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SamtokError, OSError) as error:
        print(f'samtok: error: {" ".join(_told(error).split())}', file=sys.stderr)
        return _FAILED
    return status or 0


def _told(error: SamtokError | OSError) -> str:
    """Return what is told of an error; the system's own ones have no way out in them."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return (f'{os.fspath(error.filename)} cannot be used: got {error.strerror}. Name another '
                'place, or make room or permission there.')
    return str(error)


def _print_anything() -> None:
    """Escape what a terminal's encoding lacks, such as a letter of a path, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, 'errors', None) == 'strict' and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
