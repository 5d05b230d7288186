# SPDX-License-Identifier: Apache-2.0
"""`samtok export`: writes the mask tokenizer as ONNX files for the backend without torch."""

import argparse
from pathlib import Path

from samtok_ros.onnx.manifest import DTYPES

_NEEDED = ('onnx', 'onnxscript')


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'export', help='write the mask tokenizer as ONNX files',
        description='Write image encoder, mask encoder, mask decoder and prompt decoder as ONNX '
        'files, with a manifest, for model.backend: onnx. The files are run and compared with '
        'torch first; when they differ nothing is written. The language model is not exported.')
    parser.add_argument('model', metavar='MODEL',
                        help="'tabletop', a directory, or OWNER/NAME from the hub cache")
    parser.add_argument('--out', type=Path, metavar='DIR',
                        help='folder for the files (default: onnx/DTYPE in the model directory, '
                        'where model.backend: onnx looks for it)')
    parser.add_argument('--dtype', default='float32', choices=DTYPES,
                        help="of the image encoder's matrix products; everything else is float32 "
                        'in every set (default: %(default)s)')
    parser.add_argument('--device', default='cpu', choices=('cpu', 'cuda'),
                        help='where the files are run to be compared (default: %(default)s)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Export, and print what was written and how close it is to torch.

    Raises:
        SamtokError: the model is not there, the device cannot be used, or the files are wrong.
    """
    import logging
    from importlib.util import find_spec

    from samtok_ros.errors import ConfigError
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.onnx.load import EXPORTS_DIR
    from samtok_ros.onnx.sessions import Engine

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError('samtok export needs packages that are not installed',
                          got=f'no {" and no ".join(missing)}',
                          fix=f'run pip install {" ".join(missing)}')
    from samtok_ros.export.exporting import export_model

    logging.basicConfig(format='%(message)s')
    logging.getLogger('samtok_ros').setLevel(logging.INFO)
    model_dir = resolve_model(arguments.model)
    out = arguments.out or model_dir / EXPORTS_DIR / arguments.dtype
    try:
        manifest = export_model(model_dir, out, arguments.dtype, Engine(arguments.device))
    except OSError as error:
        raise ConfigError(f'{out} cannot be written', got=error.strerror,
                          fix='name another folder with --out') from error
    for graph in manifest.graphs.values():
        print(f'{out / graph.file}  {(out / graph.file).stat().st_size / 1e6:.1f} MB')
    parity = manifest.parity
    print(f'{manifest.tokenizer_id}, {manifest.dtype}, against torch in float32: '
          f'{parity["whole_codes_equal"]:.0%} of codes equal, mean IoU of masks '
          f'{parity["whole_mask_iou"]:.4f}')
    print(f'to use it: model.name: {arguments.out or arguments.model}, model.backend: onnx')
