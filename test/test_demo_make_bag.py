# SPDX-License-Identifier: Apache-2.0
"""Rendering the bag: the same seed gives the same bag. Skipped where nothing can be drawn."""

import os
import subprocess
import sys
from io import StringIO

import numpy as np
import pytest

from samtok_ros.demo.bag_file import open_bag
from samtok_ros.demo.camera_bag import colour_images, depth_images
from samtok_ros.demo.goals import load_goals
from samtok_ros.demo.make_bag import CAMERA_BAG, DATA_DIR, GOALS_FILE, TRUTH_FILE, BagPlan, make_bag
from samtok_ros.demo.truth import load_truth
from samtok_ros.errors import ConfigError


def render(folder, environment=None):
    """Run `samtok make-bag` in a process of its own.

    The software renderer and triton each bring an LLVM; who imports triton after the renderer, in
    the same process, crashes.
    """
    code = 'import sys; from samtok_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'
    return subprocess.run(
        [sys.executable, '-P', '-c', code, 'make-bag', '--out', str(folder), '--scenes', '1',
         '--frames', '3'],
        env=environment, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope='module')
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp('rendered')
    done = render(folder / 'first')
    if done.returncode == 2 and 'drawing' in done.stderr:
        pytest.skip(f'no off-screen drawing here: {done.stderr.strip()}')
    assert done.returncode == 0, done.stderr
    assert f'samtok demo --bag {folder / "first"}' in done.stdout
    return folder


def content(folder):
    with open_bag(folder / CAMERA_BAG) as bag:
        return [(message.topic, message.time_ns, message.data) for message in bag.messages()]


def test_bag_when_rendered_again_then_it_is_the_same(rendered):
    assert render(rendered / 'second').returncode == 0
    assert content(rendered / 'first') == content(rendered / 'second')
    for name in (TRUTH_FILE, GOALS_FILE):
        assert (rendered / 'first' / name).read_text() == (rendered / 'second' / name).read_text()


def test_bag_when_rendered_then_images_depth_and_truth_fit_together(rendered):
    truth = load_truth(rendered / 'first' / TRUTH_FILE)
    with open_bag(rendered / 'first' / CAMERA_BAG) as bag:
        colour, depth = dict(colour_images(bag)), dict(depth_images(bag))
    assert list(colour) == list(depth) == list(truth)
    assert [goal.start_ns for goal in load_goals(rendered / 'first' / GOALS_FILE)] == list(truth)
    for stamp_ns, frame in truth.items():
        assert colour[stamp_ns].shape == (480, 640, 3)
        for thing in frame.objects:
            median_m = np.median(depth[stamp_ns][thing.mask]) / 1000
            assert median_m == pytest.approx(thing.position_m[2], abs=0.12)


def test_bag_when_rendered_short_then_it_shows_the_first_scene_of_the_shipped_one(rendered):
    short = next(iter(load_truth(rendered / 'first' / TRUTH_FILE).values()))
    shipped = next(iter(load_truth(DATA_DIR / TRUTH_FILE).values()))
    assert [(thing.shape, thing.colour) for thing in short.objects] == [
        (thing.shape, thing.colour) for thing in shipped.objects]


def test_bag_when_there_is_one_already_then_it_is_kept(tmp_path):
    (tmp_path / CAMERA_BAG).mkdir()
    with pytest.raises(ConfigError, match='exists already'):
        make_bag(tmp_path)


def test_bag_when_interrupted_then_nothing_is_left_that_blocks_the_next_try(tmp_path, monkeypatch):
    def interrupted(renderer, plan):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr('samtok_ros.demo.make_bag._open_renderer', lambda plan: StringIO())
    monkeypatch.setattr('samtok_ros.demo.make_bag._tours', interrupted)
    (tmp_path / 'notes.txt').touch()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            make_bag(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']


def test_bag_when_there_is_no_screen_to_draw_on_then_one_line_says_so(tmp_path):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ('DISPLAY', 'WAYLAND_DISPLAY')} | {'MUJOCO_GL': 'glfw'}
    done = render(tmp_path / 'out', environment)
    assert done.returncode == 2
    assert 'drawing' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('numbers', [{'scenes': 0}, {'scenes': 9}, {'frames_per_scene': 2}])
def test_plan_when_a_number_is_out_of_range_then_it_is_refused(numbers):
    with pytest.raises(ConfigError, match='no such bag: expected 1 to 4 scenes'):
        BagPlan(**numbers)
