# SPDX-License-Identifier: Apache-2.0
"""Masks between two answers, over DDS: origin, stamps, numbers of things, and how they end."""

import itertools

import numpy as np
import pytest
from harness import FAKE, REPLAY, SECOND_NS, START_NS, Scene, stamp_ns, wait_until
from mask_bench import CORNER, MIDDLE, TOP, MaskBench
from std_srvs.srv import Trigger

from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.msg import Goal, MaskWords, RegionMasks, RegionReference
from samtok_ros.srv import AskRegion

STEP_NS = SECOND_NS // 30


def answer_stamp(message):
    return message.answer_stamp.sec * SECOND_NS + message.answer_stamp.nanosec


class TrackBench(MaskBench):
    def __init__(self, world, **parameters):
        # Images of noise have no colours to be told apart by.
        super().__init__(world, **{'track.policy': 'redecode', 'track.max_colour_change': 255.0,
                                   **parameters})
        self.goals = self.peer.publisher(Goal, 'goal', wait=False)

    def tracked(self, ns):
        return self.masks.wait(lambda m: stamp_ns(m) == ns and m.origin == RegionMasks.TRACKED)

    def target_of(self, ns):
        message = self.target.wait(lambda m: stamp_ns(m) == ns)
        return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width) > 0


def test_image_when_it_comes_after_an_answer_then_its_regions_are_found_in_it(world):
    bench = TrackBench(world)
    answer = bench.ask(START_NS, MIDDLE, CORNER)
    assert (answer.origin, answer_stamp(answer)) == (RegionMasks.ANSWERED, START_NS)
    assert [mask.track_id for mask in answer.masks] == [1, 2]
    later = START_NS + STEP_NS
    bench.show(later, seed=1)
    masks = bench.tracked(later)
    assert (masks.complete, masks.status, answer_stamp(masks)) == (True, RegionMasks.OK, START_NS)
    assert masks.header.frame_id == 'camera_color_optical_frame'
    assert (masks.goal, masks.goal_id, masks.tokenizer_id) == (
        answer.goal, answer.goal_id, answer.tokenizer_id)
    for before, now in zip(answer.masks, masks.masks, strict=True):
        assert (now.id, now.track_id, now.label, now.score) == (
            before.id, before.track_id, before.label, before.score)
        assert (tuple(now.codes), tuple(now.rle), now.lost) == (
            tuple(before.codes), tuple(before.rle), False)
    assert np.array_equal(bench.target_of(later), rle_to_mask(
        np.array(masks.masks[0].rle), (masks.height, masks.width)))
    values = bench.peer.health('mask_tokenizer', 'tracking',
                               lambda found: found[2].get('frames_tracked') == '1')[2]
    assert (values['policy'], values['alive'], values['lost']) == ('redecode', '2', '0')
    assert values['answer_age_s'] == '0.03'


def test_answer_when_it_is_about_an_older_image_then_things_keep_their_numbers(world):
    bench = TrackBench(world)
    bench.ask(START_NS, MIDDLE, CORNER)
    first, second = START_NS + STEP_NS, START_NS + 2 * STEP_NS
    for ns in (first, second):
        bench.show(ns)
        bench.tracked(ns)
    bench.say(first, CORNER, MIDDLE, TOP)
    answer = bench.masks.wait(lambda m: stamp_ns(m) == first and not m.origin)
    assert [mask.track_id for mask in answer.masks] == [2, 1, 3]
    # The newest image is done again with what is known now; the views do not go back in time.
    again = bench.masks.wait(lambda m: stamp_ns(m) == second and answer_stamp(m) == first)
    assert [mask.track_id for mask in again.masks] == [2, 1, 3]
    bench.target.wait(lambda m: stamp_ns(m) == second, count=2)
    assert sorted(map(stamp_ns, bench.target.messages)) == list(
        map(stamp_ns, bench.target.messages))


@pytest.mark.parametrize('text, reason', [
    ('', 'the goal was cleared'), ('cups', 'there is a new goal')])
