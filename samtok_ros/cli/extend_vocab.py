# SPDX-License-Identifier: Apache-2.0
"""`samtok extend-vocab`: adds the mask words to a base model."""

import argparse
from pathlib import Path


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'extend-vocab', help='add the mask words to a base model, to train it',
        description='Copy a base model (Qwen3-VL, Qwen2.5-VL or PerceptionLM) and add the 514 mask '
        'words: ordinary tokens behind all others, with rows near the mean of the base vocabulary. '
        'What comes out knows the words but not yet what they mean.')
    parser.add_argument('base', metavar='BASE', help='a folder, or OWNER/NAME from the hub cache')
    parser.add_argument('out', type=Path, metavar='OUT', help='the new folder')
    parser.add_argument('--seed', type=int, default=0, metavar='N',
                        help='of the random part of the new rows (default: %(default)s)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the new model.

    Raises:
        SamtokError: names what is wrong with the base model, or with the folder.
    """
    from samtok_ros.language.vocabulary_extension import extend_vocabulary
    from samtok_ros.model_directory import resolve_model

    done = extend_vocabulary(resolve_model(arguments.base), arguments.out, arguments.seed)
    ids = done.token_ids
    print(f'{arguments.out}: {ids.end_id - ids.start_id + 1} words with ids {ids.start_id} to '
          f'{ids.end_id}')
    for table in done.tables:
        print(f'{table}: {done.old_rows} -> {done.new_rows} rows, '
              f'{str(done.dtype).removeprefix("torch.")}')
