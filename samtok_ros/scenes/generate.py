# SPDX-License-Identifier: Apache-2.0
"""Fill a store with rendered scenes, in several processes, resumable at any time."""

import argparse
import logging
import multiprocessing
import queue
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from samtok_ros.scenes.geometry import SPLITS, check_split
from samtok_ros.scenes.store import StorePlan, open_plan, shard_length, write_shard

if TYPE_CHECKING:
    from samtok_ros.scenes.renderer import SceneRenderer

logger = logging.getLogger(__name__)

_POLL_S = 0.5


def generate_scenes(out_dir: Path, count: int, split: str = 'train', seed: int = 0,
                    processes: int = 1, size_hw: tuple[int, int] = (240, 320),
                    shard_scenes: int = 500) -> int:
    """Render scenes into a store until it holds `count`; shards that are long enough are kept.

    Args:
        out_dir: the store; made if it is not there.
        count: scenes the store shall hold.
        split: 'train' or 'heldout'.
        seed: base seed; other base seeds give other scenes.
        processes: drawing processes; one per core is best.
        size_hw: height and width of the pictures.
        shard_scenes: scenes per shard.
    Returns:
        The number of scenes rendered now.
    Raises:
        ConfigError: the split is unknown, or the store was made with other arguments.
    """
    check_split(split)
    out_dir = Path(out_dir)
    plan = StorePlan(split, seed, size_hw, shard_scenes)
    open_plan(out_dir, plan)
    shards = {shard: min(shard_scenes, count - shard * shard_scenes)
              for shard in range(-(-count // shard_scenes))}
    missing = [shard for shard in shards if shard_length(out_dir, shard) < shards[shard]]
    total = sum(shards[shard] for shard in missing)
    logger.info('%d of %d scenes to render into %s', total, count, out_dir)
    jobs = [(shard, shards[shard]) for shard in missing]
    if jobs:
        _run(out_dir, plan, jobs, max(1, min(processes, len(jobs))), total)
    return total


def _run(out_dir: Path, plan: StorePlan, jobs: list[tuple[int, int]], processes: int,
         total: int) -> None:
    context = multiprocessing.get_context('spawn')
    done = context.Queue()
    workers = [
        context.Process(target=_render_shards, args=(out_dir, plan, jobs[k::processes], done))
        for k in range(processes)]
    for worker in workers:
        worker.start()
    try:
        with tqdm(total=total, unit='scene', smoothing=0.05, mininterval=2.0) as bar:
            while any(worker.is_alive() for worker in workers) or not done.empty():
                try:
                    bar.update(done.get(timeout=_POLL_S))
                except queue.Empty:
                    continue
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        raise RuntimeError(f'{len(failed)} drawing processes failed; their errors are above')


def _render_shards(out_dir: Path, plan: StorePlan, jobs: list[tuple[int, int]],
                   done: 'multiprocessing.Queue') -> None:
    """Render shards one after another; the drawing context lives as long as the process."""
    from samtok_ros.scenes.renderer import DEFAULT_SIZE_HW, SceneRenderer

    largest = tuple(max(pair) for pair in zip(plan.size_hw, DEFAULT_SIZE_HW, strict=True))
    with closing(SceneRenderer(largest)) as renderer:
        for shard, scenes in jobs:
            if not _render_shard(renderer, out_dir, plan, (shard, scenes), done):
                return


def _render_shard(renderer: 'SceneRenderer', out_dir: Path, plan: StorePlan,
                  job: tuple[int, int], done: 'multiprocessing.Queue') -> bool:
    """Render one shard; False if the main process has gone and nobody waits for it."""
    from samtok_ros.scenes.describe import render_described

    shard, scenes = job
    rgb = np.empty((scenes, *plan.size_hw, 3), dtype=np.uint8)
    segmentation = np.empty((scenes, *plan.size_hw), dtype=np.uint8)
    descriptions = []
    for row in range(scenes):
        if not multiprocessing.parent_process().is_alive():
            return False
        seed = plan.scene_seed(shard * plan.shard_scenes + row)
        rendered, description = render_described(renderer, seed, plan.split, plan.size_hw)
        rgb[row], segmentation[row] = rendered.rgb, rendered.segmentation
        descriptions.append(description)
        done.put(1)
    write_shard(out_dir, shard, rgb, segmentation, descriptions)
    return True


def main() -> None:
    """Run as `python -m samtok_ros.scenes.generate`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='directory of the store')
    parser.add_argument('--count', type=int, required=True, help='scenes it shall hold')
    parser.add_argument('--split', choices=SPLITS, default='train')
    parser.add_argument('--seed', type=int, default=0, help='base seed')
    parser.add_argument('--processes', type=int, default=2)
    parser.add_argument('--height', type=int, default=240)
    parser.add_argument('--width', type=int, default=320)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s')
    generate_scenes(arguments.out, arguments.count, arguments.split, arguments.seed,
                    arguments.processes, (arguments.height, arguments.width))


if __name__ == '__main__':
    main()
