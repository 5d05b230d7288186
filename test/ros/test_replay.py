# SPDX-License-Identifier: Apache-2.0
"""The replay configuration: every image is processed, and the same bag gives the same words."""

from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from harness import (
    REPLAY,
    SECOND_NS,
    START_NS,
    Scene,
    image_message,
    pixels,
    set_stamp,
    stamp_ns,
    wait_until,
)

from samtok_ros.msg import Goal, MaskWords

FRAMES = 40
PERIOD_NS = SECOND_NS // 10
GOALS = {0: 'one mug', 13: 'nothing there', 20: '', 25: 'two balls'}


def replay(world, programs=('perception',)):
    """Play goals and images as fast as they go; return words and masks by stamp."""
    params = Path(get_package_share_directory('samtok_ros'), 'config', 'replay.yaml')
    for program in programs:
        world.start(program, {'model.backend': 'fake', 'autostart': True, 'fake.token_s': 0.002},
                    ['--params-file', str(params)])
    scene = Scene(world, split=len(programs) > 1)
    for index, text in GOALS.items():
        scene.set_goal(text, START_NS + index * PERIOD_NS)
    for index in range(FRAMES):
        scene.images.publish(image_message(START_NS + index * PERIOD_NS, pixels(index)))
    done = sum(bool(goal_at(index)) for index in range(FRAMES))
    words = scene.words.wait(lambda m: m.complete, count=done)
    masks = scene.masks.wait(lambda m: m.complete, count=done)
    facts = scene.peer.health('grounding', 'inference', lambda found: (
        found[2]['frames_processed'] == str(done)))[2]
    for program in world.programs:
        assert program.stop() == 0
    wait_until(lambda: not scene.peer.node.count_publishers('mask_words'), 'the nodes are gone')
    return words, masks, facts


def goal_at(index):
    return GOALS[max(start for start in GOALS if start <= index)]


def as_text(messages, items):
    return [(stamp_ns(m), m.goal, m.goal_id, m.status, [str(item) for item in getattr(m, items)])
            for m in messages]


def test_replay_when_played_then_every_frame_with_a_goal_gets_its_words_in_order(world):
    words, masks, facts = replay(world)
    expected = [(START_NS + index * PERIOD_NS, goal_at(index)) for index in range(FRAMES)
                if goal_at(index)]
    assert [(stamp_ns(m), m.goal) for m in words] == expected
    assert [(stamp_ns(m), m.goal) for m in masks] == expected
    assert {m.status for m in words if m.goal == 'nothing there'} == {MaskWords.NO_TARGET}
    assert facts['frames_in'] == str(FRAMES)
    assert facts['frames_dropped'] == '0'
    assert facts['frames_without_goal'] == '5'


def test_replay_when_played_again_or_split_then_words_and_masks_are_the_same(world):
    first = replay(world)
    world.programs.clear()
    again = replay(world)
    world.programs.clear()
    split = replay(world, ('grounding', 'mask_tokenizer'))
    for other in (again, split):
        assert as_text(other[0], 'words') == as_text(first[0], 'words')
        assert as_text(other[1], 'masks') == as_text(first[1], 'masks')


def test_replay_when_a_goal_has_no_stamp_then_it_holds_from_the_start(world):
    world.start('perception', REPLAY)
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show(START_NS)
    assert scene.answer(START_NS).goal == 'one mug'


@pytest.mark.parametrize('order', ['goal first', 'goal last'])
def test_live_when_a_goal_is_stamped_later_than_the_image_then_it_holds_all_the_same(world, order):
    world.start('perception')
    scene = Scene(world)
    goal = Goal(text='one mug')
    set_stamp(goal.header, START_NS + 100 * SECOND_NS)
    publish = [lambda: scene.goals.publish(goal), scene.show]
    for step in publish if order == 'goal first' else reversed(publish):
        step()
    assert scene.answer().goal == 'one mug'
