# SPDX-License-Identifier: Apache-2.0
"""Transitions that cannot be, steps that fail, and memory that runs out: the node goes on."""

import threading

import pytest
from harness import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    FAKE,
    START_NS,
    UNCONFIGURED_SHUTDOWN,
    Scene,
    own_domain,
    wait_until,
)
from in_process import running_nodes
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn

from samtok_ros.msg import Goal, MaskWords
from samtok_ros.nodes.grounding import GroundingNode
from samtok_ros.runtime.shared import SharedRuntime

BY_HAND = {'model.backend': 'fake'}
UNKNOWN = 42


def set_switch(peer, node, name, value):
    parameter = Parameter(name=name, value=ParameterValue(
        type=ParameterType.PARAMETER_BOOL, bool_value=value))
    (result,) = peer.call(SetParameters, f'{node}/set_parameters', parameters=[parameter]).results
    assert result.successful, result.reason


def test_transition_when_the_state_does_not_have_it_then_it_is_refused_and_the_node_stays(world):
    program = world.start('perception', BY_HAND)
    peer = world.peer
    steps = {'unconfigured': (CONFIGURE, (ACTIVATE, DEACTIVATE, CLEANUP, UNKNOWN)),
             'inactive': (ACTIVATE, (CONFIGURE, DEACTIVATE, UNCONFIGURED_SHUTDOWN)),
             'active': (DEACTIVATE, (CONFIGURE, ACTIVATE, CLEANUP))}
    for state, (step, impossible) in steps.items():
        for transition in impossible:
            assert not peer.change('grounding', transition)
            assert peer.state('grounding') == state
        assert peer.change('grounding', step)
    assert f'transition {UNKNOWN} is refused: the node is unconfigured' in program.log()
    assert peer.change('grounding', ACTIVATE)
    assert peer.change('mask_tokenizer', CONFIGURE)
    assert peer.change('mask_tokenizer', ACTIVATE)
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    scene.masks_of()


def test_transition_when_another_one_runs_then_it_is_refused_and_the_first_ends(world):
    world.start('grounding', {**BY_HAND, 'fake.load_s': 3.0})
    configured = world.peer.begin_change('grounding', CONFIGURE)
    wait_until(lambda: world.peer.state('grounding') == 'configuring', 'configuring')
    for transition in (CONFIGURE, ACTIVATE, UNCONFIGURED_SHUTDOWN):
        assert not world.peer.change('grounding', transition)
    wait_until(configured.done, 'the end of loading')
    assert configured.result().success
    assert world.peer.state('grounding') == 'inactive'


@pytest.mark.parametrize('node', ['grounding', 'mask_tokenizer'])
def test_configure_when_memory_runs_out_then_it_fails_and_can_be_done_again(world, node):
    program = world.start(node, {**BY_HAND, 'fake.fail_load_memory': True})
    for _ in range(2):
        assert not world.peer.change(node, CONFIGURE)
        assert world.peer.state(node) == 'unconfigured'
    program.wait_for_log('configure failed: the device ran out of memory')
    program.wait_for_log('Use a smaller model')
    set_switch(world.peer, node, 'fake.fail_load_memory', False)
    assert world.peer.change(node, CONFIGURE)
    assert world.peer.change(node, ACTIVATE)
    assert world.peer.state(node) == 'active'


def test_answer_when_memory_runs_out_then_diagnostics_say_so_and_the_next_one_is_fine(world):
    program = world.start('perception', {**FAKE, 'fake.fail_every': 2})
    scene = Scene(world)
    scene.set_goal('two mugs')
    statuses = []
    for ns in range(START_NS, START_NS + 3):
        scene.show(ns)
        statuses.append(scene.answer(ns).status)
    assert statuses == [MaskWords.OK, MaskWords.FAILED, MaskWords.OK]
    failed = scene.answer(START_NS + 1)
    assert 'ran out of memory' in failed.message
    assert 'smaller model' in failed.message
    assert scene.peer.health('grounding', 'inference', lambda found: found[0] == 2)
    scene.masks_of(START_NS + 2)
    assert '[ERROR]' in program.log()


class BrokenNode(GroundingNode):
    """A node with a bug: what it raises is nothing that anybody foresaw."""

    broken_step = 'set_up'

    def set_up(self):
        super().set_up()
        if self.broken_step == 'set_up':
            raise ZeroDivisionError('a bug')

    def begin(self):
        super().begin()
        if self.broken_step == 'begin':
            raise ZeroDivisionError('a bug')


@pytest.mark.parametrize('step', ['set_up', 'begin'])
def test_transition_when_a_bug_raises_then_the_node_lands_in_unconfigured_and_works_again(step):
    with own_domain() as domain, running_nodes(
            domain, BY_HAND, lambda: [BrokenNode(SharedRuntime())]) as nodes:
        node = nodes['grounding']
        node.broken_step = step
        first = node.trigger_configure()
        if step == 'begin':
            assert first == TransitionCallbackReturn.SUCCESS
            first = node.trigger_activate()
        assert first == TransitionCallbackReturn.ERROR
        assert node._state_machine.current_state[1] == 'unconfigured'
        assert not node.runtime.worker.is_running
        node.broken_step = ''
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def test_transitions_when_two_callers_hurry_then_nothing_ends(world):
    """Diagnostics, images and the worker go on while parts come and go."""
    program = world.start('perception')
    scene = Scene(world)
    scene.set_goal('many things')
    ended = threading.Event()

    def send_images():
        ns = START_NS
        while not ended.wait(0.01):
            ns += 1
            scene.show(ns)

    camera = threading.Thread(target=send_images)
    camera.start()
    try:
        for _ in range(5):
            for node in ('grounding', 'mask_tokenizer'):
                for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
                    assert world.peer.change(node, transition)
    finally:
        ended.set()
        camera.join()
    assert program.process.poll() is None
    # It was cleaned up: the goal has to be set again.
    scene.goals.publish(Goal(text='one mug'))
    scene.words.messages.clear()
    wait_until(lambda: (scene.show(START_NS + 10**9), [
        m for m in list(scene.words.messages) if m.complete and m.goal == 'one mug'])[1],
        'an answer')
