# SPDX-License-Identifier: Apache-2.0
"""How goals end: by a cancel, a limit, a newer goal, a failure, or with the node."""

import signal

import pytest
from action_msgs.msg import GoalStatus
from action_msgs.srv import CancelGoal
from harness import (
    ACTIVATE,
    DEACTIVATE,
    DEADLINE_S,
    FAKE,
    START_NS,
    Scene,
    stamp_ns,
    wait_until,
)
from rclpy.action.server import GoalEvent, RCLError
from std_srvs.srv import Trigger

from samtok_ros.action import Ask, Ground
from samtok_ros.msg import MaskWords
from samtok_ros.srv import AskRegion

SUCCEEDED, CANCELED, ABORTED = (
    GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED)
SLOW = {**FAKE, 'fake.token_s': 0.02}


def has_words(feedback):
    return len(feedback.words) > 0


def test_goals_when_cancelled_or_late_then_they_end_soon_with_what_was_said(world):
    world.start('perception', {**SLOW, 'actions.queue': 2})
    scene = Scene(world)
    peer = world.peer
    scene.show()
    ground, ask = peer.action(Ground, 'ground'), peer.action(Ask, 'ask')

    # A cancel of what waits takes effect at once, one of what speaks within a token.
    speaking = ground(text='many mugs')
    seen = speaking.wait_for_feedback(has_words)
    assert (seen.phase, seen.words[0].id) == (Ground.Feedback.GENERATING, 1)
    assert seen.tokens > 0
    assert seen.answer.startswith('```json')
    waiting, last = ask(text='What is it?'), ground(text='one mug', time_limit_s=0.5)
    assert not ground(text='one too many').accepted
    peer.health('grounding', 'requests', lambda found: '2 goals wait' in found[2]['last_refusal'])
    assert waiting.cancel()
    status, result = waiting.wait()
    assert (status, result.success, result.words.answer) == (CANCELED, False, '')
    assert (result.words.status, result.message) == (MaskWords.CANCELLED, 'cancelled by the client')
    assert not speaking.ended
    # Time runs from the acceptance on.
    status, result = last.wait()
    assert status == ABORTED
    assert 'time limit of 0.5 s was over' in result.message
    assert not speaking.ended
    assert speaking.cancel()
    status, result = speaking.wait()
    assert status == CANCELED
    assert 0 < len(result.words.words) < 40
    assert (result.words.status, result.words.complete) == (MaskWords.CANCELLED, True)
    assert stamp_ns(result.words) == START_NS
    assert not speaking.cancel()

    # A limit on time ends an answer well.
    status, result = ground(text='many mugs', time_limit_s=1.0).wait()
    assert (status, result.success, result.words.status) == (SUCCEEDED, True, MaskWords.TRUNCATED)
    assert len(result.masks.masks) == len(result.words.words) > 0

    # A cancel that names no goal is meant for all of an action.
    both = [ground(text='many mugs'), ground(text='many cups')]
    both[0].wait_for_feedback(has_words)
    assert len(peer.call(CancelGoal, 'ground/_action/cancel_goal').goals_canceling) == 2
    assert [goal.wait()[0] for goal in both] == [CANCELED, CANCELED]
    counts = peer.health('grounding', 'requests',
                         lambda found: found[2]['requests_cancelled'] == '4')[2]
    assert [counts[f'requests_{end}'] for end in ('succeeded', 'aborted', 'refused')] == [
        '1', '1', '1']


def test_goals_when_cleared_or_the_node_is_deactivated_then_they_are_aborted(world):
    world.start('perception', SLOW)
    scene = Scene(world)
    peer = world.peer
    scene.show()
    ground, ask = peer.action(Ground, 'ground'), peer.action(Ask, 'ask')
    # Clearing takes the standing goal and those that wait.
    scene.set_goal('one standing mug')
    speaking = ground(text='many mugs')
    speaking.wait_for_feedback(has_words)
    waiting = ask(text='What is it?')
    assert '1 waiting goals' in peer.call(Trigger, 'clear').message
    assert (waiting.wait()[0], 'cleared' in waiting.wait()[1].message) == (ABORTED, True)
    peer.value('grounding', 'inference', 'goal_id', lambda value: value == '0')

    # Deactivating ends all; an inactive node takes nothing.
    waiting = ask(text='What is it?')
    assert not speaking.ended
    assert peer.change('grounding', DEACTIVATE)
    (status, result), (other, _) = speaking.wait(), waiting.wait()
    assert (status, other, result.message) == (ABORTED, ABORTED, 'the node was deactivated')
    assert 0 < len(result.words.words) < 40
    assert result.words.status == MaskWords.CANCELLED
    assert not ground(text='one mug').accepted
    assert peer.change('grounding', ACTIVATE)
    scene.peer.value('grounding', 'input', 'matched_publishers', lambda count: count == '1')
    scene.show(START_NS + 1)
    assert ground(text='one mug').wait()[0] == SUCCEEDED


