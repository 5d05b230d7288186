# SPDX-License-Identifier: Apache-2.0
"""`samtok goal` and `samtok watch` beside real nodes in a process of their own."""

import itertools
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from harness import (
    DEADLINE_S,
    FAKE,
    SECOND_NS,
    START_NS,
    best_effort,
    image_message,
    latched,
    pixels,
    set_stamp,
    stamp_ns,
    wait_until,
)
from PIL import Image as Picture
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from samtok_ros.bring_up.installed import find_program
from samtok_ros.cli.files import load_image
from samtok_ros.cli.main import main
from samtok_ros.msg import Goal, LiftedTarget, RegionMask, RegionMasks

SLOW = {**FAKE, 'fake.token_s': 1.0}


class Camera:
    """Sends noise ten times a second, each image with the time of its sending."""

    def __init__(self, peer):
        self._publisher = peer.publisher(Image, 'image', best_effort(), wait=False)
        self._seeds = itertools.count()
        peer.node.create_timer(0.1, self._send)

    def _send(self):
        self._publisher.publish(image_message(time.time_ns(), pixels(next(self._seeds))))


@pytest.fixture
def run(world, monkeypatch):
    """Run a command in the domain of the test; return its exit status."""
    monkeypatch.setenv('ROS_DOMAIN_ID', str(world.domain))
    return lambda *arguments: main([str(argument) for argument in arguments])


