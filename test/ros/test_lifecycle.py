# SPDX-License-Identifier: Apache-2.0
"""States, parameters and the end of the programs."""

import signal
import threading
import time

import pytest
from harness import (
    ACTIVATE,
    ACTIVE_SHUTDOWN,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    FAKE,
    START_NS,
    UNCONFIGURED_SHUTDOWN,
    Scene,
    stamp_ns,
    wait_until,
)
from in_process import running_nodes
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters

from samtok_ros.msg import MaskWords
from samtok_ros.runtime.worker import Priority
from samtok_ros.settings.fields import setting_fields
from samtok_ros.settings.nodes import SETTINGS_OF_NODE

BY_HAND = {'model.backend': 'fake'}


def test_node_when_started_by_hand_then_it_waits_and_says_what_to_call(world):
    program = world.start('grounding', BY_HAND)
    assert world.peer.state('grounding') == 'unconfigured'
    program.wait_for_log('ros2 lifecycle set /samtok/grounding configure')
    world.peer.health('grounding', 'model', lambda found: 'unconfigured' in found[1])


def test_states_when_walked_through_twice_then_each_is_reached_and_words_come_each_time(world):
    world.start('perception', BY_HAND)
    peer = world.peer
    for turn in (1, 2):
        for node in ('mask_tokenizer', 'grounding'):
            assert peer.change(node, CONFIGURE)
            assert peer.state(node) == 'inactive'
        for node in ('mask_tokenizer', 'grounding'):
            assert peer.change(node, ACTIVATE)
            assert peer.state(node) == 'active'
        scene = Scene(world)
        scene.set_goal('one mug')
        scene.show(START_NS + turn)
        assert scene.answer(START_NS + turn).goal_id == 1
        scene.masks_of(START_NS + turn)
        for node in ('grounding', 'mask_tokenizer'):
            assert peer.change(node, DEACTIVATE)
            assert peer.state(node) == 'inactive'
            assert peer.change(node, CLEANUP)
            assert peer.state(node) == 'unconfigured'
        wait_until(lambda: not peer.node.count_publishers('mask_words'), 'outputs are gone')
    for node in ('grounding', 'mask_tokenizer'):
        assert peer.change(node, UNCONFIGURED_SHUTDOWN)
        assert peer.state(node) == 'finalized'


def test_get_state_when_a_model_is_loading_then_it_answers_at_once(world):
    world.start('grounding', {**BY_HAND, 'fake.load_s': 8.0})
    configured = world.peer.begin_change('grounding', CONFIGURE)
    # An answer that waited for the end of loading would be another one.
    wait_until(lambda: world.peer.state('grounding') == 'configuring', 'configuring')
    assert not configured.done()
    wait_until(configured.done, 'the end of loading')
    assert configured.result().success
    assert world.peer.state('grounding') == 'inactive'


@pytest.mark.parametrize('parameters, reason', [
    ({'model.backend': 'fake', 'fake.fail_load': True}, 'the fake model refuses to load'),
    ({'model.name': '/no/such/model'}, "'/no/such/model'"),
])
@pytest.mark.parametrize('node', ['grounding', 'mask_tokenizer'])
def test_configure_when_the_model_cannot_be_loaded_then_it_fails_and_the_node_stays(
        world, node, parameters, reason):
    program = world.start(node, parameters)
    assert not world.peer.change(node, CONFIGURE)
    assert world.peer.state(node) == 'unconfigured'
    program.wait_for_log(reason)
    assert program.log().count('ERROR') == 1
    assert not world.peer.change(node, CONFIGURE)


def test_autostart_when_the_model_cannot_be_loaded_then_the_node_stays_unconfigured(world):
    program = world.start('perception', {**FAKE, 'fake.fail_load': True})
    program.wait_for_log('configure failed', count=2)
    assert world.peer.state('grounding') == 'unconfigured'


