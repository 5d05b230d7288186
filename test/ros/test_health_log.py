# SPDX-License-Identifier: Apache-2.0
"""What is wrong for a while is in the log too, once, and once more when it is over."""

from harness import START_NS, Scene

from samtok_ros.nodes.health import Health, HealthLog, Level

WELL = {'input': Health(Level.OK, 'images arrive')}
SILENT = {'input': Health(Level.ERROR, 'no image because nobody publishes /camera')}


def test_log_when_something_is_wrong_for_a_while_then_said_once_and_when_it_is_over():
    log = HealthLog()
    assert [log.lines(SILENT, now) for now in (0.0, 4.0)] == [[], []]
    assert log.lines(SILENT, 5.5) == [
        (Level.ERROR, 'input: no image because nobody publishes /camera')]
    assert log.lines(SILENT, 60.0) == []
    assert log.lines(WELL, 61.0) == [(Level.OK, 'input: images arrive')]
    assert log.lines(WELL, 62.0) == []


def test_log_when_something_is_wrong_for_a_moment_then_nothing_is_said():
    log = HealthLog()
    for now in range(0, 40, 4):
        assert log.lines(SILENT, now) == []
        assert log.lines(WELL, now + 2) == []


def test_node_when_no_camera_is_there_for_a_while_then_its_log_says_so_and_when_one_comes(world):
    program = world.start('perception')
    program.wait_for_log('input: no image because nobody publishes /samtok/image')
    scene = Scene(world)
    scene.set_goal('a mug')
    scene.show(START_NS, seed=1)
    scene.answer(START_NS)
    program.wait_for_log('input: images arrive')


def test_node_when_another_one_has_its_name_then_both_say_so_until_one_is_gone(world):
    first, second = world.start('perception'), world.start('perception')
    for program in (first, second):
        for node in ('grounding', 'mask_tokenizer'):
            program.wait_for_log(
                f'name: 2 nodes are named /samtok/{node}: a goal is answered by each of them')
    assert second.stop() == 0
    first.wait_for_log('name: no other node has this name', count=2)
    assert second.log().count('name: 2 nodes are named') == 2
