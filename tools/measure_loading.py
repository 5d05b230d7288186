# SPDX-License-Identifier: Apache-2.0
"""How much memory and time it takes to load a mask tokenizer: figures of docs/checkpoints.md.

    .venv/bin/python tools/measure_loading.py --make /tmp/hiera_large
    .venv/bin/python tools/measure_loading.py /tmp/hiera_large

The first line writes a synthetic mask tokenizer of the published size and layout, the second one
loads a model directory in this process and prints JSON. Linux only.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from samtok_ros.evaluation.synthetic_network import build_from_inventory, fill_synthetic_
from samtok_ros.tokenizer.checkpoint import PUBLISHED_FILE
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer

PARITY = Path(__file__).resolve().parents[1] / 'test' / 'data' / 'parity'
MB = 1e6


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('model_dir', type=Path, metavar='DIR')
    parser.add_argument('--make', action='store_true', help='write a synthetic model there')
    parser.add_argument('--video-memory', action='store_true', help='keep the video memory')
    arguments = parser.parse_args()
    if arguments.make:
        make_synthetic(arguments.model_dir)
    else:
        print(json.dumps(measure(arguments.model_dir, arguments.video_memory), indent=2))


def make_synthetic(model_dir: Path) -> None:
    """Write a published file whose every tensor follows from its name."""
    inventory = json.loads((PARITY / 'hiera_large_keys.json').read_text(encoding='utf-8'))
    network, _ = build_from_inventory(inventory)
    with np.load(PARITY / 'hiera_large.npz') as vectors:
        fill_synthetic_(network, inventory, vectors['weight_crc32'])
    model_dir.mkdir(parents=True, exist_ok=True)
    torch.save(dict(network.state_dict()), model_dir / PUBLISHED_FILE)


def measure(model_dir: Path, video_memory: bool) -> dict[str, float]:
    """Load, then use every weight once, so that all pages of the file are read."""
    before = peak_bytes(), status_bytes('RssAnon')
    start_s = time.perf_counter()
    tokenizer = MaskTokenizer.load(model_dir, video_memory=video_memory)
    load_s = time.perf_counter() - start_s
    tensors = list(tokenizer.network.state_dict().values())
    for tensor in tensors:
        tensor.sum()
    return {
        'weights_mb': round(sum(tensor.nbytes for tensor in tensors) / MB, 1),
        'peak_mb': round((peak_bytes() - before[0]) / MB, 1),
        'private_mb': round((status_bytes('RssAnon') - before[1]) / MB, 1),
        'load_s': round(load_s, 2),
    }


def peak_bytes() -> int:
    """Return the most memory this process has had, mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def status_bytes(name: str) -> int:
    """Return a figure of this process from the kernel."""
    for line in Path('/proc/self/status').read_text(encoding='utf-8').splitlines():
        if line.startswith(f'{name}:'):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


if __name__ == '__main__':
    main()
