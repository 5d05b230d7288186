# SPDX-License-Identifier: Apache-2.0
"""`samtok build-engines`: builds TensorRT engines of an export, on the machine that runs them."""

import argparse

from samtok_ros.onnx.manifest import DTYPES


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'build-engines', help='build TensorRT engines of exported files, on the robot',
        description='Build the TensorRT engines of an export for the GPU of this machine, run '
        'them, and compare them with what torch computed when the files were exported. Takes '
        'minutes, once per GPU, TensorRT and ONNX Runtime; a node never builds. Engines that '
        'compute something else are removed. Needs an onnxruntime with TensorRT; no torch.')
    parser.add_argument('model', metavar='DIR',
                        help='folder that samtok export has written, or the model that it wrote '
                        'into')
    parser.add_argument('--dtype', default='auto', choices=('auto', *DTYPES),
                        help='which of several exports of a model; auto is float16, bfloat16, '
                        'float32, the first that is there')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Build and compare.

    Raises:
        SamtokError: nothing was exported, there is no TensorRT, or the engines are wrong.
    """
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.onnx.build import build_engines
    from samtok_ros.onnx.load import find_export

    export_dir = find_export(resolve_model(arguments.model), arguments.dtype, 'cuda')
    built = build_engines(export_dir, print)
    print(f'{built.folder}: {len(built.files)} engines, {built.parity.whole_codes_equal:.0%} of '
          f'codes equal, mean IoU of masks {built.parity.whole_mask_iou:.4f}')
    print(f'to use them: model.name: {arguments.model}, model.backend: onnx, '
          'model.provider: tensorrt')
