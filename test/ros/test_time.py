# SPDX-License-Identifier: Apache-2.0
"""ROS time: a clock that does not come, one that starts again, one that is switched on."""

import pytest
from harness import (
    FAKE,
    REPLAY,
    SECOND_NS,
    Scene,
    World,
    own_domain,
    set_stamp,
    stamp_ns,
    wait_until,
)
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rosgraph_msgs.msg import Clock

from samtok_ros.msg import Goal, MaskWords

SIMULATED = {**FAKE, 'use_sim_time': True}
NODES = ('grounding', 'mask_tokenizer')


class SimulatedClock:
    """/clock as a bag player or simulator publishes it."""

    def __init__(self, peer):
        self.peer = peer
        self.publisher = peer.publisher(Clock, '/clock')

    def set(self, seconds):
        """Publish a time, as clocks do again and again, until both nodes have it."""
        message = Clock()
        message.clock.sec = seconds

        def known():
            self.publisher.publish(message)
            return all(self.time_of(node) == f'{seconds}.000' for node in NODES)

        wait_until(known, f'time {seconds} at both nodes')

    def time_of(self, node):
        return self.peer.diagnostics.get(f'samtok/{node}: time', (0, '', {}))[2].get('now_s')


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    """One process with a simulated clock for all tests that do not need settings of their own."""
    with own_domain() as domain:
        world = World(domain, tmp_path_factory.mktemp('time'))
        try:
            world.start('perception', {**SIMULATED, 'words.wait_s': 60.0})
            scene = Scene(world)
            scene.world = world
            scene.clock = SimulatedClock(world.peer)
            yield scene
        finally:
            world.close()


def cached(scene, count):
    scene.peer.value('mask_tokenizer', 'inference', 'frames_cached',
                     lambda value: value == str(count))


def test_time_when_no_clock_comes_then_a_warning_says_that_it_stands_at_zero(world):
    program = world.start('perception', SIMULATED)
    for node in NODES:
        level, text, _ = world.peer.health(node, 'time', lambda found: 'no /clock' in found[1])
        assert level == 1
        assert 'nobody publishes it, and time stands at zero' in text
    program.wait_for_log('use_sim_time is set, but no /clock comes')
    clock = SimulatedClock(world.peer)
    world.peer.health('grounding', 'time', lambda found: 'its publishers are silent' in found[1])
    clock.set(7)
    assert world.peer.health('grounding', 'time', lambda found: found[0] == 0)[1] == (
        'time of /clock')


def test_bag_when_it_is_played_in_a_loop_then_each_round_gets_answers_of_its_own(simulated):
    scene, rounds = simulated, []
    scene.set_goal('two mugs')
    jumps = int(scene.peer.value('grounding', 'time', 'jumps_back', str.isdigit))
    for turn in range(3):
        scene.words.messages.clear()
        scene.masks.messages.clear()
        codes = []
        for second in (100, 101, 102):
            scene.clock.set(second)
            scene.show(second * SECOND_NS, seed=10 * turn + second)
            codes += [tuple(word.codes) for word in scene.answer(second * SECOND_NS).words]
            scene.masks_of(second * SECOND_NS)
        rounds.append(codes)
        for node in NODES:
            scene.peer.value(node, 'time', 'jumps_back',
                             lambda value, turn=turn: value == str(jumps + turn))
    # Other pictures with the same stamps: nothing of the round before was used.
    assert rounds[0] != rounds[1] != rounds[2]


def test_frames_when_time_jumps_back_then_later_ones_are_forgotten(simulated):
    scene = simulated
    scene.clock.set(200)
    scene.set_goal('one mug')
    before = int(scene.peer.value('mask_tokenizer', 'inference', 'frames_cached', str.isdigit))
    for second in (200, 201, 202):
        scene.show(second * SECOND_NS, seed=second)
        scene.masks_of(second * SECOND_NS)
    cached(scene, before + 3)
    scene.clock.set(150)
    cached(scene, before)


def test_words_when_they_wait_and_time_jumps_back_then_they_wait_no_longer(simulated):
    scene = simulated
    scene.clock.set(600)
    words = scene.peer.publisher(MaskWords, 'mask_words')
    message = MaskWords(height=48, width=64, tokenizer_id='fake@0000000000000001', complete=True)
    set_stamp(message.header, 601 * SECOND_NS)
    words.publish(message)
    scene.peer.value('mask_tokenizer', 'inference', 'words_waiting', lambda count: count == '1')
    scene.clock.set(590)
    scene.peer.value('mask_tokenizer', 'inference', 'words_waiting', lambda count: count == '0')


def test_image_when_it_waits_and_time_jumps_back_then_it_is_never_answered(simulated):
    scene = simulated
    scene.set_goal('')
    scene.clock.set(300)
    frames = int(scene.peer.value('grounding', 'inference', 'frames_in', str.isdigit))
    scene.show(300 * SECOND_NS, seed=1)
    scene.peer.value('grounding', 'inference', 'frames_in',
                     lambda value: value == str(frames + 1))
    scene.clock.set(250)
    scene.words.messages.clear()
    scene.set_goal('one mug')
    scene.show(251 * SECOND_NS, seed=2)
    scene.answer(251 * SECOND_NS)
    assert {stamp_ns(message) for message in scene.words.messages} == {251 * SECOND_NS}


def test_rate_limit_when_time_jumps_back_then_the_first_image_is_answered_at_once(world):
    world.start('perception', {**SIMULATED, 'max_rate_hz': 0.1})
    scene = Scene(world)
    clock = SimulatedClock(world.peer)
    scene.set_goal('one mug')
    for dropped, second in enumerate((500, 400), start=1):
        clock.set(second)
        scene.show(second * SECOND_NS)
        scene.answer(second * SECOND_NS)
        scene.show((second + 1) * SECOND_NS)
        scene.peer.value('grounding', 'inference', 'frames_dropped',
                         lambda value, dropped=dropped: value == str(dropped))


def test_replay_when_time_jumps_back_then_no_image_is_lost(world):
    world.start('perception', {**REPLAY, 'use_sim_time': True, 'fake.token_s': 0.02})
    scene = Scene(world)
    clock = SimulatedClock(world.peer)
    clock.set(10)
    scene.set_goal('one mug')
    for second in (10, 11, 12, 13):
        scene.show(second * SECOND_NS, seed=second)
    clock.set(5)
    for second in (10, 11, 12, 13):
        scene.answer(second * SECOND_NS)
        scene.masks_of(second * SECOND_NS)


def test_use_sim_time_when_switched_on_then_images_of_the_other_time_are_forgotten(world):
    world.start('perception')
    scene = Scene(world)
    scene.set_goal('one mug')
    scene.show()
    scene.masks_of()
    cached(scene, 1)
    value = ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True)
    for node in NODES:
        (result,) = scene.peer.call(
            SetParameters, f'{node}/set_parameters',
            parameters=[Parameter(name='use_sim_time', value=value)]).results
        assert result.successful
    cached(scene, 0)
    SimulatedClock(world.peer).set(50)
    scene.goals.publish(Goal(text='one cup'))
    scene.show(50 * SECOND_NS)
    scene.answer(50 * SECOND_NS, 'one cup')
