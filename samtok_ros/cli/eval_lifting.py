# SPDX-License-Identifier: Apache-2.0
"""`samtok eval lifting`: how well masks become points and boxes."""

import argparse
from pathlib import Path

from samtok_ros.cli.files import check_report_path, write_report
from samtok_ros.cli.options import finite, not_negative, positive


def add_parser(benchmarks) -> None:
    """Add the benchmark."""
    parser = benchmarks.add_parser(
        'lifting', help='masks to points and boxes, on rendered tables with exact geometry',
        description='Lift the true masks of rendered things that stand free, 0.5 to 1.2 m away, '
        'with the depth of a stereo camera: noise, steps, mixed edges, holes. Then again with '
        'depth of a wrong scale and with shifted depth, which should be noticed. Needs MuJoCo and '
        'OpenGL to render; no model.')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write all figures as JSON')
    parser.add_argument('--scenes', type=positive, default=200,
                        help='number of scenes (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative, default=4000,
                        help='base seed of the scenes (default: %(default)s)')
    parser.add_argument('--noise-mm', type=_noise_mm, default=1.5,
                        help='noise of the depth camera at 1 m; it grows with the square of the '
                        'distance (default: %(default)s)')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print a table, write the figures.

    Raises:
        SamtokError: the renderer is missing, or the file cannot be written.
    """
    from tqdm import tqdm

    from samtok_ros.evaluation.depth_sensor import DepthSensor
    from samtok_ros.evaluation.lifting import figures, measure, table
    from samtok_ros.evaluation.lifting_scenes import lifting_scenes

    check_report_path(arguments.out)
    scenes = tqdm(lifting_scenes(arguments.scenes, arguments.seed), unit='scene',
                  total=arguments.scenes)
    samples = list(measure(scenes, DepthSensor(noise_m=arguments.noise_mm / 1000)))
    print(table(samples))
    print(f'{arguments.scenes} scenes, seed {arguments.seed}, noise {arguments.noise_mm:g} mm at '
          '1 m')
    write_report(arguments.out, figures(samples))


def _noise_mm(text: str) -> float:
    number = finite(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f'{text} is below 0')
    return number