@pytest.fixture
def failure(run, capsys):
    """Run a command that must fail, and return what it says."""
    def fail(*arguments):
        assert run(*arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith('samtok: error: ')
        return lines[-1]

    return fail


def started(world, parameters=None):
    """Start the nodes and wait until they are active: what follows has little time."""
    world.start(parameters=parameters).wait_for_log('activate: done', 2)


class Watch:
    """`samtok watch` in a process of its own."""

    def __init__(self, world, *arguments):
        self._log_path = world.folder / 'watch.log'
        with self._log_path.open('wb') as log:
            self.process = subprocess.Popen(
                [str(find_program('samtok')), 'watch', *map(str, arguments)], stdout=log,
                stderr=log, cwd=world.folder,
                env={**os.environ, 'ROS_DOMAIN_ID': str(world.domain)})
        world.programs.append(self)

    def log(self):
        return self._log_path.read_text()

    def lines(self, word):
        return [line for line in self.log().splitlines() if word in line]

    def wait_for(self, word):
        wait_until(lambda: self.lines(word), lambda: f'{word!r} in:\n{self.log()}')

    def stop(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


# Goals that are answered

def test_goal_when_the_nodes_run_then_its_first_answer_is_printed_and_drawn(
        world, run, capsys, tmp_path):
    world.start()
    Camera(world.peer)
    out = tmp_path / 'found.png'
    assert run('goal', 'two mugs', '--out', out) == 0
    said, first, second, age, *_ = capsys.readouterr().out.splitlines()
    assert said == 'two mugs'
    for number, line in enumerate((first, second), start=1):
        assert line.startswith(f'{number}  two mugs  <|mt_start|>')
        assert ' score ' in line
        assert ' px' in line
    assert age.startswith('the image was ')
    assert 0 <= float(age.split()[3]) < DEADLINE_S
    drawn = load_image(out)
    assert drawn.shape == (48, 64, 3)
    assert run('goal', 'nothing') == 0
    assert capsys.readouterr().out.startswith('No target.\n')
    # The goal stands, and saying it again asks for an answer all the same.
    assert run('goal', 'nothing') == 0
    assert capsys.readouterr().out.startswith('No target.\n')


def test_goal_when_json_is_wanted_then_the_fields_of_the_answer_and_its_image(world, run, capsys):
    world.start()
    Camera(world.peer)
    masks = world.peer.listen(RegionMasks, 'masks')
    assert run('goal', 'one mug', '--json') == 0
    said = json.loads(capsys.readouterr().out)
    assert (said['goal'], said['goal_id'], said['status']) == ('one mug', 1, 'OK')
    assert said['frame_id'] == 'camera_color_optical_frame'
    assert 0 <= said['age_s'] < DEADLINE_S
    (region,) = said['regions']
    message = masks.wait(lambda m: m.complete and said['stamp_ns'] == stamp_ns(m))
    (mask,) = message.masks
    assert (region['codes'], region['label'], region['area_px']) == (
        list(mask.codes), 'one mug', mask.area_px)
    box = mask.box
    assert region['box_xyxy'] == ([box.x_offset, box.y_offset, box.x_offset + box.width,
                                   box.y_offset + box.height] if mask.area_px else None)


def test_goal_when_time_is_simulated_then_the_age_is_in_that_time(world, run, capsys):
    world.start(parameters={**FAKE, 'use_sim_time': True})
    clock = world.peer.publisher(Clock, '/clock', wait=False)
    images = world.peer.publisher(Image, 'image', best_effort(), wait=False)
    now = Clock()
    now.clock.sec = START_NS // SECOND_NS + 2

    def send():
        clock.publish(now)
        images.publish(image_message(START_NS, pixels()))

    world.peer.node.create_timer(0.1, send)
    assert run('goal', 'one mug', '--json') == 0
    assert json.loads(capsys.readouterr().out)['age_s'] == pytest.approx(1.877, abs=1e-3)


def test_goal_when_cleared_then_none_stands_and_the_node_need_not_see(world, run, capsys):
    world.start()
    world.peer.publisher(Goal, 'goal').publish(Goal(text='one mug'))
    world.peer.value('grounding', 'inference', 'goal_id', lambda value: value == '1')
    assert run('goal', '--clear') == 0
    assert capsys.readouterr().out == 'no goal stands now\n'
    assert world.peer.value('grounding', 'inference', 'goal_id', lambda value: value == '0')


# Goals that are not

@pytest.mark.parametrize(('goal', 'text'), [
    ('a' * 1025, 'goal text is too long: expected at most 1024 bytes, got 1025 bytes'),
    ('\udcff mug', 'goal text is not valid UTF-8'),
    ('a\x07mug', 'control character: got U+0007'),
    (' ', 'goal is empty'),
    ('the mug left of <region:1>', '<region:1>'),
])
def test_goal_when_it_cannot_be_asked_then_said_without_asking(goal, text, failure):
    assert text in failure('goal', goal)


def test_goal_when_nobody_is_there_then_it_says_where_it_looked(world, failure):
    line = failure('goal', 'one mug', '--wait', 2)
    assert f'nobody is there for /samtok/goal in ROS domain {world.domain}' in line
    assert f'ROS_DOMAIN_ID is {world.domain}' in line
    assert 'samtok up' in line
    assert 'nobody is there for /samtok/goal' in failure('goal', '--clear', '--wait', 1)
    assert 'namespace is no ROS name' in failure('goal', 'mug', '--namespace', 'a b')


def test_goal_when_the_nodes_are_elsewhere_then_it_names_that_place(world, failure):
    world.start('perception', ros_args=['-r', '__ns:=/left/arm']).wait_for_log('activate: done', 2)
    line = failure('goal', 'one mug', '--wait', 5)
    assert 'nobody is there for /samtok/goal' in line
    assert 'got /left/arm/goal. Give --namespace left/arm.' in line


def test_goal_when_the_nodes_wait_for_their_lifecycle_then_it_says_so(world, failure):
    program = world.start('perception', {'model.backend': 'fake'})
    program.wait_for_log('unconfigured; to start', 2)
    line = failure('goal', 'one mug', '--wait', 30)
    assert 'grounding is unconfigured, mask_tokenizer is unconfigured' in line
    assert 'samtok up' in line


def test_goal_when_nobody_draws_masks_then_it_names_the_node_that_lacks(world, failure):
    world.start('grounding').wait_for_log('activate: done')
    line = failure('goal', 'one mug', '--wait', 4)
    assert 'expected all of them active, got mask_tokenizer is not there' in line


def test_goal_when_no_image_comes_then_the_words_of_diagnostics(world, failure):
    started(world)
    line = failure('goal', 'one mug', '--wait', 4)
    assert 'no image arrives' in line
    assert 'samtok/grounding: input: no image because nobody publishes /samtok/image' in line


def test_goal_when_the_answer_takes_too_long_then_it_stands(world, failure):
    started(world, SLOW)
    Camera(world.peer)
    line = failure('goal', 'many mugs', '--wait', 4)
    assert "no answer to 'many mugs' in time" in line
    assert 'Raise --wait' in line
    assert world.peer.value('grounding', 'inference', 'goal_id', lambda value: value == '1')


def test_goal_when_another_one_comes_then_it_does_not_wait_on(world, failure):
    world.start(parameters=SLOW)
    Camera(world.peer)
    goals = world.peer.publisher(Goal, 'goal')

    def interfere():
        # In the thread of the peer: this one waits for the answer.
        status = world.peer.diagnostics.get('samtok/grounding: inference')
        if status and status[2].get('goal_id') == '1' and not sent:
            sent.append(goals.publish(Goal(text='one bowl')))

    sent = []
    world.peer.node.create_timer(0.05, interfere)
    assert 'another goal took the place of this one' in failure('goal', 'many mugs')


def test_goal_when_the_model_fails_then_its_reason(world, failure):
    world.start(parameters={**FAKE, 'fake.fail_every': 1})
    Camera(world.peer)
    assert 'the model could not answer: got ' in failure('goal', 'one mug')


# Watching

def test_watch_when_targets_come_then_a_line_and_a_mask_each(world, run, capsys, tmp_path):
    world.start()
    Camera(world.peer)
    assert run('goal', 'two mugs') == 0
    capsys.readouterr()
    out = tmp_path / 'new' / 'seen'
    assert run('watch', '--count', 4, '--out', out) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ' s  ' in line[:10]]
    assert len(lines) == 4
    for line in lines:
        age, source, status, label = line.split(maxsplit=1)[0], *line.split()[2:5]
        assert float(age) >= 0
        assert source in ('answered', 'tracked')
        assert (status, label) == ('OK', 'two')
        assert ' score ' in line
    assert any('answered' in line and ' px  and 1 more' in line for line in lines)
    masks = list(out.glob('*-mask.png'))
    assert masks
    for path in masks:
        values = np.asarray(Picture.open(path))
        assert values.shape == (48, 64)
        assert set(np.unique(values)) <= {0, 255}


def test_watch_when_the_nodes_draw_then_the_pictures_of_what_was_shown(world, run, tmp_path):
    world.start()
    Camera(world.peer)
    assert run('goal', 'two mugs') == 0
    watch = Watch(world, '--out', tmp_path)
    wait_until(lambda: list(tmp_path.glob('*-overlay.jpg')), watch.log)
    assert watch.stop() == 0
    stamps = {path.name.partition('-')[0] for path in tmp_path.glob('*-mask.png')}
    for path in tmp_path.glob('*-overlay.jpg'):
        assert path.name.partition('-')[0] in stamps
        assert load_image(path).shape == (48, 64, 3)


def test_watch_when_a_picture_comes_before_its_masks_then_it_is_kept_for_them(world, tmp_path):
    started(world)
    watch = Watch(world, '--out', tmp_path)
    masks = world.peer.publisher(RegionMasks, 'masks')
    pictures = world.peer.publisher(CompressedImage, 'overlay/compressed')

    def send(ns, label):
        message = RegionMasks(complete=True, height=2, width=2, goal='mug', masks=[
            RegionMask(id=1, label=label, score=0.5, area_px=4, rle=[0, 4])])
        set_stamp(message.header, ns)
        masks.publish(message)

    def said(label):
        # What is sent before both ends know each other is lost.
        send(1, label)
        return watch.lines(label)

    wait_until(lambda: said('first'), watch.log)
    picture = CompressedImage(format='jpeg', data=b'picture')
    set_stamp(picture.header, 2)
    pictures.publish(picture)
    wait_until(lambda: said('second'), watch.log)
    send(2, 'third')
    wait_until((tmp_path / '2-overlay.jpg').exists, watch.log)
    assert (tmp_path / '2-overlay.jpg').read_bytes() == b'picture'


def test_watch_when_the_nodes_come_and_go_then_it_says_what_is_wrong_and_ends_well(world):
    watch = Watch(world)
    watch.wait_for('nobody is there for /samtok/masks')
    program = world.start()
    watch.wait_for('diagnostics ERROR  samtok/grounding: input: no image because nobody publishes')
    camera = Camera(world.peer)
    assert camera
    watch.wait_for('diagnostics OK')
    world.peer.publisher(Goal, 'goal').publish(Goal(text='nothing'))
    watch.wait_for("NO_TARGET  'nothing'")
    program.stop()
    watch.wait_for('samtok/grounding: is silent: has it ended?')
    assert len(watch.lines('no image because nobody publishes')) == 1
    assert watch.stop() == 0


def test_watch_when_targets_are_lifted_or_lost_then_where_they_are_and_why_not(world):
    started(world)
    watch = Watch(world)
    boxes = world.peer.publisher(LiftedTarget, 'target/box', latched())
    masks = world.peer.publisher(RegionMasks, 'masks')
    good = LiftedTarget(status=LiftedTarget.OK, label='red mug')
    good.box_pose.position.x, good.box_size.x, good.box_size.y, good.box_size.z = 0.5, 0.1, 0.2, 0.3
    pointed = LiftedTarget(status=LiftedTarget.OK, label='flat mug')
    pointed.centroid.z = 0.75
    bad = LiftedTarget(status=LiftedTarget.NO_DEPTH, goal='a glass', message='it is shiny')
    lost = RegionMasks(complete=True, height=4, width=5, goal='mug', origin=RegionMasks.TRACKED,
                       masks=[RegionMask(id=1, label='red mug', score=0.5, lost=True, rle=[20])])
    odd = RegionMasks(complete=True, height=4, width=5, status=9)

    lines = (
        'lifted    OK         red mug  centre 0.500 0.000 0.000 m  size 0.100 0.200 0.300 m',
        'flat mug  centre 0.000 0.000 0.750 m',
        "lifted    NO_DEPTH   'a glass'  it is shiny",
        'tracked   OK         red mug  score 0.50  lost',
        'masks that cannot be read: masks have an unknown status')

    def said():
        # What is sent before both ends know each other is lost.
        for publisher, messages in ((boxes, (good, pointed, bad)), (masks, (lost, odd))):
            for message in messages:
                set_stamp(message.header, time.time_ns())
                publisher.publish(message)
        return all(map(watch.lines, lines))

    wait_until(said, watch.log)
