# SPDX-License-Identifier: Apache-2.0
"""`samtok convert`: a model with its mask tokenizer as safetensors, or as published."""

import argparse
from pathlib import Path


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'convert', help='write a model with its mask tokenizer as safetensors, or as published',
        description='Write a copy of a model whose mask tokenizer is a safetensors file (--to '
        'samtok) or the pickled file of the published models (--to published). Every tensor is '
        'checked and kept bit for bit, video memory included, so that there is a way back. Other '
        'files are copied, large weights linked where the file system can do that.')
    parser.add_argument('model', metavar='MODEL',
                        help="a directory, 'tabletop', or OWNER/NAME from the hub cache")
    parser.add_argument('out', type=Path, metavar='OUT', help='the new folder')
    parser.add_argument('--to', choices=('samtok', 'published'), default='samtok',
                        help='layout (default: %(default)s)')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16', 'float16'),
                        help='store weights in this number format, which is no longer bit for bit; '
                        'codebooks stay as they are')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Convert, and say what was written.

    Raises:
        SamtokError: the model is not there or is damaged, or there is something at OUT.
    """
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.tokenizer.conversion import convert_model
    from samtok_ros.tokenizer.mask_tokenizer import DTYPES

    dtype = DTYPES[arguments.dtype] if arguments.dtype else None
    done = convert_model(resolve_model(arguments.model), arguments.out.resolve(), arguments.to,
                         dtype)
    print(f'{done.weights}: {done.tensors} tensors, {done.video_tensors} of them video memory, '
          f'{done.weights.stat().st_size / 1e6:.1f} MB')
    if not done.video_tensors and arguments.to == 'published':
        print('without video memory, which the published code insists on; this package does not')
    print(f'{len(done.copied)} other files copied, {len(done.linked)} linked')
