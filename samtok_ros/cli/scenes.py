# SPDX-License-Identifier: Apache-2.0
"""Options of benchmarks on rendered tables, and the scenes that they ask for."""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from samtok_ros.cli.options import not_negative, positive

if TYPE_CHECKING:
    from samtok_ros.evaluation.heldout_scenes import EvaluationScene


def add_scene_options(parser: argparse.ArgumentParser, count: int) -> None:
    """Add --out, --scenes, --seed and --cache.

    Args:
        parser: of the benchmark.
        count: default number of scenes.
    """
    parser.add_argument('--out', type=Path, metavar='FILE', help='write all figures as JSON')
    parser.add_argument('--scenes', type=positive, default=count,
                        help='number of scenes (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative,
                        help='base seed of the scenes; another one draws other scenes')
    parser.add_argument('--cache', type=Path, metavar='DIR',
                        help='keep rendered scenes there (1.2 MB each) and read them from there')


def chosen_scenes(arguments: argparse.Namespace) -> tuple[int, Iterable['EvaluationScene']]:
    """Return the seed and the scenes, which show their progress.

    Raises:
        DeviceError, ImageError: with the first scene: it must be rendered, and MuJoCo or OpenGL is
            missing.
    """
    from tqdm import tqdm

    from samtok_ros.evaluation.heldout_scenes import BASE_SEED, heldout_scenes

    seed = BASE_SEED if arguments.seed is None else arguments.seed
    return seed, tqdm(heldout_scenes(arguments.scenes, seed, arguments.cache), unit='scene',
                      total=arguments.scenes)
