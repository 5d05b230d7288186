# SPDX-License-Identifier: Apache-2.0
"""`samtok train`: makes the embedded model: scenes, mask tokenizer, language model, GRPO."""

import argparse
import logging
from pathlib import Path

from samtok_ros.cli.options import hours, not_negative, positive

_EPILOG = ('Every step goes on where it stopped when the same command is run again. Curves are in '
           'curves.jsonl of the run folder.')


_FAMILIES = ('single', 'several', 'none', 'unknown', 'region', 'caption', 'relation', 'choice',
             'relative', 'categories', 'grounded caption', 'scene graph')


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser('train', help='make a model from nothing', epilog=_EPILOG,
                                 description='Make a model like the embedded one, step by step.')
    steps = parser.add_subparsers(dest='step', required=True, metavar='STEP')
    _add_scenes(steps)
    _add_tokenizer(steps)
    _add_vlm(steps)
    _add_grpo(steps)


def _add_scenes(steps) -> None:
    parser = steps.add_parser('scenes', help='render scenes', epilog=_EPILOG,
                              description='Render scenes into a folder. Needs MuJoCo and OpenGL.')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    parser.add_argument('--count', type=positive, default=20000,
                        help='scenes that the folder shall hold (default: %(default)s)')
    parser.add_argument('--split', choices=('train', 'heldout'), default='train',
                        help='which shapes and proportions are used (default: train)')
    parser.add_argument('--processes', type=positive, default=1,
                        help='one per core is best (default: %(default)s)')
    _add_seed(parser)
    parser.set_defaults(run=run_scenes)


def _add_tokenizer(steps) -> None:
    parser = steps.add_parser('tokenizer', help='train the mask tokenizer', epilog=_EPILOG,
                              description='Train the mask tokenizer; the result is in RUN/model.')
    _add_run_options(parser, hours_default=1.0)
    parser.add_argument('--validation', type=Path, metavar='DIR',
                        help='scenes to draw the validation curve from')
    parser.add_argument('--images', type=positive, default=8,
                        help='per step (default: %(default)s)')
    parser.set_defaults(run=run_tokenizer)


def _add_vlm(steps) -> None:
    parser = steps.add_parser(
        'vlm', help='train the vision-language model', epilog=_EPILOG,
        description='Pretrain the vision tower, then fine-tune the whole model on questions; the '
        'result, mask tokenizer included, is in RUN/out.')
    _add_run_options(parser, hours_default=2.0)
    parser.add_argument('--tokenizer', type=Path, required=True, metavar='DIR',
                        help='finished mask tokenizer, RUN/model of `samtok train tokenizer`')
    parser.add_argument('--validation', type=Path, metavar='DIR',
                        help='scenes to draw the validation curve from')
    parser.add_argument('--processes', type=positive, default=1,
                        help='of the fine-tuning: one per core on a CPU, 1 on a GPU '
                        '(default: %(default)s)')
    parser.add_argument('--start', type=Path, metavar='DIR',
                        help='finished model of the same sizes to go on from, such as the embedded '
                        'one; without it the model is made from nothing')
    parser.set_defaults(run=run_vlm)


def _add_grpo(steps) -> None:
    parser = steps.add_parser(
        'grpo', help='improve a model by reinforcement learning', epilog=_EPILOG,
        description='Go on training the language part of a finished model by GRPO, with rewards '
        'for right masks, on the CPU; the result is in RUN/out. See docs/reinforcement.md.')
    _add_run_folders(parser)
    parser.add_argument('--model', default='tabletop',
                        help='finished model to start from (default: %(default)s)')
    parser.add_argument('--validation', type=Path, metavar='DIR',
                        help='scenes to draw the validation curve from')
    parser.add_argument('--reward', choices=('exact', 'graded', 'iou'), default='iou',
                        help='exact and graded compare mask words, as published; iou compares the '
                        'masks that they draw (default: %(default)s)')
    parser.add_argument('--families', nargs='+', choices=_FAMILIES, metavar='FAMILY',
                        help='what is asked, in equal shares; some of ' + ', '.join(_FAMILIES)
                        + ' (default: goals, most of them for single things)')
    parser.add_argument('--steps', type=positive, default=120,
                        help='of 8 prompts with 8 answers each; the learning rate falls to 0 until '
                        'the last one (default: %(default)s)')
    _add_seed(parser)
    parser.set_defaults(run=run_grpo)


