# SPDX-License-Identifier: Apache-2.0
"""What running nodes advertise is what the table of names, the docs and the SROS 2 policy say."""

import re

import pytest
from harness import FAKE, START_NS, best_effort, image_message, pixels, wait_until
from message_samples import class_of, fill
from rclpy.action import ActionClient
from rclpy.node import NodeNameNonExistentError
from sensor_msgs.msg import Image

from samtok_ros.interface.ros_names import BOTH, CALLS, GROUNDING, LIFTING, MASK_TOKENIZER, TOPICS
from samtok_ros.interface.security_policy import PROCESSES, rules_of

ONLY_WITH_A_PACKAGE = {f'/samtok/{topic.name}' for topic in TOPICS if topic.package}
IMAGES = {'/samtok/image', '/samtok/image/compressed'}
NOT_YET = {MASK_TOKENIZER: {'/samtok/goal'}}
"""What a node reads only when there is something to do with it."""
ACTION_TOPICS = ('feedback', 'status')
ACTION_SERVICES = ('send_goal', 'cancel_goal', 'get_result')


def full_name(node, name):
    if name.startswith('/'):
        return name
    return f'/samtok/{node}{name[1:]}' if name.startswith('~') else f'/samtok/{name}'


def allowed(node):
    """Names that the policy allows to a node, by what the graph calls them; actions spelt out."""
    names = {'publisher': set(), 'subscriber': set(), 'service': set(), 'client': set()}
    kinds = {('topics', 'publish'): 'publisher', ('topics', 'subscribe'): 'subscriber',
             ('services', 'reply'): 'service', ('services', 'request'): 'client'}
    for group, permission, _, allowed_names in rules_of(node):
        full = [full_name(node, name) for name in allowed_names]
        if group == 'actions':
            assert permission == 'execute'
            names['publisher'] |= {f'{n}/_action/{part}' for n in full for part in ACTION_TOPICS}
            names['service'] |= {f'{n}/_action/{part}' for n in full for part in ACTION_SERVICES}
        else:
            names[kinds[group, permission]] |= set(full)
    return names


def advertised(world, node):
    """Names of a running node, by kind, with their types."""
    ask = {kind: getattr(world.peer.node, f'get_{kind}_names_and_types_by_node')
           for kind in ('publisher', 'subscriber', 'service', 'client')}
    return {kind: dict(get(node, '/samtok')) for kind, get in ask.items()}


def check_names(world, node, absent):
    """Compare a node with its policy once discovery is through; `absent` is not expected now."""
    wanted = {kind: names - ONLY_WITH_A_PACKAGE - absent for kind, names in allowed(node).items()}
    found = {}

    def agrees():
        try:
            found.update(advertised(world, node))
        except NodeNameNonExistentError:  # Not discovered yet.
            return False
        return {kind: set(names) - ONLY_WITH_A_PACKAGE for kind, names in found.items()} == wanted

    def difference():
        return f'{node}: ' + ', '.join(
            f'{kind} {sorted(names ^ set(found.get(kind, ())))}' for kind, names in wanted.items())

    # Longer than a node of this name that was killed stays in the graph, 20 s.
    wait_until(agrees, difference)
    return found


def check_types(found):
    for topic in TOPICS:
        for kind in ('publisher', 'subscriber'):
            if (types := found[kind].get(full_name('', topic.name))) is not None:
                assert types == [topic.type]
    for call in CALLS:
        for kind in ('service', 'client'):
            if not call.is_action and (types := found[kind].get(f'/samtok/{call.name}')):
                assert types == [call.type]


def test_names_when_one_process_runs_then_they_are_those_of_the_policy(world):
    world.start('perception', {**FAKE, 'input.transport': 'raw', 'use_sim_time': True})
    for node in PROCESSES['perception']:
        world.peer.health(node, 'model')
    check_types(check_names(world, GROUNDING, absent={'/samtok/image/compressed'}))
    check_types(check_names(world, MASK_TOKENIZER, absent=IMAGES | NOT_YET[MASK_TOKENIZER]))


def test_names_when_two_processes_run_then_they_are_those_of_the_policy(world):
    for node in BOTH:
        world.start(node, {**FAKE, 'input.transport': 'compressed'})
    for node in BOTH:
        check_types(check_names(world, node, absent={
            '/samtok/image', '/clock', *NOT_YET.get(node, ())}))


def test_names_when_lifting_runs_then_they_are_those_of_the_policy(world):
    world.start('lifting', {'autostart': True, 'scene.enabled': True})
    world.peer.health('lifting', 'lifting')
    check_types(check_names(world, LIFTING, absent={'/samtok/depth/compressedDepth', '/clock'}))


@pytest.fixture
def scene(world):
    """Active nodes with one image in their cache."""
    world.log = world.start('perception', FAKE).log
    images = world.peer.publisher(Image, 'image', best_effort())
    world.peer.value('grounding', 'input', 'matched_publishers', lambda count: count not in '0')
    images.publish(image_message(START_NS, pixels(height=240, width=320)))
    world.peer.value('grounding', 'inference', 'frames_in', lambda count: count not in '0')
    return world


def test_examples_when_called_then_each_succeeds(scene):
    for call in CALLS:
        kind = class_of(call.type)
        if call.is_action:
            client = ActionClient(scene.peer.node, kind, call.name)
            assert client.wait_for_server(20.0)
            sent = client.send_goal_async(fill(kind.Goal(), call.example))
            wait_until(sent.done, f'answer to a goal of {call.name}')
            assert sent.result().accepted, call.name
            result = sent.result().get_result_async()
            wait_until(result.done, f'result of {call.name}')
            answer = result.result().result
            client.destroy()
        else:
            request = fill(kind.Request(), call.example)
            answer = scene.peer.call(kind, call.name, **{
                field: getattr(request, field) for field in call.example})
        assert answer.success, f'{call.name}: {answer.message}'


def test_qos_when_logged_then_it_is_what_the_page_says(scene):
    said = dict(re.findall(r'(?:publishes|subscribes to) /samtok/(\S+) \((.*?)\)', scene.log()))
    pages = {topic.name: topic.quality for topic in TOPICS}
    assert {'goal', 'mask_words', 'masks', 'target/mask', 'overlay/compressed'} <= set(said)
    assert said == {name: pages[name] for name in said}
    assert re.search(r'images from /samtok/image \(raw, best_effort, last 1\)', scene.log())
    assert pages['image'] == 'best effort, last 1'