def test_goal_when_it_changes_then_nothing_is_followed_and_the_target_is_empty(
        world, text, reason):
    bench = TrackBench(world)
    bench.ask(START_NS, MIDDLE)
    assert bench.target_of(START_NS).any()
    wait_until(bench.goals.get_subscription_count, 'the mask tokenizer reads goals')
    bench.goals.publish(Goal(text=text))
    end = bench.masks.wait(lambda m: m.status == RegionMasks.CANCELLED)
    assert (end.origin, stamp_ns(end)) == (RegionMasks.TRACKED, START_NS)
    assert [(mask.lost, mask.area_px, mask.track_id) for mask in end.masks] == [(True, 0, 1)]
    assert end.message == f'nothing is followed any more: {reason}'
    bench.target.wait(lambda m: not any(m.data))
    # Words about the goal before that come late are not followed.
    bench.ask(START_NS + 1, MIDDLE)
    bench.show(START_NS + STEP_NS)
    bench.say(START_NS + STEP_NS, MIDDLE, goal=text or 'mugs', goal_id=2)
    bench.masks.wait(lambda m: stamp_ns(m) == START_NS + STEP_NS and not m.origin)
    assert [m for m in bench.masks.messages if m.origin] == [end]


def test_goal_when_only_one_of_two_nodes_heard_it_then_the_one_that_is_answered_is_followed(world):
    bench = TrackBench(world)
    bench.ask(START_NS, MIDDLE)
    wait_until(bench.goals.get_subscription_count, 'the mask tokenizer reads goals')
    bench.goals.publish(Goal(text='cups'))
    bench.masks.wait(lambda m: m.status == RegionMasks.CANCELLED)

    stamps = itertools.count(START_NS + SECOND_NS, SECOND_NS)

    def answered_again():  # Not at once: the other node may hear the goal a moment later.
        ns = next(stamps)
        bench.ask(ns, MIDDLE)
        bench.show(ns + 1)
        return any(m.origin and m.status == RegionMasks.OK for m in bench.masks.messages)

    wait_until(answered_again, 'answers that go on are followed')
    last = next(stamps)
    bench.ask(last, MIDDLE, goal='bowls', goal_id=2)
    assert bench.target_of(last).any()
    bench.peer.value('mask_tokenizer', 'words', 'goal_missed', lambda count: count == '2')


def test_goals_when_nothing_was_answered_yet_then_nobody_is_made_to_believe_they_are_read(world):
    bench = TrackBench(world)
    bench.show(START_NS)
    bench.peer.value('mask_tokenizer', 'inference', 'frames_in', lambda value: value == '1')
    assert bench.goals.get_subscription_count() == 0
    bench.say(START_NS, MIDDLE)
    wait_until(bench.goals.get_subscription_count, 'the mask tokenizer reads goals')


def test_answer_when_nothing_fits_then_nothing_is_followed_any_more(world):
    bench = TrackBench(world)
    bench.ask(START_NS, MIDDLE)
    bench.ask(START_NS + STEP_NS, status=MaskWords.NO_TARGET)
    bench.target.wait(lambda m: stamp_ns(m) == START_NS + STEP_NS and not any(m.data))
    health = bench.peer.health('mask_tokenizer', 'tracking',
                               lambda found: 'nothing to follow' in found[1])
    assert health[2]['alive'] == '0'


def test_answer_when_it_is_too_old_then_things_end_with_the_reason(world):
    bench = TrackBench(world, **{'track.max_age_s': 1.0})
    bench.ask(START_NS, MIDDLE)
    late = START_NS + 2 * SECOND_NS
    bench.show(late)
    end = bench.tracked(late)
    assert end.status == RegionMasks.CANCELLED
    assert end.masks[0].lost
    assert 'the last answer is 2.0 s old' in end.message
    assert not bench.target_of(late).any()


@pytest.mark.parametrize('programs', [('perception',), ('grounding', 'mask_tokenizer')])
def test_image_when_its_answer_is_still_spoken_then_it_has_masks_before_and_clear_ends_them(
        world, programs):
    for program in programs:
        world.start(program, {**FAKE, 'fake.token_s': 0.2})
    scene = Scene(world, split=len(programs) > 1)
    scene.set_goal('one mug')
    scene.show()
    assert [mask.track_id for mask in scene.masks_of().masks] == [1]
    later = START_NS + STEP_NS
    scene.show(later)
    tracked = scene.masks.wait(lambda m: stamp_ns(m) == later)
    assert (tracked.origin, answer_stamp(tracked)) == (RegionMasks.TRACKED, START_NS)
    assert [(mask.track_id, mask.lost) for mask in tracked.masks] == [(1, False)]
    if len(programs) == 1:  # Requests can point at what is followed, by its number.
        asked = world.peer.call(AskRegion, 'ask_region', stamp=tracked.header.stamp,
                                text='What is <region:1>?', regions=[RegionReference(
                                    kind=RegionReference.ID, id=tracked.masks[0].id)])
        assert asked.success, asked.message
    assert world.peer.call(Trigger, 'clear').success
    end = scene.masks.wait(lambda m: m.origin and m.status == RegionMasks.CANCELLED)
    assert all(mask.lost and not mask.area_px for mask in end.masks)
    scene.target.wait(lambda m: stamp_ns(m) == later and not any(m.data))