def test_goal_when_the_policy_is_preempt_then_the_newest_replaces_all_others(world):
    world.start('perception', {**SLOW, 'actions.policy': 'preempt'})
    scene = Scene(world)
    scene.show()
    ground, ask = world.peer.action(Ground, 'ground'), world.peer.action(Ask, 'ask')
    first = ground(text='many mugs')
    first.wait_for_feedback(has_words)
    second = ask(text='Which many things?')
    status, result = first.wait()
    assert status == ABORTED
    assert 'a newer goal took its place' in result.message
    assert result.words.status == MaskWords.CANCELLED
    assert 0 < len(result.words.words) < 40
    third = ground(text='one mug')
    assert second.wait()[0] == ABORTED
    assert third.wait()[0] == SUCCEEDED

    # Of the service two calls wait at a time; goals do not preempt them, nor they goals.
    client = world.peer.node.create_client(AskRegion, 'ask_region')
    world.peer.settle('grounding')
    assert client.wait_for_service(DEADLINE_S)
    calls = [client.call_async(AskRegion.Request(text=f'{count} things?'))
             for count in ('two', 'three', 'four')]
    wait_until(lambda: all(call.done() for call in calls), 'all answers')
    replies = [call.result() for call in calls]
    assert [reply.success for reply in replies].count(True) == 2
    assert any('2 calls are being answered already' in reply.message for reply in replies)


def test_goal_when_memory_runs_out_then_it_is_aborted_and_the_next_works(world):
    world.start('perception', {**FAKE, 'fake.fail_every': 2})
    scene = Scene(world)
    scene.show()
    ground = world.peer.action(Ground, 'ground')
    results = [ground(text='two mugs').wait() for _ in range(3)]
    assert [status for status, _ in results] == [SUCCEEDED, ABORTED, SUCCEEDED]
    failed = results[1][1]
    assert 'out of memory' in failed.message
    assert (failed.words.status, failed.words.message) == (MaskWords.FAILED, failed.message)
    world.peer.health('grounding', 'inference', lambda found: 'out of memory' in found[1])


def test_standing_goal_when_a_goal_cuts_in_then_it_waits_and_says_what_it_would_have_said(world):
    world.start('perception', SLOW)
    scene = Scene(world)
    ground = world.peer.action(Ground, 'ground')
    scene.set_goal('four things')
    scene.show()
    scene.words.wait()
    status, result = ground(text='one mug').wait()
    assert (status, len(result.words.words)) == (SUCCEEDED, 1)
    assert not any(message.complete for message in scene.words.messages)
    interrupted = scene.answer()
    # The same picture again, with nobody in between.
    scene.show(START_NS + 1)
    alone = scene.answer(START_NS + 1)
    assert (interrupted.answer, interrupted.words) == (alone.answer, alone.words)
    assert interrupted.status == MaskWords.OK


def test_process_when_it_ends_then_goals_end_first_and_their_clients_hear_of_it(world):
    program = world.start('perception', SLOW)
    scene = Scene(world)
    scene.show()
    ground = world.peer.action(Ground, 'ground')
    speaking, waiting = ground(text='many mugs'), ground(text='one mug')
    speaking.wait_for_feedback(has_words)
    program.process.send_signal(signal.SIGINT)
    for goal in (speaking, waiting):
        status, result = goal.wait()
        assert (status, result.message) == (ABORTED, 'the node ends')
    wait_until(lambda: program.process.poll() == 0, 'a clean end')


def test_goal_when_cancelled_in_the_moment_it_begins_then_it_begins_all_the_same():
    from samtok_ros.nodes.goal_server import GoalTurn

    class Handle:
        calls = 0

        def execute(self):
            self.calls += 1
            if self.calls == 1:
                raise RCLError('goal_handle attempted invalid transition')

    handle = Handle()
    GoalTurn(handle, None, '').begin()
    assert handle.calls == 2


def test_server_when_an_illegal_change_of_state_is_tried_then_it_is_this_error(world):
    """What GoalTurn relies on."""
    from rclpy.action import ActionServer

    caught = []

    def on_accepted(handle):
        handle.execute(lambda _: (handle.succeed(), Ground.Result())[1])
        with pytest.raises(RCLError) as error:
            handle._update_state(GoalEvent.EXECUTE)
        caught.append(error)

    node = world.peer.node
    server = ActionServer(node, Ground, 'other', lambda handle: None,
                          handle_accepted_callback=on_accepted)
    assert world.peer.action(Ground, 'other')(text='x').wait()[0] == SUCCEEDED
    assert caught
    world.peer.in_executor(server.destroy)
