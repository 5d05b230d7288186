# SPDX-License-Identifier: Apache-2.0
"""What the nodes of one process share."""

import numpy as np
import pytest

from samtok_ros.errors import ConfigError
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.shared import SharedRuntime, SharedSettings
from samtok_ros.settings.shared import CacheSettings, InputSettings, ModelSettings


def settings(**cache):
    return SharedSettings(ModelSettings(), InputSettings(), CacheSettings(**cache))


def frame(stamp_ns):
    return Frame(stamp_ns, 'camera', lambda: np.zeros((2, 2, 3), np.uint8), 12)


def test_worker_when_users_come_and_go_then_it_runs_while_there_is_one():
    runtime = SharedRuntime()
    runtime.join('grounding', settings(frames=2))
    runtime.join('mask_tokenizer', settings(frames=2))
    for stamp in (1, 2, 3):
        runtime.frame_arrived(frame(stamp))
    assert runtime.frames.stamps() == (2, 3)
    runtime.leave('grounding')
    assert runtime.worker.is_running
    assert len(runtime.frames) == 2
    runtime.leave('mask_tokenizer')
    runtime.leave('mask_tokenizer')
    assert not runtime.worker.is_running
    assert len(runtime.frames) == 0
    runtime.join('grounding', settings(frames=5))
    assert runtime.worker.is_running
    runtime.leave('grounding')


def test_users_when_they_disagree_then_the_second_is_refused_and_the_first_goes_on():
    runtime = SharedRuntime()
    runtime.join('grounding', settings(frames=2))
    with pytest.raises(ConfigError, match='mask_tokenizer and grounding run in one process'):
        runtime.join('mask_tokenizer', settings(frames=3))
    runtime.leave('mask_tokenizer')
    assert runtime.worker.is_running
    runtime.leave('grounding')
    runtime.join('mask_tokenizer', settings(frames=3))
    runtime.leave('mask_tokenizer')


def test_listener_when_a_frame_arrives_then_it_is_in_the_cache_already():
    runtime = SharedRuntime()
    runtime.frames.resize(5, 10_000)
    seen = []
    runtime.listen(lambda arrived: seen.append(runtime.frames.get(arrived.stamp_ns)))
    runtime.frame_arrived(frame(4))
    assert seen[0].stamp_ns == 4


def told_of_steps_back(runtime, stamps):
    told = []
    runtime.listen_to_steps_back(lambda stamp_ns: told.append((stamp_ns, runtime.frames.stamps())))
    for stamp in stamps:
        runtime.frame_arrived(frame(stamp))
    return told


def test_stamps_when_they_step_back_then_it_is_told_once_before_the_frame_is_there():
    runtime = SharedRuntime()
    runtime.frames.resize(5, 10_000)
    second = 1_000_000_000
    told = told_of_steps_back(runtime, (8 * second, 9 * second, second, 2 * second, 3 * second))
    assert told == [(second, (8 * second, 9 * second))]


def test_stamps_when_images_are_slightly_out_of_order_then_that_is_no_step_back():
    runtime = SharedRuntime()
    # Each a little before the newest, and the last far before it.
    told = told_of_steps_back(runtime, (10**9, 700_000_000, 600_000_000, 499_000_000))
    assert [stamp_ns for stamp_ns, _ in told] == [499_000_000]


def test_stamps_when_everybody_has_left_then_time_begins_anew():
    runtime = SharedRuntime()
    runtime.join('grounding', settings())
    told = told_of_steps_back(runtime, (10**10,))
    runtime.leave('grounding')
    runtime.frame_arrived(frame(1))
    assert told == []
