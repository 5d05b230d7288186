# SPDX-License-Identifier: Apache-2.0
"""The grasp planner of the README: what it refuses, where it grasps, and all of it in processes."""

import ast
import re
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest
from example_bench import EXAMPLES, load_example, running_example
from harness import latched, reliable, stamp_ns, wait_until
from scipy.spatial.transform import Rotation

from samtok_ros.demo.bag_file import open_bag
from samtok_ros.demo.camera_bag import COLOUR_INFO_TOPIC, COLOUR_TOPIC, DEPTH_TOPIC
from samtok_ros.demo.make_bag import CAMERA_BAG, DATA_DIR, TRUTH_FILE
from samtok_ros.demo.replay_clock import ReplayClock
from samtok_ros.demo.truth import load_truth
from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR
from samtok_ros.msg import Goal, LiftedTarget
from samtok_ros.nodes.demo_player import BagPlayer

planner = load_example('grasp_planner')

GRASP = re.compile(r'\[samtok\.grasp_planner\]: ([\w ]+): grasp from (.+) at (\S+) (\S+) (\S+) m, '
                   r'coming from (\S+) (\S+) (\S+) m, fingers (\S+) m open, in (\w+)')
OPTICAL = 'camera_color_optical_frame'
# Middle of the purple bottle's box in table.jpg, as rendered.
BOTTLE_M = (0.2189, 0.0244, 0.575)
# Looks level along z of the optical frame: the thing's long axis to the right, its short one away.
UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]).T


@pytest.fixture
def example(world):
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running_example(world, *arguments))


@pytest.fixture
def embedded_model():
    if not (MODELS_DIR / EMBEDDED_MODEL / 'model.safetensors').exists():
        pytest.skip('the weights of the embedded model are not there')


def target_of(size_m=(0.07, 0.05, 0.06), axes=UPRIGHT, **fields):
    """A good target of a size, 0.8 m in front of the camera."""
    target = LiftedTarget(goal='the red mug', depth_share=0.95, points=400, box_completed=True,
                          **fields)
    target.header.frame_id = OPTICAL
    target.header.stamp.sec, target.header.stamp.nanosec = 7, 123456789
    turn = Rotation.from_matrix(np.array(axes).T).as_quat()
    for part, values in ((target.box_pose.position, (0.1, 0.2, 0.8)), (target.box_size, size_m),
                         (target.box_pose.orientation, turn)):
        for name, value in zip('xyzw', values, strict=False):
            setattr(part, name, float(value))
    return target


def cloud_in(target, count=400):
    """Points all over the box of a target."""
    size = planner.vector(target.box_size)
    own = np.random.default_rng(0).uniform(-0.5, 0.5, (count, 3)) * size
    return own @ planner.axes_of(target.box_pose) + planner.vector(target.box_pose.position)


def hand(pose):
    """Position and the axes of a hand that a pose describes."""
    return planner.vector(pose.pose.position), planner.axes_of(pose.pose)


def found(log):
    """{thing: (how, grasp point, point before)} of what the planner has found."""
    return {thing: (how, np.array(numbers[:3], float), np.array(numbers[3:6], float))
            for thing, how, *numbers in GRASP.findall(log)}


def test_examples_when_read_then_they_import_our_messages_and_nothing_else_of_ours():
    for path in EXAMPLES.rglob('*.py'):
        tree = ast.parse(path.read_text(encoding='utf-8'))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                    for alias in node.names}
        ours = {module for module in modules if module.startswith('samtok_ros')}
        assert ours <= {'samtok_ros.msg', 'samtok_ros.srv', 'samtok_ros.action'}, path


# What is good enough

def test_quality_when_all_is_well_then_there_is_nothing_against_it():
    target = target_of()
    assert planner.quality_problems(target, cloud_in(target), 0.4) == []


@pytest.mark.parametrize(('change', 'reason'), [
    ({'status': LiftedTarget.NO_DEPTH, 'message': 'it is shiny'}, 'it is shiny'),
    ({'depth_share': 0.5}, 'only 50% of it have depth'),
    ({'points': 150}, '150 points are too few'),
    ({'points': 500}, '400 points came of 500'),
    ({'truncated': True}, 'outside the image'),
    ({'box_completed': False}, 'does not stand on anything'),
])
def test_quality_when_one_thing_is_wrong_then_it_is_the_reason(change, reason):
    target = target_of()
    for name, value in change.items():
        setattr(target, name, value)
    cloud = cloud_in(target, 150 if change.get('points') == 150 else 400)
    (problem,) = planner.quality_problems(target, cloud, 0.4)
    assert reason in problem


