# SPDX-License-Identifier: Apache-2.0
"""`samtok eval tracking`: how well things are followed between two answers."""

import argparse
from pathlib import Path

from samtok_ros.cli.files import check_report_path, write_report
from samtok_ros.cli.models import device_and_dtype
from samtok_ros.cli.options import add_model_options, not_negative, positive


def add_parser(benchmarks) -> None:
    """Add the benchmark."""
    parser = benchmarks.add_parser(
        'tracking', help='things followed between two answers',
        description='Follow things in rendered sequences in which the camera moves, the thing is '
        'pushed, hidden by another one, or taken away and put back: IoU against the age of the '
        'answer for each policy, things said to be there that are not and the other way round, '
        'and how often their number changes. Answers are true masks and, without --truth-only, '
        'those of the model. Needs MuJoCo and OpenGL to render.')
    add_model_options(parser)
    parser.add_argument('--sequences', type=positive, default=40,
                        help='number of sequences of 3 seconds (default: %(default)s)')
    parser.add_argument('--seed', type=not_negative, default=0, help='other seeds, other tables')
    parser.add_argument('--memory', action='store_true',
                        help="also SAM 2's own memory, for models that have it")
    parser.add_argument('--truth-only', action='store_true',
                        help='leave the answers of the model out')
    parser.add_argument('--out', type=Path, metavar='FILE.json',
                        help='write all figures there, and a plot beside it as FILE.png')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the tables, write report and plot.

    Raises:
        SamtokError: the model or the renderer is missing or damaged, the model has no memory, or
            the file cannot be written.
    """
    import time

    from tqdm import tqdm

    from samtok_ros.evaluation.report import versions
    from samtok_ros.evaluation.tracking import POLICIES, measure_tracking
    from samtok_ros.evaluation.tracking_report import draw_plot, figures, table
    from samtok_ros.evaluation.tracking_scenes import sequences
    from samtok_ros.pipeline import Pipeline
    from samtok_ros.runtime.torch_backend import TorchBackend
    from samtok_ros.settings.shared import ModelSettings

    check_report_path(arguments.out)
    started_s = time.monotonic()
    device, dtype = device_and_dtype(arguments)
    settings = ModelSettings(name=str(arguments.model), device=device, dtype=dtype)
    loaded = TorchBackend(settings).load_masks(video_memory=arguments.memory)
    pipeline = None if arguments.truth_only else Pipeline.load(arguments.model, device, dtype)
    found = tqdm(sequences(arguments.sequences, arguments.seed), unit='sequence',
                 total=arguments.sequences)
    policies = (*POLICIES, 'memory') if arguments.memory else POLICIES
    samples = measure_tracking(loaded, found, pipeline, policies)
    title = (f'{arguments.sequences} sequences, seed {arguments.seed}, '
             f'{loaded.model.tokenizer_id}, {dtype} on {device}')
    seconds = time.monotonic() - started_s
    print(table(samples))
    print(f'{title}, {seconds:.0f} s')
    if arguments.out is not None:
        report = {**figures(samples), 'sequences': arguments.sequences, 'seed': arguments.seed,
                  'mask_tokenizer': loaded.model.tokenizer_id, 'device': device, 'dtype': dtype,
                  'seconds': round(seconds, 1), 'versions': versions()}
        write_report(arguments.out, report)
        draw_plot(samples, title, arguments.out.with_suffix('.png'))
