# SPDX-License-Identifier: Apache-2.0
"""Run directories keep curves, checkpoints, clock and random state over a kill."""

import time

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from samtok_ros.errors import CheckpointError  # noqa: E402
from samtok_ros.training.runs import Budget, RunDirectory  # noqa: E402


def test_load_when_nothing_saved_then_none(tmp_path):
    assert RunDirectory(tmp_path / 'run').load() is None


def test_save_and_load_when_restarted_then_state_clock_and_random_draws_go_on(tmp_path):
    run = RunDirectory(tmp_path)
    torch.manual_seed(3)
    time.sleep(0.05)
    run.save({'weight': torch.arange(3)})
    expected = torch.rand(2), np.random.rand()
    torch.manual_seed(9)
    again = RunDirectory(tmp_path)
    assert torch.equal(again.load()['weight'], torch.arange(3))
    assert again.wall_s >= 0.05
    assert torch.equal(torch.rand(2), expected[0])
    assert np.random.rand() == expected[1]


def test_save_when_done_then_no_partial_file_is_left(tmp_path):
    RunDirectory(tmp_path).save({})
    assert [path.name for path in tmp_path.iterdir()] == ['state.pt']


def test_load_when_file_is_something_else_then_error_names_the_fix(tmp_path):
    torch.save({'a': 1}, tmp_path / 'state.pt')
    with pytest.raises(CheckpointError, match='Remove the file to start the run anew'):
        RunDirectory(tmp_path).load()


def test_progress_when_limits_differ_then_the_tightest_counts(tmp_path):
    run = RunDirectory(tmp_path)
    assert run.progress(Budget()) == 0.0
    time.sleep(0.02)
    assert run.progress(Budget(wall_s=0.01, cpu_s=1e9)) == 1.0
    assert 0 < run.progress(Budget(wall_s=1e6)) < 1e-3
    assert run.progress(Budget(end_unix_s=time.time() - 5)) == 1.0


def test_curves_when_a_line_was_cut_off_then_the_others_are_read(tmp_path):
    run = RunDirectory(tmp_path)
    run.log(1, loss=0.5)
    run.log(2, loss=0.25)
    with open(run.curves_path, 'a') as stream:
        stream.write('{"step": 3, "lo')
    assert [(line['step'], line['loss']) for line in run.curves()] == [(1, 0.5), (2, 0.25)]


def test_log_when_a_line_was_cut_off_then_the_next_record_is_not_lost(tmp_path):
    run = RunDirectory(tmp_path)
    run.curves_path.write_text('{"step": 1}\n{"step": 2, "lo')
    run.log(3, loss=0.5)
    run.log(4, loss=0.25)
    assert [line['step'] for line in run.curves()] == [1, 3, 4]
    assert run.curves_path.read_text().count('\n') == 4
