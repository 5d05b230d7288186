# SPDX-License-Identifier: Apache-2.0
"""Transitions that fail halfway: what was made before the failure does not stay."""

import pytest
from harness import FAKE, own_domain
from in_process import running_nodes
from lifting_bench import make_lifting
from rclpy.lifecycle import TransitionCallbackReturn

from samtok_ros.nodes.grounding import GroundingNode
from samtok_ros.nodes.mask_tokenizer import MaskTokenizerNode
from samtok_ros.runtime.shared import SharedRuntime

MAKE = {'grounding': lambda: [GroundingNode(SharedRuntime())], 'lifting': make_lifting,
        'mask_tokenizer': lambda: [MaskTokenizerNode(SharedRuntime())]}


@pytest.fixture
def node(request):
    """A node that is unconfigured; `request` has its name, an override, and more parameters."""
    name, override, value, more = request.param
    with own_domain() as domain, running_nodes(
            domain, {**more, f'qos_overrides./samtok/{override}': value}, MAKE[name]) as nodes:
        yield nodes[name]


def made(node):
    """Return how much a node has of what it makes."""
    return {kind: sorted(getattr(one, 'topic_name', '') for one in getattr(node, kind))
            for kind in ('publishers', 'subscriptions', 'timers')}


BY_HAND = {'model.backend': FAKE['model.backend']}
INPUTS = [
    ('grounding', 'image.subscription.history', 'keep_all', BY_HAND),
    ('mask_tokenizer', 'image.subscription.depth', 'ten', BY_HAND),
    ('lifting', 'masks.subscription.depth', 'ten', {}),
    ('mask_tokenizer', 'image.subscription.depth', 2**31, BY_HAND),
    ('lifting', 'depth.subscription.history', 'keep_all', {}),
    ('lifting', 'camera_info.subscription.history', 'maybe', {}),
]
OUTPUTS = [
    ('grounding', 'mask_words.publisher.reliability', 'reliabel', BY_HAND),
    ('grounding', 'goal.subscription.reliability', 'reliabel', BY_HAND),
    ('mask_tokenizer', 'masks.publisher.depth', 'ten', BY_HAND),
    ('mask_tokenizer', 'overlay/compressed.publisher.reliability', 'reliabel', BY_HAND),
    ('grounding', 'goal.subscription.depth', -1, BY_HAND),
    ('lifting', 'markers.publisher.durability', 'latched', {}),
    ('lifting', 'target/box.publisher.depth', 10**11, {}),
    ('lifting', 'scene/points.publisher.reliability', 'reliabel', {'scene.enabled': True}),
]


@pytest.mark.parametrize('node', INPUTS, indirect=True)
def test_activate_when_an_input_cannot_be_made_then_nothing_of_it_stays(node):
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    before = made(node)
    for _ in range(2):
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert made(node) == before
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS


@pytest.mark.parametrize('node', OUTPUTS, indirect=True)
def test_configure_when_an_output_cannot_be_made_then_nothing_of_it_stays(node):
    before = made(node)
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert made(node) == before


def test_configure_when_an_override_of_an_output_is_misspelt_then_one_line_says_so(world):
    program = world.start('lifting', {
        'autostart': True, 'qos_overrides./samtok/markers.publisher.reliability': 'reliabel'})
    program.wait_for_log(
        'configure failed: cannot publish markers: got Unexpected QoS override for policy '
        '`reliability`: `reliabel`. Correct its qos_overrides and start the node again.')
    assert world.peer.state('lifting') == 'unconfigured'
