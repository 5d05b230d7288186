# SPDX-License-Identifier: Apache-2.0
"""`samtok up` over DDS: the same graph as the launch file, and it ends as it should."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from harness import (
    REPLAY,
    START_NS,
    Scene,
    World,
    image_message,
    latched,
    own_domain,
    pixels,
    reliable,
    stamp_ns,
    wait_until,
)
from sensor_msgs.msg import Image

from samtok_ros.bring_up.installed import find_program
from samtok_ros.msg import Goal, MaskWords, RegionMasks


class Up:
    """A running `samtok up`."""

    def __init__(self, world, *arguments):
        self._log_path = world.folder / f'up_{len(world.programs)}.log'
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(world.domain), 'OMP_NUM_THREADS': '1',
                       'RCUTILS_LOGGING_BUFFERED_STREAM': '0'}
        with self._log_path.open('wb') as log:
            self.process = subprocess.Popen(
                [str(find_program('samtok')), 'up', '--backend', 'fake', *arguments], stdout=log,
                stderr=log, env=environment, cwd=world.folder)
        world.programs.append(self)

    def log(self):
        return self._log_path.read_text(errors='replace')

    def wait_for_log(self, text, count=1):
        wait_until(lambda: self.log().count(text) >= count,
                   lambda: f'{count} times {text!r} in the log:\n{self.log()}')

    def pids(self, program):
        return [int(pid) for pid in re.findall(rf'^{program} is started, process (\d+)',
                                               self.log(), re.MULTILINE)]

    def stop(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def free_world(tmp_path):
    """Like `world`, for programs that may end badly."""
    with own_domain() as domain:
        world = World(domain, tmp_path)
        try:
            yield world
        finally:
            for program in world.programs:
                program.kill()
            world.programs.clear()
            world.close()


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def waits(world, condition, *arguments):
    """Run the program wait_until and return its exit status."""
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(world.domain)}
    return subprocess.run(
        [sys.executable, '-P', '-m', 'samtok_ros.nodes.wait_until', condition, *arguments],
        env=environment, cwd=world.folder, check=False, timeout=100, capture_output=True, text=True)


def test_up_when_started_then_goals_are_answered_and_ctrl_c_ends_it_well(world):
    up = Up(world, '--log-level', 'info')
    assert waits(world, 'active').returncode == 0
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    scene.masks_of()
    (pid,) = up.pids('perception')
    assert up.stop() == 0
    assert is_gone(pid)
    lines = up.log().splitlines()
    assert 'SIGINT: ending' in lines
    said = [line for line in lines if line.startswith('[perception] ')]
    assert [line for line in said if 'activate: done' in line]
    ours = ('perception is started', 'SIGINT')
    assert [line for line in lines if line not in said and not line.startswith(ours)] == []


def test_up_when_split_then_two_processes_answer_and_the_death_of_one_ends_the_other(free_world):
    world = free_world
    up = Up(world, '--split')
    scene = Scene(world, split=True)
    scene.set_goal('two mugs')
    scene.show()
    assert len(scene.masks_of().masks) == 2
    (grounding,), (mask_tokenizer,) = up.pids('grounding'), up.pids('mask_tokenizer')
    os.kill(grounding, signal.SIGKILL)
    assert up.process.wait(60) == 1
    assert 'grounding has ended (SIGKILL): ending the others' in up.log()
    assert is_gone(mask_tokenizer)


def test_up_when_a_setting_is_wrong_then_it_ends_with_the_line_of_the_node(free_world):
    # The file alone is right; only both together are wrong, which the node finds.
    path = free_world.folder / 'mine.yaml'
    path.write_text('/**/grounding:\n  ros__parameters:\n    input: {every_frame: true}\n')
    up = Up(free_world, '--params-file', str(path))
    assert up.process.wait(60) == 1
    assert 'input.every_frame loses frames' in up.log()
    assert 'perception has ended (exit status 1)' in up.log()
    path.write_text('/**/grounding:\n  ros__parameters: {max_rate_hz: 1}\n'
                    '/samtok/mask_tokeniser:\n  ros__parameters: {words: {wait_s: 1.0}}\n')
    up = Up(free_world, '--params-file', str(path))
    assert up.process.wait(60) == 2
    assert 'Write 1.0' in up.log()
    assert 'is started' not in up.log()


def test_up_when_the_model_is_not_there_then_nothing_is_started(free_world):
    up = Up(free_world, '--model', 'tabeltop', '--backend', 'torch')
    assert up.process.wait(60) == 2
    assert "there is no such model: expected 'tabletop', a directory" in up.log()
    assert 'is started' not in up.log()


def test_up_when_a_section_is_misspelt_then_it_warns_and_starts(world):
    path = world.folder / 'mine.yaml'
    path.write_text('/**/groundng:\n  ros__parameters: {max_rate_hz: 1.0}\n'
                    'lifting:\n  ros__parameters: {queue: 2}\n')
    up = Up(world, '--params-file', str(path), '--split', 'grounding', '--no-autostart')
    up.wait_for_log('unconfigured; to start')
    assert 'samtok: warning: ' in up.log()
    assert 'perhaps grounding is meant' in up.log()
    assert 'write /**/lifting or /samtok/lifting' in up.log()
    assert up.pids('mask_tokenizer') == []
    assert up.stop(signal.SIGTERM) == 0


def test_two_instances_when_side_by_side_then_each_answers_its_own_camera(world):
    sides = ('left', 'right')
    ups = {side: Up(world, '--namespace', side, '--image', f'/{side}_cam/image_raw',
                    *(('--respawn',) if side == 'left' else ())) for side in sides}
    peer = world.peer
    words = {side: peer.listen(MaskWords, f'/{side}/mask_words') for side in sides}
    masks = {side: peer.listen(RegionMasks, f'/{side}/masks') for side in sides}
    goals = {side: peer.publisher(Goal, f'/{side}/goal') for side in sides}
    images = {side: peer.publisher(Image, f'/{side}_cam/image_raw', reliable()) for side in sides}

    def is_connected(side):
        outputs = words[side].subscription, masks[side].subscription
        return goals[side].get_subscription_count() == 1 and all(
            output.get_publisher_count() == 1 for output in outputs) and diagnosed(side)

    def diagnosed(side):
        found = peer.diagnostics.get(f'{side}/grounding: input')
        return found and found[2].get('matched_publishers') == '1'

    def answer(side, ns, count):
        goals[side].publish(Goal(text=f'{count} mugs'))
        peer_goals = f'{side}/grounding: inference'
        wait_until(lambda: peer.diagnostics.get(peer_goals, (0, 0, {}))[2].get('goal_id')
                   not in (None, '0'), 'the goal')
        images[side].publish(image_message(ns, pixels()))
        return masks[side].wait(lambda m: m.complete and stamp_ns(m) == ns)

    for side in sides:
        wait_until(lambda side=side: is_connected(side), f'{side} is connected')
    for side, count, ns in (('left', 'one', START_NS), ('right', 'three', START_NS + 1)):
        assert len(answer(side, ns, count).masks) == {'one': 1, 'three': 3}[count]
    for side, ns in (('left', START_NS), ('right', START_NS + 1)):
        assert {stamp_ns(m) for m in words[side].messages} == {ns}

    # One ends: it comes again, the other one does not notice.
    (pid,) = ups['left'].pids('perception')
    os.kill(pid, signal.SIGTERM)
    ups['left'].wait_for_log('perception is started', 2)
    assert 'perception has ended (exit status 0): starting it again in 2 s' in ups['left'].log()
    peer.diagnostics.clear()
    wait_until(lambda: is_connected('left'), 'left is connected again')
    assert len(answer('left', START_NS + 2, 'two').masks) == 2
    assert len(ups['right'].pids('perception')) == 1


def test_wait_until_when_images_wait_then_it_ends_after_the_last_one(world):
    world.start('perception', {**REPLAY, 'fake.token_s': 0.02})
    scene = Scene(world)
    scene.set_goal('two mugs')
    stamps = [START_NS + number for number in range(5)]
    for ns in stamps:
        scene.show(ns)
    done = waits(world, 'idle')
    assert done.returncode == 0, done.stderr
    # Nothing is left to do, so all is on its way to us already.
    assert scene.masks.wait(lambda m: m.complete and stamp_ns(m) == stamps[-1], timeout_s=2.0)
    assert [stamp_ns(m) for m in scene.masks.messages if m.complete] == stamps


def test_wait_until_when_a_node_cannot_come_up_then_it_fails_with_the_reason(world):
    world.start('grounding', {'model.backend': 'fake', 'fake.fail_load': True, 'fake.load_s': 2.0,
                              'autostart': True})
    done = waits(world, 'active', 'grounding')
    assert done.returncode == 1
    assert 'node grounding could not leave the state unconfigured' in done.stderr


def test_wait_until_when_time_is_over_then_it_says_what_is_missing(free_world):
    done = waits(free_world, 'active', '--timeout', '0.5')
    assert done.returncode == 1
    assert 'grounding is not there, mask_tokenizer is not there' in done.stderr
    done = waits(free_world, 'idle', 'grounding', '--timeout', '0.5')
    assert 'grounding is busy, or not heard of' in done.stderr


def test_up_when_there_is_depth_then_targets_come_in_3d(world):
    from sensor_msgs.msg import CameraInfo

    from samtok_ros.msg import LiftedTarget

    up = Up(world, '--depth', '/cam/depth/image')
    scene = Scene(world)
    assert up.pids('perception') and up.pids('lifting')
    depth = world.peer.publisher(Image, '/cam/depth/image', reliable())
    info = world.peer.publisher(CameraInfo, '/cam/depth/camera_info', reliable())
    boxes = world.peer.listen(LiftedTarget, 'target/box', latched())
    world.peer.value('lifting', 'output', '/samtok/target/box', lambda text: text[:1] == '1')
    for name in ('masks', 'depth', 'camera_info'):
        world.peer.value('lifting', 'input', f'{name}_matched_publishers',
                         lambda count: count not in ('', '0'))
    wall = image_message(START_NS, np.full((48, 64, 1), 1000, '<u2').view(np.uint8), '16UC1')
    depth.publish(wall)
    info.publish(CameraInfo(header=wall.header, height=48, width=64,
                            k=[60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]))
    scene.set_goal('one mug')
    scene.show()
    best = max(scene.masks_of().masks, key=lambda mask: mask.score)
    box = boxes.wait()
    assert waits(world, 'idle', 'lifting').returncode == 0
    assert (stamp_ns(box), box.goal, box.id) == (START_NS, 'one mug', best.id)
    assert box.mask_px == best.area_px and box.status == LiftedTarget.OK, box.message
    assert box.depth_median == pytest.approx(1.0, abs=1e-3)