def test_nodes_of_one_process_when_they_disagree_then_configure_says_so(world):
    file = world.folder / 'one_of_two.yaml'
    file.write_text('/**/grounding:\n  ros__parameters:\n    cache:\n      frames: 7\n')
    program = world.start('perception', BY_HAND, ['--params-file', str(file)])
    assert world.peer.change('mask_tokenizer', CONFIGURE)
    assert not world.peer.change('grounding', CONFIGURE)
    program.wait_for_log('must agree on model, input and cache')


def test_deactivate_when_the_model_speaks_then_the_answer_ends_as_cancelled(world):
    world.start('perception', {**FAKE, 'fake.token_s': 0.1})
    scene = Scene(world)
    scene.set_goal('many things')
    scene.show()
    scene.words.wait()
    assert scene.peer.change('grounding', DEACTIVATE)
    assert scene.answer().status == MaskWords.CANCELLED
    assert scene.peer.change('grounding', ACTIVATE)
    # The standing goal holds on.
    scene.peer.value('grounding', 'input', 'matched_publishers', lambda count: count == '1')
    scene.show(START_NS + 1)
    assert scene.words.wait(lambda m: stamp_ns(m) == START_NS + 1).goal == 'many things'


def test_deactivate_when_the_model_speaks_to_a_request_then_the_mask_tokenizer_does_not_wait(world):
    speaks, over = threading.Event(), threading.Event()
    with running_nodes(world.domain) as nodes:
        wait_until(lambda: all(node.is_active for node in nodes.values()), 'active nodes')
        node = nodes['mask_tokenizer']
        worker = node.runtime.worker

        def speak():
            speaks.set()
            while not over.wait(0.01):
                worker.let_urgent_in(Priority.QUESTION)

        worker.submit(Priority.ACTION, speak)
        assert speaks.wait(10)
        begun_s = time.monotonic()
        node.trigger_deactivate()
        node.trigger_cleanup()
        took_s = time.monotonic() - begun_s
        over.set()
    assert took_s < 5.0


def test_answer_when_the_model_fails_then_a_failed_one_comes_and_the_next_is_fine(world):
    world.start('perception', {**FAKE, 'fake.fail_every': 2})
    scene = Scene(world)
    scene.set_goal('two mugs')
    answers = []
    for ns in range(START_NS, START_NS + 3):
        scene.show(ns)
        answers.append(scene.answer(ns))
    assert [a.status for a in answers] == [MaskWords.OK, MaskWords.FAILED, MaskWords.OK]
    assert 'out of memory' in answers[1].message
    level, text, _ = scene.peer.health('grounding', 'inference', lambda found: found[0] == 2)
    assert 'out of memory' in text


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'active', 'speaking', 'loading'])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_when_it_comes_in_any_state_then_the_exit_is_clean(world, state, number):
    parameters = {
        'unconfigured': BY_HAND, 'inactive': BY_HAND, 'active': FAKE,
        'speaking': {**FAKE, 'fake.token_s': 0.2},
        'loading': {**BY_HAND, 'fake.load_s': 3.0}}[state]
    program = world.start('perception', parameters)
    if state == 'speaking':
        scene = Scene(world)
        scene.set_goal('many things')
        scene.show()
        scene.words.wait()
    elif state == 'loading':
        world.peer.begin_change('grounding', CONFIGURE)
        wait_until(lambda: world.peer.state('grounding') == 'configuring', 'configuring')
    else:
        if state == 'inactive':
            assert world.peer.change('grounding', CONFIGURE)
        wait_until(lambda: world.peer.state('grounding') == state, state)
    assert program.stop(number) == 0
    assert 'Traceback' not in program.log()
    assert 'terminate called' not in program.log()


def test_signal_when_a_step_of_the_model_is_long_then_the_process_does_not_wait_for_it(world):
    program = world.start('perception', {**FAKE, 'fake.prompt_s': 60.0})
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    world.peer.value('grounding', 'inference', 'worker', lambda state: state == 'busy')
    assert program.stop() == 0
    assert ('the process ends, although this still runs after 4 s: samtok_worker in '
            'samtok_ros.runtime.fake_backend.answer\n') in program.log()