def test_quality_when_old_and_beside_its_box_then_both_are_said():
    target = target_of()
    cloud = cloud_in(target)
    cloud[:100] += [0.2, 0.0, 0.0]
    old, beside = planner.quality_problems(target, cloud, 9.0)
    assert 'the image is 9.0 s old' in old
    assert 'only 75% of its points' in beside


# Where to grasp

def test_approach_when_flat_then_from_above_closing_on_the_short_side():
    found = planner.approach(target_of((0.12, 0.05, 0.04)))
    point, axes = hand(found.grasp)
    assert found.how == 'from above'
    assert found.width_m == pytest.approx(0.05)
    # Up is -y here. The thing's top is at 0.18; the fingers end 5 mm above its foot at 0.22.
    assert np.allclose(point, [0.1, 0.215, 0.8])
    assert np.allclose(axes[2], [0, 1, 0])
    assert np.allclose(np.abs(axes[1]), [0, 0, 1])
    before, before_axes = hand(found.pregrasp)
    assert np.allclose(before, point - 0.10 * axes[2])
    assert np.allclose(before_axes, axes)
    for pose in (found.grasp, found.pregrasp):
        assert (pose.header.frame_id, pose.header.stamp.nanosec) == (OPTICAL, 123456789)


def test_approach_when_higher_than_fingers_reach_then_they_end_a_finger_below_the_top():
    point, _ = hand(planner.approach(target_of((0.09, 0.05, 0.08))).grasp)
    assert np.allclose(point, [0.1, 0.2 - 0.04 + 0.045, 0.8])


def test_approach_when_tall_then_from_the_side_that_the_camera_sees():
    found = planner.approach(target_of((0.06, 0.05, 0.2)))
    point, axes = hand(found.grasp)
    assert found.how == 'from the side'
    assert found.width_m == pytest.approx(0.06)
    assert np.allclose(axes[2], [0, 0, 1])
    assert np.allclose(np.abs(axes[1]), [1, 0, 0])
    # The near face is at 0.775; a finger would reach behind the middle, which is where it stops.
    assert np.allclose(point, [0.1, 0.2, 0.8])


def test_approach_when_tall_and_only_the_deep_side_fits_then_it_comes_along_the_other():
    found = planner.approach(target_of((0.12, 0.05, 0.2)))
    _, axes = hand(found.grasp)
    assert found.width_m == pytest.approx(0.05)
    assert np.allclose(axes[2], [1, 0, 0])  # the thing is to the right of the camera


@pytest.mark.parametrize('size', [(0.09, 0.08, 0.05), (0.2, 0.1, 0.3)])
def test_approach_when_no_side_fits_then_it_says_so(size):
    assert 'no side of it fits between fingers' in planner.approach(target_of(size))


@pytest.mark.parametrize('size', [(0.12, 0.05, 0.04), (0.06, 0.05, 0.2)])
def test_approach_when_the_thing_is_turned_then_its_axes_stay_right_handed(size):
    turn = Rotation.from_euler('xyz', (0.4, -0.9, 2.0)).as_matrix()
    _, axes = hand(planner.approach(target_of(size, turn @ UPRIGHT)).grasp)
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.linalg.det(axes) == pytest.approx(1.0)


# As programs

def test_planner_when_nothing_fits_then_it_refuses_looks_ahead_and_ends(world, example):
    world.start('grounding')
    world.start('mask_tokenizer')
    world.start('lifting', {'autostart': True})
    example('camera', EXAMPLES / 'table.jpg')
    run = example('grasp_planner', 'nothing', 'one bowl')
    wait_until(lambda: run.has_ended, lambda: run.log)
    assert run.process.returncode == 0
    assert run.log.count('nothing: refused: there is no target in the image') == 3
    assert 'one bowl: in the same image: ' in run.log
    # Made-up words on a flat wall: whatever it finds, it decides about it.
    assert 'one bowl: refused: ' in run.log or 'one bowl' in found(run.log)
    # The last target of that run is latched, and must not be taken for one of this run.
    again = example('grasp_planner', 'one bowl')
    wait_until(lambda: again.has_ended, lambda: again.log)
    assert again.process.returncode == 0


