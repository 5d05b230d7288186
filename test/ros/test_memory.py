# SPDX-License-Identifier: Apache-2.0
"""Memory is back where it was after a clean-up, however often the nodes are configured."""

import gc
import multiprocessing
import weakref
from pathlib import Path

import pytest
from harness import START_NS, image_message, own_domain, pixels, wait_until
from in_process import receive, running_nodes
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.serialization import serialize_message

from samtok_ros.model_directory import resolve_model
from samtok_ros.msg import Goal
from samtok_ros.runtime.memory import give_back, resident_bytes

UP, DOWN = ('configure', 'activate'), ('deactivate', 'cleanup')
IMAGE_SIZE = (480, 640)
IMAGE_BYTES = 480 * 640 * 3
MOST_CYCLES = 60
REST_CYCLES = 10


def change(nodes, transitions):
    for transition in transitions:
        for name in ('mask_tokenizer', 'grounding'):
            assert getattr(nodes[name], f'trigger_{transition}')() == (
                TransitionCallbackReturn.SUCCESS)


def answer_one(nodes, stamp):
    receive(nodes['grounding'], 'goal', serialize_message(Goal(text='one red mug')))
    receive(nodes['grounding'], 'image', serialize_message(
        image_message(stamp, pixels(stamp % 7, *IMAGE_SIZE))))
    statistics = nodes['mask_tokenizer'].statistics
    wait_until(lambda: statistics.total('frames_processed'), 'masks')


def is_at_rest(held):
    """Say whether the last cycles together left less behind than one image.

    Memory grows at first: caches fill up, and each thread that takes some gets a heap of its own,
    the more of them the more other programs are in the ROS domain.
    """
    return len(held) > REST_CYCLES and held[-1] - held[-1 - REST_CYCLES] < IMAGE_BYTES


def held_after_cycles(parameters, cycles, until=None):
    """Return the memory after each clean-up; in each cycle one image is answered."""
    held = []
    with own_domain() as domain, running_nodes(domain, parameters) as nodes:
        for cycle in range(cycles):
            change(nodes, UP)
            answer_one(nodes, START_NS + cycle)
            frame = weakref.ref(nodes['grounding'].runtime.frames.newest())
            change(nodes, DOWN)
            give_back()
            assert frame() is None, gc.get_referrers(frame())
            held.append(resident_bytes())
            if until is not None and until(held):
                break
    return held


def held_in_a_process_of_its_own(*arguments):
    """The same, where no other test has filled the heap with its own."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(held_after_cycles, arguments)


def test_memory_when_a_real_model_comes_and_goes_then_it_is_given_back():
    pytest.importorskip('torch')
    held = held_in_a_process_of_its_own({'model.device': 'cpu'}, 5)
    # The weights lie in two bytes each in the files and in four in memory.
    model = 2 * sum(path.stat().st_size
                    for path in Path(resolve_model('tabletop')).glob('*.safetensors'))
    assert held[-1] - held[1] < model / 2, [round(size / 1e6, 1) for size in held]


def test_memory_when_configured_again_and_again_then_it_does_not_grow():
    held = held_in_a_process_of_its_own({'model.backend': 'fake'}, MOST_CYCLES, is_at_rest)
    assert is_at_rest(held), [round(size / 1e6, 1) for size in held]
