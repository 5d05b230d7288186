# SPDX-License-Identifier: Apache-2.0
"""`samtok demo`: replays the camera bag through the nodes and scores what they find."""

import argparse
from pathlib import Path

from samtok_ros.cli.options import add_model_options


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'demo', help='replay a camera bag through the nodes',
        description='Replay the camera bag that ships with the package through the real nodes; '
        'write pictures, a bag of results and a scored report. The table says, per goal, the IoU '
        'of the masks of its first answer, how long that took, how far the box in 3D is off, and '
        'the worst error of its lengths.')
    parser.add_argument('--out', type=Path, default=Path('out/demo'), metavar='DIR',
                        help='folder for the results (default: %(default)s)')
    parser.add_argument('--bag', type=Path, metavar='DIR',
                        help='folder that `samtok make-bag` has made, instead of the shipped bag')
    add_model_options(parser)
    parser.add_argument('--backend', default='torch', choices=('torch', 'onnx', 'fake'),
                        help='onnx runs the mask tokenizer by ONNX Runtime, after samtok export; '
                        'fake makes up words, to try everything around the model')
    parser.add_argument('--every-frame', action='store_true',
                        help='process every image in order, which gives the same words each time, '
                        'instead of the newest one')
    parser.add_argument('--rate', type=_rate, default=1.0,
                        help='speed of the bag; 1 is real time (default: %(default)s)')
    parser.set_defaults(run=run)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0.01 <= rate <= 100:
        raise argparse.ArgumentTypeError(f'{text} is not between 0.01 and 100')
    return rate


def run(arguments: argparse.Namespace) -> None:
    """Run the demo, print a table and where to look.

    Raises:
        SamtokError: the bag, the model or ROS 2 is missing, or a node did not work.
    """
    import logging

    from samtok_ros.demo.report import OVERLAYS_DIR, REPORT_FILE, SHEET_FILE
    from samtok_ros.demo.run_demo import RESULT_BAG, DemoSettings, run_demo
    from samtok_ros.demo.score_table import table

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    score = run_demo(DemoSettings(
        arguments.out, arguments.bag, arguments.model, arguments.backend, arguments.device,
        arguments.dtype, arguments.every_frame, arguments.rate))
    print(table(score))
    out = arguments.out
    print(f'look at {out / SHEET_FILE}, {out / OVERLAYS_DIR}/, {out / REPORT_FILE}; '
          f'the bag of results is {out / RESULT_BAG}/')