def test_shutdown_transition_when_active_then_the_process_still_ends_cleanly(world):
    program = world.start('perception')
    Scene(world)
    assert world.peer.change('grounding', ACTIVE_SHUTDOWN)
    assert world.peer.state('grounding') == 'finalized'
    assert program.stop() == 0


def test_node_when_destroyed_while_somebody_holds_it_then_it_leaves_the_graph(world):
    def names():
        return set(world.peer.node.get_node_names()) - {world.peer.node.get_name()}

    with running_nodes(world.domain, BY_HAND) as nodes:
        held = list(nodes.values())
        wait_until(lambda: names() == {'grounding', 'mask_tokenizer'}, lambda: f'nodes: {names()}')
    wait_until(lambda: not names(), lambda: f'no nodes but {names()}')
    assert len(held) == 2


@pytest.mark.parametrize('setting, line', [
    ('max_rate_hz:=2',
     'parameter max_rate_hz has the wrong type: expected double, got 2 (integer). Write 2.0.'),
    ('limits.max_masks:=65',
     'parameter limits.max_masks is out of range: expected 1 to 64, got 65'),
    ('model.device:=tpu', "expected auto or cpu or cuda, got 'tpu'"),
    ('input.every_frame:=true', 'expected input.reliability: reliable'),
])
def test_parameter_when_it_is_wrong_then_one_line_says_what_to_write(world, setting, line):
    program = world.start('grounding', BY_HAND, ['-p', setting])
    assert program.wait_for_exit() == 1
    assert line in program.log()
    assert 'Traceback' not in program.log()
    world.programs.remove(program)


def test_parameter_when_its_name_is_misspelt_then_configure_warns_with_a_guess(world):
    program = world.start('grounding', {**BY_HAND, 'limits.max_mask': 3, 'overlay.jpeg_quality': 9})
    assert world.peer.change('grounding', CONFIGURE)
    program.wait_for_log('parameter limits.max_mask is set, but nothing reads it: perhaps '
                         'limits.max_masks is meant')
    # That one belongs to the other node of the process.
    assert 'overlay' not in program.log()


@pytest.mark.parametrize('node', ['grounding', 'mask_tokenizer'])
def test_parameters_when_listed_then_they_are_the_settings_with_their_descriptions(world, node):
    world.start(node, BY_HAND)
    fields = {field.name: field for field in setting_fields(SETTINGS_OF_NODE[node])}
    listed = set(world.peer.call(ListParameters, f'{node}/list_parameters').result.names)
    assert set(fields) <= listed
    assert listed - set(fields) <= {'use_sim_time', 'start_type_description_service'}
    described = world.peer.call(DescribeParameters, f'{node}/describe_parameters',
                                names=list(fields)).descriptors
    for descriptor in described:
        field = fields[descriptor.name]
        assert descriptor.description.startswith(field.description)
        assert descriptor.read_only is not field.live
        if field.minimum is not None:
            (bounds,) = [*descriptor.integer_range, *descriptor.floating_point_range]
            assert (bounds.from_value, bounds.to_value) == (field.minimum, field.maximum)


def set_parameter(peer, node, name, **value):
    kinds = {'integer_value': ParameterType.PARAMETER_INTEGER,
             'double_value': ParameterType.PARAMETER_DOUBLE}
    (kind,) = value
    parameter = Parameter(name=name, value=ParameterValue(type=kinds[kind], **value))
    return peer.call(SetParameters, f'{node}/set_parameters', parameters=[parameter]).results[0]


def test_live_parameter_when_set_then_the_next_frame_uses_it_and_a_wrong_one_is_refused(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('three mugs')
    assert set_parameter(scene.peer, 'grounding', 'limits.max_masks', integer_value=2).successful
    scene.show()
    answer = scene.answer()
    assert (answer.status, len(answer.words)) == (MaskWords.TRUNCATED, 2)
    refused = set_parameter(scene.peer, 'grounding', 'limits.max_masks', integer_value=0)
    assert not refused.successful
    fixed = set_parameter(scene.peer, 'grounding', 'input.depth', integer_value=3)
    assert not fixed.successful
    scene.show(START_NS + 1)
    assert len(scene.answer(START_NS + 1).words) == 2
