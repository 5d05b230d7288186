# SPDX-License-Identifier: Apache-2.0
"""The whole demo with the fake backend: real nodes in their own process, a bag in, scores out."""

import json
import sys

import harness  # noqa: F401  (skips where ROS 2 is missing)
import numpy as np
import pytest
from demo_samples import GOAL_TEXTS, sample_goals, stamp, write_sample
from PIL import Image

from samtok_ros.cli.main import main
from samtok_ros.demo.bag_file import open_bag, stamp_of
from samtok_ros.demo.results import read_results
from samtok_ros.demo.run_demo import RESULT_BAG, DemoSettings, run_demo
from samtok_ros.errors import ConfigError
from samtok_ros.runtime.records import Status

FRAMES = 9
KEYS = {'goals', 'mean_iou', 'no_target_correct', 'latency_ms_p50', 'latency_ms_p95', 'frames_in',
        'frames_processed', 'frames_dropped', 'mask_age_ms', 'answer_age_ms', 'lifting'}


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp('sample'), FRAMES)


@pytest.fixture(scope='module')
def every_frame(tmp_path_factory, sample):
    """Folder of a demo in which every image is processed, started like a user would."""
    out = tmp_path_factory.mktemp('every_frame')
    assert main(['demo', '--out', str(out), '--bag', str(sample), '--backend', 'fake',
                 '--every-frame', '--rate', '5']) == 0
    return out


def as_text(results):
    return [(a.stamp_ns, a.goal_id, a.goal, a.status, a.text,
             [(r.codes, r.label, r.score, r.mask.tobytes()) for r in a.regions])
            for a in results.answers]


def test_demo_when_done_then_the_report_has_all_keys_and_goals(every_frame):
    report = json.loads((every_frame / 'report.json').read_text())
    assert set(report) >= KEYS
    assert [goal['text'] for goal in report['goals']] == list(GOAL_TEXTS)
    assert (report['frames_in'], report['frames_processed'], report['frames_dropped']) == (9, 9, 0)
    assert 0 <= report['mean_iou'] <= 1
    assert report['no_target_correct'] == 1.0
    assert 0 < report['latency_ms_p50'] <= report['latency_ms_p95']
    assert report['run']['tokenizer_id'].startswith('fake@')
    for goal in report['goals']:
        assert {'text', 'kind', 'answer', 'iou', 'stamp_ns', 'latency_ms', 'words'} <= set(goal)
        assert goal['answered_frames'] == 3
    assert [len(goal['words']) for goal in report['goals']] == [1, 0, 2]
    # Made-up masks: some are lifted, some fit no depth. Every image that has one is decided.
    assert [goal['target'] is None for goal in report['goals']] == [False, True, False]
    lifted = (report['lifting']['centroid_mm'] or {'count': 0})['count']
    assert lifted + sum(report['lifting']['refused'].values()) == 6
    assert report['mask_age_ms']['count'] == 9


def test_demo_when_done_then_there_is_a_picture_per_goal_and_a_sheet(every_frame):
    report = json.loads((every_frame / 'report.json').read_text())
    for goal in report['goals']:
        assert Image.open(every_frame / goal['overlay']).width > 64
    assert Image.open(every_frame / 'contact_sheet.png').width > 3 * 64


def test_demo_when_done_then_the_nodes_ended_without_a_traceback(every_frame):
    for name in ('nodes.log', 'lifting.log', 'replay.log'):
        log = (every_frame / name).read_text()
        assert 'Traceback' not in log, log


def test_result_bag_when_read_then_every_output_carries_the_stamps_of_the_images(every_frame):
    stamps = [stamp(index) for index in range(FRAMES)]
    with open_bag(every_frame / RESULT_BAG) as bag:
        assert {'/samtok/mask_words', '/samtok/masks', '/samtok/target/mask', '/samtok/goal',
                '/samtok/overlay/compressed', '/samtok/target/box', '/samtok/target/points',
                '/camera/color/camera_info'} <= set(bag.topics)
        for topic in ('/samtok/masks', '/samtok/target/mask', '/samtok/target/box',
                      '/samtok/target/points'):
            records = [bag.record(message) for message in bag.messages(topic)]
            # A mask message comes for each region while the model still speaks.
            complete = [r for r in records if getattr(r, 'complete', True)]
            assert sorted(stamp_of(record) for record in complete) == stamps
            assert {record.header.frame_id for record in records} == {'camera_color_optical_frame'}
        goals = [bag.record(message) for message in bag.messages('/samtok/goal')]
        assert [(goal.text, stamp_of(goal)) for goal in goals] == [
            (goal.text, goal.start_ns) for goal in sample_goals(FRAMES)]
        target = next(bag.record(message) for message in bag.messages('/samtok/target/mask'))
        assert set(np.unique(target.data)) <= {0, 255}


def test_replay_when_run_twice_then_every_image_has_the_same_words_twice(every_frame, sample,
                                                                         tmp_path):
    run_demo(DemoSettings(tmp_path / 'again', sample, backend='fake', every_frame=True, rate=5.0))
    first, again = read_results(every_frame / RESULT_BAG), read_results(
        tmp_path / 'again' / RESULT_BAG)
    assert first.shown == again.shown == tuple(stamp(index) for index in range(FRAMES))
    assert [answer.stamp_ns for answer in first.answers] == list(first.shown)
    assert as_text(first) == as_text(again)
    assert {a.status for a in first.answers if a.goal_id == 2} == {Status.NO_TARGET}


def test_demo_when_live_then_each_goal_is_answered_on_an_image_it_holds_for(sample, tmp_path,
                                                                           capsys):
    assert main(['demo', '--out', str(tmp_path), '--bag', str(sample), '--backend', 'fake']) == 0
    report = json.loads((tmp_path / 'report.json').read_text())
    for goal, row in zip(sample_goals(FRAMES), report['goals'], strict=True):
        assert goal.start_ns <= row['stamp_ns'] < goal.end_ns
    assert report['frames_in'] == FRAMES
    assert report['frames_processed'] + report['frames_dropped'] == FRAMES
    assert report['no_target_correct'] == 1.0
    printed = capsys.readouterr().out
    assert all(text in printed for text in GOAL_TEXTS)
    assert f'look at {tmp_path / "contact_sheet.png"}' in printed


def test_demo_when_the_model_cannot_be_loaded_then_it_says_why_and_ends(sample, tmp_path):
    (tmp_path / 'model').mkdir()
    with pytest.raises(ConfigError, match=r'failed to configure.*without') as caught:
        run_demo(DemoSettings(tmp_path / 'out', sample, model=str(tmp_path / 'model')))
    assert 'nodes.log' in str(caught.value)


def test_demo_when_the_nodes_die_then_it_says_so_and_ends(sample, tmp_path, monkeypatch):
    program = tmp_path / 'perception'
    program.write_text(f'#!{sys.executable}\nimport sys\nsys.exit("out of order")\n')
    program.chmod(0o755)
    monkeypatch.setattr('samtok_ros.demo.run_demo.find_program', lambda name: program)
    with pytest.raises(ConfigError, match='the nodes ended while it was needed.*out of order'):
        run_demo(DemoSettings(tmp_path / 'out', sample, backend='fake'))
