# SPDX-License-Identifier: Apache-2.0
"""`samtok bench`: how fast this package is against the published pipeline, on this machine."""

import argparse
import re
from pathlib import Path

from samtok_ros.cli.files import check_report_path, write_report
from samtok_ros.cli.options import not_negative, positive

_SIZE = re.compile(r'([1-9][0-9]{1,4})x([1-9][0-9]{1,4})')


def add_parser(commands) -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        'bench', help='time this package against the published pipeline',
        description='Time the published pipeline (A: image repeated per mask, eager generate, '
        'masks finished on the host), the same with the image encoded once (A2), and this package '
        '(B): same weights, same process, in turns, and only as long as all find the same. Cold is '
        'an image that was not seen before, hot one whose features are kept. Exit status 1 when '
        'two sides disagree, which voids the figures.')
    parser.add_argument('subject', nargs='?', default='models', choices=('models', 'transport'),
                        help='models (default), or transport: what an image costs on its way '
                        'through ROS messages; of the options only --out counts there')
    parser.add_argument('--size', default='tabletop', choices=('tabletop', 'hiera-l'),
                        help='the embedded model, or the published size with synthetic weights')
    parser.add_argument('--language', default='auto', choices=('auto', 'none', 'random-4b'),
                        help='vision-language model: auto is the embedded one for tabletop, and '
                        'Qwen3-VL-4B with random weights for hiera-l on a GPU')
    parser.add_argument('--export', type=Path, metavar='DIR',
                        help='directory that samtok export wrote: on our side it runs the mask '
                        'tokenizer on ONNX Runtime instead of torch')
    parser.add_argument('--device', default='auto',
                        help='torch device; auto takes a GPU where there is one (default: auto)')
    parser.add_argument('--dtype', default='auto', choices=('auto', 'float32', 'bfloat16'),
                        help='number format; auto is bfloat16 on a GPU, else float32; random-4b is '
                        'in bfloat16 always, and an export in the format of its files')
    parser.add_argument('--cuda-graphs', action='store_true',
                        help='our side records its image encoder and its steps as CUDA graphs')
    parser.add_argument('--masks', type=_numbers, default=(1, 5, 20), metavar='N,N,...',
                        help='numbers of masks (default: 1,5,20)')
    parser.add_argument('--images', type=_sizes, default=((480, 640), (720, 1280)),
                        metavar='WxH,...', help='sizes of images (default: 640x480,1280x720)')
    parser.add_argument('--warm-ups', type=not_negative, metavar='N',
                        help='repetitions that are not counted (default: 1, on a GPU 10)')
    parser.add_argument('--repeats', type=positive, metavar='N',
                        help='repetitions that count (default: 5, on a GPU 50)')
    parser.add_argument('--sustained', type=float, default=0.0, metavar='SECONDS',
                        help='also draw 5 masks on every image of a camera for so long')
    parser.add_argument('--rate', type=float, default=60.0, metavar='HZ',
                        help='images per second of that camera (default: %(default)s)')
    parser.add_argument('--out', type=Path, metavar='FILE.json',
                        help='write all figures there, and a plot beside it as FILE.png')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table, write report and plot; return 1 when a figure does not count.

    Raises:
        SamtokError: a model, the device or the output folder is missing.
    """
    import torch

    from samtok_ros.benchmark.plot import draw_plot
    from samtok_ros.benchmark.report import report, table
    from samtok_ros.benchmark.run import Plan, machine_facts, run_plan
    from samtok_ros.benchmark.subjects import load_subject
    from samtok_ros.cli.models import device_and_dtype
    from samtok_ros.recording import cuda_recorder

    check_report_path(arguments.out)
    if arguments.subject == 'transport':
        return _run_transport(arguments.out)
    device, dtype = device_and_dtype(arguments)
    defaults = (1, 5) if device == 'cpu' else (10, 50)
    warm_ups = defaults[0] if arguments.warm_ups is None else arguments.warm_ups
    plan = Plan(arguments.masks, arguments.images, warm_ups, arguments.repeats or defaults[1],
                arguments.sustained, arguments.rate)
    recorder = cuda_recorder(torch.device(device)) if arguments.cuda_graphs else None
    subject = load_subject(arguments.size, arguments.language, device, dtype, arguments.export,
                           recorder)
    results = run_plan(subject, plan, print)
    facts = machine_facts(device)
    print(table(results))
    graphs = ' with CUDA graphs' if arguments.cuda_graphs else ''
    title = (f'{subject.masks_name} in {subject.dtype}, ours by {type(subject.masks).__name__}'
             f'{graphs}, on {facts.get("gpu", facts["processor"])}')
    print(f'{title}, {facts["threads"]} threads, {facts["date"]}')
    if arguments.out is not None:
        write_report(arguments.out, report(results, subject, plan, facts))
        draw_plot(results.rows, title, arguments.out.with_suffix('.png'))
    return 1 if results.void else 0


def _run_transport(out: Path | None) -> int:
    from samtok_ros.benchmark.transport import run_transport_bench, transport_table

    rows = run_transport_bench()
    print(transport_table(rows))
    write_report(out, rows)
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    """Read numbers of masks."""
    return tuple(positive(part) for part in text.split(','))


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    """Read sizes of images as (height, width)."""
    found = [_SIZE.fullmatch(part) for part in text.split(',')]
    if not all(found):
        raise argparse.ArgumentTypeError(f'{text} is no list of sizes such as 640x480')
    return tuple((int(size[2]), int(size[1])) for size in found)
