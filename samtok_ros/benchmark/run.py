# SPDX-License-Identifier: Apache-2.0
"""Runs all cases of a plan and gathers the rows of the report."""

import importlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from samtok_ros.benchmark.cases import Bench, ellipses
from samtok_ros.benchmark.interleave import Case, Row, run_case
from samtok_ros.benchmark.subjects import Subject
from samtok_ros.benchmark.sustained import Sustained, redecode
from samtok_ros.benchmark.tracking import tracking_case

Say = Callable[[str], None]

_PACKAGES = ('samtok_ros', 'torch', 'transformers', 'sam2', 'onnxruntime', 'numpy')


@dataclass(frozen=True)
class Plan:
    """What to time.

    Attributes:
        masks: numbers of masks.
        sizes_hw: of the images.
        warm_ups, repeats: repetitions that are not counted, and that are.
        sustained_s: seconds of camera images to keep up with; 0 leaves it out.
        rate_hz: of that camera.
    """

    masks: tuple[int, ...] = (1, 5, 20)
    sizes_hw: tuple[tuple[int, int], ...] = ((480, 640), (720, 1280))
    warm_ups: int = 1
    repeats: int = 5
    sustained_s: float = 0.0
    rate_hz: float = 60.0


@dataclass(frozen=True)
class Results:
    """Everything that was measured.

    Attributes:
        rows: of all cases.
        sustained: keeping up with a camera, None where it was left out.
        skipped: what could not be measured, with the reason.
    """

    rows: tuple[Row, ...]
    sustained: Sustained | None
    skipped: tuple[str, ...]

    @property
    def void(self) -> bool:
        """Whether a figure does not count, because two sides found different things."""
        return any(row.void for row in self.rows)


def run_plan(subject: Subject, plan: Plan, say: Say) -> Results:
    """Time everything, one case after the other.

    Args:
        subject: what is measured.
        plan: how.
        say: told what is going on.
    """
    clock = device_clock(subject.device)
    bench = Bench(subject, clock)
    skipped: list[str] = []
    rows: list[Row] = []
    for name, case in _cases(bench, subject, plan, skipped):
        started = time.monotonic()
        rows += run_case(case, plan.warm_ups, plan.repeats, clock)
        say(f'{name}, {case.masks} masks, {case.size_hw[1]}x{case.size_hw[0]}: '
            f'{time.monotonic() - started:.1f} s')
    sustained = None
    if plan.sustained_s:
        sustained = redecode(subject.masks, plan.sizes_hw[0], plan.rate_hz, plan.sustained_s)
    return Results(tuple(rows), sustained, tuple(skipped))


def device_clock(device: str) -> Callable[[], float]:
    """Return a clock in seconds that waits until the device has done what it was given."""
    if not device.startswith('cuda'):
        return time.perf_counter

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock


def machine_facts(device: str) -> dict[str, str | int]:
    """Return what a reader must know about where figures come from."""
    facts: dict[str, str | int] = {
        'date': datetime.now(UTC).date().isoformat(), 'processor': _processor(),
        'python': platform.python_version(), 'threads': torch.get_num_threads(), 'device': device}
    if device.startswith('cuda'):
        facts['gpu'] = torch.cuda.get_device_name(device)
    for name in _PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:  # as in a source tree that is not installed
            continue
    return facts


def _cases(bench: Bench, subject: Subject, plan: Plan,
           skipped: list[str]) -> Iterator[tuple[str, Case]]:
    for size_hw in plan.sizes_hw:
        for masks in plan.masks:
            yield 'decode', bench.decode(masks, size_hw)
            yield 'track', tracking_case(subject.masks, ellipses(masks, size_hw),
                                         subject.video_memory)
    if not subject.video_memory:
        skipped.append('memory: the mask tokenizer has no video memory, or it would take minutes '
                       'here')
    if subject.language is None:
        skipped.append('goal, first mask, follow-up, messages: no vision-language model was asked '
                       'for, or none is of this size on this device')
        return
    path, reason = _message_path()
    if path is None:
        skipped.append(f'messages: {reason}')
    for size_hw in plan.sizes_hw:
        yield 'follow-up', bench.follow_up(size_hw)
        for masks in plan.masks:
            yield 'goal', bench.find(masks, size_hw)
            if path is not None:
                yield 'messages', bench.messages(masks, size_hw, path)


def _message_path() -> tuple[object | None, str]:
    """Return the way through messages, or why there is none."""
    try:
        # By name: only the nodes import ROS, and this must run without it.
        module = importlib.import_module('samtok_ros.nodes.bench_messages')
    except ImportError as error:
        return None, f'ROS 2 or the messages of samtok_ros are not here ({error})'
    return module.MessagePath(), ''


def _processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()