def _add_run_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--scenes', type=Path, required=True, metavar='DIR',
                        help='training scenes, as `samtok train scenes` renders them')
    parser.add_argument('--run', dest='run_dir', type=Path, required=True, metavar='RUN',
                        help='folder for checkpoints, curves and the result')


def _add_run_options(parser: argparse.ArgumentParser, hours_default: float) -> None:
    _add_run_folders(parser)
    parser.add_argument('--hours', type=hours, default=hours_default,
                        help='how long, restarts included; the learning rate falls to 0 until then '
                        '(default: %(default)s)')
    parser.add_argument('--device', default='auto',
                        help='torch device; auto takes a GPU where there is one (default: auto)')
    _add_seed(parser)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--seed', type=not_negative, default=0, help='(default: %(default)s)')


def _log_to_terminal() -> None:
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s', datefmt='%H:%M:%S')


def run_scenes(arguments: argparse.Namespace) -> None:
    """Render what is missing.

    Raises:
        SamtokError: nothing can be rendered here, or the folder holds other scenes.
    """
    from samtok_ros.evaluation.heldout_scenes import check_renderer
    from samtok_ros.scenes.generate import generate_scenes

    _log_to_terminal()
    check_renderer()
    generate_scenes(arguments.out, arguments.count, arguments.split, arguments.seed,
                    arguments.processes)


def run_tokenizer(arguments: argparse.Namespace) -> None:
    """Train the mask tokenizer, or go on with it.

    Raises:
        SamtokError: there are no scenes, or the checkpoint or the device cannot be used.
    """
    from samtok_ros.runtime.torch_backend import choose_device
    from samtok_ros.scenes.store import SceneStore
    from samtok_ros.training.runs import Budget, RunDirectory
    from samtok_ros.training.train_tokenizer import TokenizerTrainingConfig, train_tokenizer

    _log_to_terminal()
    device = choose_device(arguments.device)
    validation = None if arguments.validation is None else SceneStore(arguments.validation)
    config = TokenizerTrainingConfig(images=arguments.images, seed=arguments.seed,
                                     autocast=device != 'cpu')
    out = train_tokenizer(
        SceneStore(arguments.scenes), validation, RunDirectory(arguments.run_dir),
        Budget(wall_s=3600 * arguments.hours), config, device)
    print(f'mask tokenizer in {out}')


def run_vlm(arguments: argparse.Namespace) -> None:
    """Train the vision-language model, or go on with it.

    Raises:
        SamtokError: scenes, mask tokenizer, a checkpoint or the device cannot be used.
    """
    from samtok_ros.runtime.torch_backend import choose_device
    from samtok_ros.training.vlm_stages import VlmInputs, recipe, train_all_stages

    _log_to_terminal()
    inputs = VlmInputs(arguments.scenes, arguments.tokenizer, arguments.run_dir,
                       arguments.validation, arguments.start)
    out = train_all_stages(inputs, recipe(arguments.hours, choose_device(arguments.device),
                                          arguments.processes, arguments.seed,
                                          arguments.start is not None))
    print(f'model in {out}')


def run_grpo(arguments: argparse.Namespace) -> None:
    """Improve a model by reinforcement learning, or go on with it.

    Raises:
        SamtokError: scenes, model or a checkpoint cannot be used, or the run has other settings.
    """
    from samtok_ros.model_directory import resolve_model
    from samtok_ros.reinforcement.grpo import (
        ReinforcementConfig,
        ReinforcementInputs,
        train_grpo,
    )
    from samtok_ros.reinforcement.prompts import GOALS
    from samtok_ros.scenes.store import SceneStore

    _log_to_terminal()
    mix = dict.fromkeys(arguments.families, 1.0) if arguments.families else dict(GOALS)
    validation = None if arguments.validation is None else SceneStore(arguments.validation)
    out = train_grpo(
        ReinforcementInputs(resolve_model(arguments.model), SceneStore(arguments.scenes),
                            arguments.run_dir, validation),
        ReinforcementConfig(reward=arguments.reward, mix=mix, steps=arguments.steps,
                            seed=arguments.seed))
    print(f'model in {out}')
