# SPDX-License-Identifier: Apache-2.0
"""Which image an answer is about: it stays until its masks are drawn, and is never an old one."""

from action_msgs.msg import GoalStatus
from harness import ACTIVATE, DEACTIVATE, FAKE, START_NS, Scene, stamp_ns

from samtok_ros.action import Ground
from samtok_ros.msg import MaskWords


def test_answer_when_it_takes_longer_than_images_are_kept_then_its_masks_come_all_the_same(world):
    world.start('perception', {**FAKE, 'cache.frames': 1, 'fake.prompt_s': 4.0})
    scene = Scene(world)
    scene.set_goal('one mug')
    for number in range(2):
        scene.show(START_NS + number)
        world.peer.value('grounding', 'inference', 'frames_in',
                         lambda value, count=str(number + 1): value == count)
    assert not scene.words.messages, 'the second image came too late to displace the first one'
    assert scene.answer().status == MaskWords.OK
    assert len(scene.masks_of().masks) == 1


def test_goal_when_the_node_was_inactive_since_the_newest_image_then_it_is_about_the_next(world):
    world.start('perception')
    scene, peer = Scene(world), world.peer
    scene.show()
    send = peer.action(Ground, 'ground')
    assert send(text='one mug').wait()[0] == GoalStatus.STATUS_SUCCEEDED
    for transition in (DEACTIVATE, ACTIVATE):
        assert peer.change('grounding', transition)
    status, late = send(text='one mug', time_limit_s=0.5).wait()
    assert status == GoalStatus.STATUS_ABORTED
    assert 'before a new image came' in late.message
    goal = send(text='one mug')
    peer.value('grounding', 'input', 'matched_publishers', lambda count: count == '1')
    scene.show(START_NS + 1)
    assert stamp_ns(goal.wait()[1].words) == START_NS + 1