@pytest.mark.parametrize('programs', [('perception',), ('grounding', 'mask_tokenizer')])
def test_clear_when_nothing_is_being_spoken_then_what_is_followed_ends_at_once(world, programs):
    for program in programs:
        world.start(program, {**FAKE, 'max_rate_hz': 1.0} if program != 'mask_tokenizer' else FAKE)
    scene = Scene(world, split=len(programs) > 1)
    scene.set_goal('one mug')
    scene.show()
    scene.masks_of()
    later = START_NS + STEP_NS
    scene.show(later)
    scene.masks.wait(lambda m: stamp_ns(m) == later)
    assert world.peer.call(Trigger, 'clear').success
    end = scene.masks.wait(lambda m: m.origin and m.status == RegionMasks.CANCELLED)
    assert end.message == 'nothing is followed any more: the goal was cleared'
    said = scene.words.messages[-1]
    assert (said.complete, said.status, said.message, said.words, said.goal_id) == (
        True, MaskWords.CANCELLED, 'the goal was cleared', [], 1)
    scene.target.wait(lambda m: stamp_ns(m) == later and not any(m.data))
    # The same goal can be set again: it is a new one, and what it finds is followed.
    scene.set_goal('one mug')
    again = scene.masks.wait(lambda m: m.goal_id == 2 and m.complete)
    assert [mask.track_id for mask in again.masks] == [2]
    scene.show(later + STEP_NS)
    scene.masks.wait(lambda m: m.origin and m.goal_id == 2)


@pytest.mark.parametrize('programs', [('perception',), ('grounding', 'mask_tokenizer')])
def test_stamps_when_a_bag_begins_anew_without_its_clock_then_each_round_is_followed(
        world, programs):
    # Reliable: a node that has missed the end of a round sees no step back in the next one.
    for program in programs:
        world.start(program, {**FAKE, 'max_rate_hz': 0.2, 'input.reliability': 'reliable',
                              'input.depth': 100})
    scene = Scene(world, split=len(programs) > 1)
    scene.set_goal('one mug')
    stamps = [START_NS + number * SECOND_NS // 2 for number in range(4)]
    for turn in range(3):
        scene.masks.messages.clear()
        scene.target.messages.clear()
        for number, ns in enumerate(stamps):
            scene.show(ns, seed=turn)
            masks = scene.masks.wait(lambda m, ns=ns: m.complete and stamp_ns(m) == ns)
            assert masks.origin == (RegionMasks.TRACKED if number else RegionMasks.ANSWERED)
            scene.target.wait(lambda m, ns=ns: stamp_ns(m) == ns)
    world.programs[0].wait_for_log('stamps of the images step back to 1700000000.123456789')


def test_images_when_every_one_is_answered_then_none_is_followed(world):
    world.start('perception', REPLAY)
    scene = Scene(world)
    scene.set_goal('one mug')
    stamps = [START_NS + number * STEP_NS for number in range(5)]
    for ns in stamps:
        scene.show(ns)
    scene.masks_of(stamps[-1])
    assert {m.origin for m in scene.masks.messages} == {RegionMasks.ANSWERED}
    text = scene.peer.health('mask_tokenizer', 'tracking')[1]
    assert text == ('nothing is followed: track.policy is none, or every image is answered '
                    '(input.every_frame)')


def test_policy_when_the_model_cannot_do_it_then_configure_says_what_it_can(world):
    program = world.start('mask_tokenizer', {**FAKE, 'track.policy': 'memory'})
    program.wait_for_log('configure failed: track.policy memory cannot be used: the fake model has '
                         'no video memory of SAM 2: expected track.policy none, hold, redecode or '
                         'reencode, got memory')
