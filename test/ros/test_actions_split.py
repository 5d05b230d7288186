# SPDX-License-Identifier: Apache-2.0
"""Goals where the mask tokenizer is another process, is not there, or the models are real."""

import pytest
from action_msgs.msg import GoalStatus
from harness import START_NS, Scene, image_message, pixels, stamp_ns, wait_until
from sensor_msgs.msg import RegionOfInterest

from samtok_ros.action import Ask, Ground
from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR
from samtok_ros.msg import MaskWords, RegionMasks, RegionReference
from samtok_ros.srv import AskRegion

SUCCEEDED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_ABORTED
BOX = RegionReference(kind=RegionReference.BOX, box=RegionOfInterest(
    x_offset=16, y_offset=10, width=16, height=10))


def by_id(number):
    return RegionReference(kind=RegionReference.ID, id=number)


def answers(peer):
    """What one goal, one question about a box and one call about an id are answered."""
    status, found = peer.action(Ground, 'ground')(text='two red mugs').wait()
    assert (status, found.message) == (SUCCEEDED, '')
    status, asked = peer.action(Ask, 'ask')(text='Which two are like <region:1>?',
                                            regions=[BOX]).wait()
    assert (status, asked.message) == (SUCCEEDED, '')
    called = peer.call(AskRegion, 'ask_region', text='What is it?', regions=[by_id(1)])
    assert called.success, called.message
    assert [len(part.masks.masks) for part in (found, asked, called)] == [2, 2, 0]
    return [(part.words, part.masks) for part in (found, asked, called)]


def test_goals_when_the_nodes_are_two_processes_then_they_are_answered_as_by_one(world):
    one = world.start('perception')
    scene, peer = Scene(world), world.peer
    scene.show()
    expected = answers(peer)
    assert one.stop() == 0
    wait_until(lambda: not scene.images.get_subscription_count(), 'the process is gone')
    peer.diagnostics.clear()

    # The grounding node alone: words come, and regions that must be drawn cannot be meant.
    world.start('grounding')
    peer.value('grounding', 'input', 'matched_publishers', lambda count: count == '1')
    wait_until(scene.images.get_subscription_count, 'the image subscription')
    scene.show()
    status, found = peer.action(Ground, 'ground')(text='two red mugs').wait()
    assert (status, len(found.words.words), len(found.masks.masks)) == (SUCCEEDED, 2, 0)
    assert stamp_ns(found.masks) == START_NS
    status, asked = peer.action(Ask, 'ask')(text='What is it?', regions=[BOX]).wait()
    assert status == ABORTED
    assert 'Start the mask_tokenizer node' in asked.message

    # It comes, but does not have the image: the masks say so, the words are there.
    world.start('mask_tokenizer')
    peer.value('mask_tokenizer', 'input', 'matched_publishers', lambda count: count == '1')

    def reason():
        # It is there for the grounding node a moment after it is for us.
        _, found = peer.action(Ground, 'ground')(text='two red mugs').wait()
        assert (found.success, len(found.words.words)) == (True, 2)
        return found.masks.status == RegionMasks.FAILED and found.masks.message

    assert 'no image' in wait_until(reason, 'masks that failed')
    wait_until(lambda: scene.images.get_subscription_count() == 2, 'both image subscriptions')
    scene.images.publish(image_message(START_NS, pixels()))
    for node, count in (('mask_tokenizer', '1'), ('grounding', '2')):
        peer.value(node, 'inference', 'frames_in', lambda value, count=count: value == count)
    assert answers(peer) == expected


@pytest.mark.skipif(not (MODELS_DIR / EMBEDDED_MODEL / 'config.json').is_file(),
                    reason='the embedded model is not in the package')
def test_conversation_when_the_embedded_model_runs_then_it_answers_about_what_it_found(
        world, image_rgb):
    world.start('perception', {'model.name': EMBEDDED_MODEL, 'model.device': 'cpu',
                               'autostart': True, 'limits.max_new_tokens': 60})
    scene = Scene(world)
    peer = world.peer
    scene.images.publish(image_message(START_NS, image_rgb))
    ground, ask = peer.action(Ground, 'ground'), peer.action(Ask, 'ask')
    goal = ground(text='the red box', conversation_id='talk')
    goal.wait_for_feedback(lambda f: f.phase == Ground.Feedback.GENERATING and f.answer)
    status, found = goal.wait()
    assert (status, found.message) == (SUCCEEDED, '')
    assert found.words.status in (MaskWords.OK, MaskWords.NO_TARGET, MaskWords.TRUNCATED)
    assert [mask.id for mask in found.masks.masks] == [word.id for word in found.words.words]
    about = RegionReference(kind=RegionReference.BOX, box=RegionOfInterest(
        x_offset=60, y_offset=60, width=90, height=80))
    if found.words.words:
        about = by_id(1)
    replies = []
    for text in ('What colour is <region:1>?', 'What shape is <region:1>?'):
        status, result = ask(text=text, regions=[about], conversation_id='talk').wait()
        assert (status, result.message) == (SUCCEEDED, '')
        replies.append(result.words.answer)
    assert all(replies)
    called = peer.call(AskRegion, 'ask_region', text='What colour is <region:1>?',
                       regions=[about])
    assert called.success
    assert called.words.answer