def test_camera_when_started_without_a_picture_then_it_says_what_it_needs():
    done = subprocess.run([sys.executable, EXAMPLES / 'camera.py'], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'python examples/camera.py examples/table.jpg' in done.stderr
    assert 'Traceback' not in done.stderr


def test_planner_when_the_embedded_model_answers_then_it_grasps_the_bottle(
        world, example, embedded_model):
    world.start('perception', {'autostart': True})
    world.start('lifting', {'autostart': True})
    example('camera', EXAMPLES / 'table.jpg', EXAMPLES / 'table_depth.png')
    run = example('grasp_planner', 'the purple bottle', 'the black bowl')
    wait_until(lambda: run.has_ended, lambda: run.log)
    how, grasp, before = found(run.log)['the purple bottle']
    assert how == 'the side'
    # Where table.jpg was rendered with it; the fingers close around its middle.
    assert np.linalg.norm(grasp - BOTTLE_M) < 0.02
    assert np.linalg.norm(grasp - before) == pytest.approx(0.10, abs=2e-3)
    assert 'the black bowl: in the same image: It is black.' in run.log
    assert 'the black bowl: refused: 0.1' in run.log
    assert 'no side of it fits between fingers' in run.log


def test_planner_when_the_demo_bag_is_replayed_then_it_grasps_the_mug_where_it_is(
        world, example, embedded_model):
    """Scene 2 has a yellow mug and no red one."""
    sim = {'autostart': True, 'use_sim_time': True}
    images = {'input.transport': 'compressed', 'input.reliability': 'reliable'}
    depth = {'depth.transport': 'compressed', 'depth.reliability': 'reliable', 'wait_s': 30.0}
    remaps = ['-r', f'image:={COLOUR_TOPIC}', '-r', f'depth:={DEPTH_TOPIC}',
              '-r', f'camera_info:={COLOUR_INFO_TOPIC}']
    world.start('perception', sim | images, remaps)
    world.start('lifting', sim | depth, remaps)
    targets = world.peer.listen(LiftedTarget, 'target/box', latched())
    goals = world.peer.listen(Goal, 'goal', reliable())
    truth = {ns: frame for ns, frame in load_truth(DATA_DIR / TRUTH_FILE).items()
             if frame.scene == 2}
    run = example('grasp_planner', 'the red mug', 'the yellow mug', '--ros-args', '-p',
                  'use_sim_time:=true')
    play_until(lambda: run.has_ended, world.peer, truth, targets, goals)
    assert run.has_ended, run.log
    assert run.log.count('the red mug: refused: there is no target in the image') == 3
    assert 'the yellow mug: in the same image: It is yellow.' in run.log
    _, grasp, _ = found(run.log)['the yellow mug']
    wanted = [target for target in targets.messages if target.goal == 'the yellow mug'
              and target.status == LiftedTarget.OK]
    errors = {}
    for target in wanted:
        (mug,) = (thing for thing in truth[stamp_ns(target)].objects if thing.shape == 'mug')
        approach = planner.approach(target)
        errors[np.linalg.norm(planner.vector(approach.grasp.pose.position) - grasp)] = (
            np.linalg.norm(planner.vector(target.box_pose.position) - mug.box.centre_m))
    # The target that was used is among them, and its box is where the mug is.
    assert min(errors) < 1e-3
    assert errors[min(errors)] < 0.015


def play_until(done, peer, truth, targets, goals):
    """Play the images of the bag with these stamps, each as soon as the one before is lifted."""
    with open_bag(DATA_DIR / CAMERA_BAG) as bag:
        clock = ReplayClock(min(truth))
        player = BagPlayer(peer.node, dict(bag.topics), clock, lossless=True)
        for node, names in (('grounding', ('matched_publishers',)),
                            ('lifting', ('depth_matched_publishers', 'masks_matched_publishers'))):
            for name in names:
                wait_until(lambda node=node, name=name: player.publish_clock() or peer.diagnostics
                           .get(f'samtok/{node}: input', ('', '', {}))[2].get(name, '0') != '0',
                           f'{name} of {node}')
        wait_until(lambda: player.publish_clock() or goals.messages, 'the first goal')
        for message in bag.messages():
            if message.time_ns not in truth or done():
                continue
            clock.run()
            player.play(message)
            clock.hold()
            if message.topic.endswith('compressedDepth'):
                wait_until(lambda ns=message.time_ns: player.publish_clock() or done() or any(
                    stamp_ns(target) == ns for target in list(targets.messages)),
                    f'the target of {message.time_ns}')
        wait_until(lambda: player.publish_clock() or done(), 'the end of the planner')
