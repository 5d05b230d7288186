# SPDX-License-Identifier: Apache-2.0
"""`samtok fetch`: brings a published model onto this machine, or checks the one that is here."""

import argparse
from pathlib import Path

from samtok_ros.errors import ConfigError


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'fetch', help='bring a published model onto this machine, or check it',
        description='Fetch the files of a SAMTok model that are needed, and no others, into the '
        'hub cache. Then --model OWNER/NAME, and model:=OWNER/NAME of the nodes, mean that '
        'commit until another revision is fetched; nothing else ever downloads. A transfer that '
        'broke off goes on where it stopped when the command is run again. The environment '
        'variables of the hub client hold: HF_HOME (where the cache is), HF_TOKEN, HF_ENDPOINT, '
        'HTTPS_PROXY.')
    parser.add_argument('model', metavar='OWNER/NAME',
                        help='name of the model; with --verify also a folder')
    parser.add_argument('--revision', metavar='REV',
                        help='branch, tag or commit (default: the one that is pinned here, or '
                        'main)')
    parser.add_argument('--folder', type=Path, metavar='DIR',
                        help='fetch into a plain folder instead, to carry to another machine; '
                        'there, its path is the name of the model')
    only = parser.add_mutually_exclusive_group()
    only.add_argument('--verify', action='store_true',
                      help='only compare all files with the hashes that were recorded; needs no '
                      'network')
    only.add_argument('--dry-run', action='store_true', help='only list what would be fetched')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch, list or verify; return 1 when a file is not what it should be.

    Raises:
        SamtokError: names what is in the way, and the way out.
    """
    from samtok_ros.hub.client import Hub
    from samtok_ros.hub.fetch import FetchRequest, fetch

    if arguments.verify:
        return _verify(arguments)
    if arguments.model.count('/') != 1 or Path(arguments.model).is_absolute():
        raise ConfigError('no name of a published model', expected='OWNER/NAME',
                          got=repr(arguments.model), fix="'tabletop' ships with the package, and "
                          'a folder is used by its path')
    try:
        folder = arguments.folder.expanduser() if arguments.folder else None
    except RuntimeError as error:
        raise ConfigError('no such home folder', got=f'--folder {arguments.folder}',
                          fix='check the name after ~') from error
    request = FetchRequest(arguments.model, arguments.revision, folder)
    if arguments.dry_run:
        return _list(request, Hub())
    print(fetch(request, Hub(), print))
    return 0


def _list(request, hub) -> int:
    """Print what would be fetched."""
    from samtok_ros.hub.amounts import amount
    from samtok_ros.hub.fetch import DEFAULT_REVISION, look

    listing, files = look(request, hub, request.revision or DEFAULT_REVISION)
    for file in files:
        print(f'{amount(file.size):>10}  {file.name}')
    print(f'{amount(sum(file.size for file in files)):>10}  in all; {listing.repo} at '
          f'{listing.commit}')
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    """Compare with the recorded hashes, and print every difference."""
    from samtok_ros.hub.amounts import amount
    from samtok_ros.hub.fetch import verify
    from samtok_ros.model_directory import resolve_model

    if arguments.revision:
        raise ConfigError('--verify checks what is here, at its recorded commit',
                          got=f'--revision {arguments.revision}', fix='leave --revision out')
    model_dir = resolve_model(str(arguments.folder or arguments.model))
    manifest, damage = verify(model_dir)
    for clause in damage:
        print(clause)
    size = sum(record.size for record in manifest.files.values())
    print(f'{manifest.repo} at {manifest.commit}: {len(manifest.files)} files, {amount(size)}, '
          + (f'{len(damage)} damaged' if damage else 'all whole'))
    return 1 if damage else 0
