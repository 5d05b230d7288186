# SPDX-License-Identifier: Apache-2.0
"""Services of the mask tokenizer node: what they promise, and that they always answer."""

from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from harness import (
    ACTIVATE,
    CONFIGURE,
    DEACTIVATE,
    FAKE,
    SECOND_NS,
    START_NS,
    Scene,
    World,
    own_domain,
    reliable,
    set_stamp,
    stamp_ns,
    wait_until,
)
from mask_bench import CORNER, HEIGHT, MIDDLE, TOKENIZER_ID, TOP, WIDTH, MaskBench, words_of
from sensor_msgs.msg import RegionOfInterest

from samtok_ros.masks.rle import mask_to_rle, rle_to_mask
from samtok_ros.masks.scores import iou
from samtok_ros.msg import MaskWord, RegionMasks, RegionReference
from samtok_ros.nodes.mask_services import MaskServices
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.shared import SharedRuntime
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.srv import DecodeMaskWords, EncodeMask, GetCachedFrames

KEPT = 4
NEWEST_NS = START_NS + 9 * SECOND_NS


@pytest.fixture(scope='module')
def bench(tmp_path_factory):
    """One process with four frames in its cache, for the tests that leave them alone."""
    with own_domain() as domain:
        world = World(domain, tmp_path_factory.mktemp('mask_services'))
        try:
            bench = MaskBench(world, **{'cache.frames': KEPT})
            for number in range(10):
                bench.show(START_NS + number * SECOND_NS, seed=number)
            bench.peer.value('mask_tokenizer', 'input', 'topic', bool)
            wait_until(lambda: stamps(frames(bench)) == [
                NEWEST_NS - number * SECOND_NS for number in range(KEPT)], 'all images cached')
            yield bench
        finally:
            world.close()


def time_of(ns):
    return Time(sec=ns // SECOND_NS, nanosec=ns % SECOND_NS)


def decode(bench, *codes, ns=NEWEST_NS, **fields):
    return bench.peer.call(DecodeMaskWords, 'decode_mask_words', **{
        'stamp': time_of(ns), 'tokenizer_id': TOKENIZER_ID, 'words': words_of(codes), **fields})


def encode(bench, *regions, ns=NEWEST_NS):
    return bench.peer.call(EncodeMask, 'encode_mask', stamp=time_of(ns), regions=list(regions))


def frames(bench, max_frames=0):
    return bench.peer.call(GetCachedFrames, 'get_cached_frames', max_frames=max_frames)


def stamps(response):
    return [stamp_ns(frame) for frame in response.frames]


def mask_reference(mask):
    return RegionReference(kind=RegionReference.MASK, rle=mask_to_rle(mask).tolist())


def box_reference(x, y, width, height, **fields):
    return RegionReference(kind=RegionReference.BOX, box=RegionOfInterest(
        x_offset=x, y_offset=y, width=width, height=height, **fields))


def point_reference(x, y):
    return RegionReference(kind=RegionReference.POINT, point_x=x, point_y=y)


def box_mask(x, y, width, height):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y:y + height, x:x + width] = True
    return mask


def mask_of(message):
    return rle_to_mask(np.array(message.rle), (HEIGHT, WIDTH))


def test_decode_when_the_frame_is_cached_then_one_mask_per_word_comes_in_order(bench):
    codes = (MIDDLE, CORNER, MIDDLE)
    response = decode(bench, words=words_of(codes, scores=[0.5, 0.25, 1.0],
                                            labels=['mug', '', 'cup'], ids=[4, 0, 9]))
    assert (response.success, response.message) == (True, '')
    masks = response.masks
    assert stamp_ns(masks) == NEWEST_NS
    assert masks.header.frame_id == 'camera_color_optical_frame'
    assert (masks.height, masks.width, masks.tokenizer_id) == (HEIGHT, WIDTH, TOKENIZER_ID)
    assert (masks.complete, masks.status, masks.goal_id) == (True, RegionMasks.OK, 0)
    assert [(m.id, tuple(m.codes), m.label, m.score) for m in masks.masks] == [
        (4, MIDDLE, 'mug', 0.5), (0, CORNER, '', 0.25), (9, MIDDLE, 'cup', 1.0)]
    for mask in masks.masks:
        assert mask_of(mask).sum() == mask.area_px > 0
        assert mask.mask_score > 0
    assert list(masks.masks[0].rle) == list(masks.masks[2].rle)


def test_decode_when_the_same_words_come_on_the_topic_then_the_masks_are_the_same(bench):
    ns = NEWEST_NS - SECOND_NS
    by_call = decode(bench, MIDDLE, TOP, ns=ns).masks
    bench.say(ns, MIDDLE, TOP)
    by_topic = bench.masks_of(ns)
    assert [list(m.rle) for m in by_call.masks] == [list(m.rle) for m in by_topic.masks]


def test_decode_when_no_stamp_is_given_then_the_newest_frame_is_taken(bench):
    response = decode(bench, MIDDLE, ns=0, tokenizer_id='')
    assert response.success, response.message
    assert stamp_ns(response.masks) == NEWEST_NS


@pytest.mark.parametrize('fields, texts', [
    ({'stamp': time_of(START_NS)}, ['no image with this stamp is in the cache', 'got 1700000000.12',
                                    '1700000009.123456789, 1700000008.123456789']),
    ({'stamp': Time(sec=-5, nanosec=7)}, ['no image with this stamp']),
    ({'tokenizer_id': 'other@1'}, ["'other@1'", TOKENIZER_ID, 'Give both nodes the same model']),
    ({'words': []}, ['no words to decode']),
    ({'words': words_of([MIDDLE, (1, 256)])}, ['word 2', 'expected 2 codes below 256']),
    ({'words': words_of([(1, 2, 3)])}, ['word 1', 'got [1, 2, 3]']),
    ({'words': [MaskWord(id=3)]}, ['needs codes']),
    ({'words': words_of([MIDDLE], scores=[float('nan')])}, ['score of word 1 is no probability']),
])
def test_decode_when_it_cannot_be_done_then_the_message_says_why(bench, fields, texts):
    response = decode(bench, MIDDLE, **fields)
    assert not response.success
    assert len(response.masks.masks) == 0
    for text in texts:
        assert text in response.message


def test_encode_when_regions_are_given_in_all_ways_then_words_and_overlaps_come(bench):
    mask = box_mask(16, 12, 20, 14) & ~box_mask(24, 16, 4, 4)
    response = encode(bench, mask_reference(mask), box_reference(16, 12, 20, 14),
                      point_reference(40.0, 30.0))
    assert (response.success, response.message) == (True, '')
    words = response.words
    assert (stamp_ns(words), words.complete, words.tokenizer_id) == (NEWEST_NS, True, TOKENIZER_ID)
    assert (words.height, words.width) == (HEIGHT, WIDTH)
    assert [(w.id, w.score, w.label) for w in words.words] == [(n, 0.0, '') for n in (1, 2, 3)]
    again = decode(bench, *(tuple(word.codes) for word in words.words)).masks.masks
    given = [mask, box_mask(16, 12, 20, 14)]
    for given_mask, decoded, overlap in zip(given, again, response.round_trip_iou, strict=False):
        assert iou(given_mask, mask_of(decoded)) == pytest.approx(overlap, abs=1e-6)
    assert len(response.round_trip_iou) == 3
    assert response.round_trip_iou[1] > 0.6
    assert mask_of(again[2])[30, 40]


@pytest.mark.parametrize('region, text', [
    (None, 'there are no regions to encode'),
    (RegionReference(kind=RegionReference.CODES, codes=[1, 2]), 'region 1 is given by codes or id'),
    (RegionReference(kind=RegionReference.ID, id=1), 'region 1 is given by codes or id'),
    (RegionReference(kind=RegionReference.ID), 'region 1: kind is ID, but id is 0'),
    (RegionReference(kind=9), 'region 1: unknown kind: expected 0 to 4, got 9'),
    (RegionReference(kind=RegionReference.MASK), 'region 1: kind is MASK, but rle is empty'),
    (RegionReference(kind=RegionReference.MASK, rle=[5, 6]), 'a sum of 48 x 64 = 3072, got 11'),
    (RegionReference(kind=RegionReference.MASK, rle=[2**32 - 1] * 65536), 'got 281474976645120'),
    (mask_reference(np.zeros((HEIGHT, WIDTH), bool)), 'region 1 is empty'),
    (box_reference(60, 0, 5, 5), 'box of region 1 is not inside the image'),
    (box_reference(2**32 - 1, 0, 2**32 - 1, 5), 'box of region 1 is not inside the image'),
    (box_reference(5, 5, 0, 5), 'region 1: box has no pixels'),
    (box_reference(5, 5, 5, 5, do_rectify=True), 'region 1: box asks for do_rectify'),
    (point_reference(float('nan'), 5.0), 'region 1: point is no number'),
    (point_reference(5.0, float('inf')), 'region 1: point is no number'),
    (point_reference(64.0, 5.0), 'point of region 1 is not inside the image'),
])
def test_encode_when_it_cannot_be_done_then_the_message_says_why(bench, region, text):
    response = encode(bench, *([] if region is None else [region]))
    assert not response.success
    assert text in response.message
    assert (len(response.words.words), len(response.round_trip_iou)) == (0, 0)


def test_frames_when_listed_then_newest_first_with_size_and_whether_features_are_held(bench):
    decode(bench, MIDDLE)
    listed = frames(bench)
    assert listed.success
    assert stamps(listed) == [NEWEST_NS - number * SECOND_NS for number in range(KEPT)]
    for frame in listed.frames:
        assert (frame.height, frame.width) == (HEIGHT, WIDTH)
        assert frame.header.frame_id == 'camera_color_optical_frame'
    assert [frame.features_cached for frame in listed.frames][::3] == [True, False]
    assert stamps(frames(bench, max_frames=2)) == stamps(listed)[:2]


def test_calls_when_they_come_in_parallel_then_each_gets_its_own_answer(bench):
    node = bench.peer.node
    # Each reads the answers to all of them, and keeps ten of those by default.
    clients = [node.create_client(DecodeMaskWords, 'decode_mask_words', qos_profile=reliable(100))
               for _ in range(4)]
    listing = node.create_client(GetCachedFrames, 'get_cached_frames')
    bench.peer.settle('mask_tokenizer')
    for client in (*clients, listing):
        assert client.wait_for_service(30.0)
    wanted = [(number, 0x33) for number in range(24)]
    futures = [clients[number % 4].call_async(DecodeMaskWords.Request(
        stamp=time_of(NEWEST_NS), words=words_of([codes]))) for number, codes in enumerate(wanted)]
    lists = [listing.call_async(GetCachedFrames.Request()) for _ in range(4)]
    wait_until(lambda: all(future.done() for future in (*futures, *lists)), 'all answers')
    assert [tuple(future.result().masks.masks[0].codes) for future in futures] == wanted
    assert all(len(future.result().frames) == KEPT for future in lists)
    for client in (*clients, listing):
        node.destroy_client(client)


def test_calls_when_counted_then_diagnostics_show_them_and_their_last_failure(bench):
    decode(bench, MIDDLE, tokenizer_id='other@1')
    facts = bench.peer.health('mask_tokenizer', 'inference', lambda found: int(
        found[2].get('calls_failed', 0)) > 0)[2]
    assert int(facts['calls']) > int(facts['calls_failed'])
    bench.peer.health('mask_tokenizer', 'words', lambda found: 'decode_mask_words failed: they '
                      "belong to mask tokenizer 'other@1'" in found[2]['last_problem'])


def test_calls_when_the_node_is_not_active_then_the_answer_says_what_to_do(world):
    world.start('mask_tokenizer', {'model.backend': 'fake'})
    bench = type('Unready', (), {'peer': world.peer})
    for transition in (None, CONFIGURE, ACTIVATE, DEACTIVATE):
        if transition:
            assert world.peer.change('mask_tokenizer', transition)
        for response in (decode(bench, MIDDLE), encode(bench, point_reference(1.0, 1.0)),
                         frames(bench)):
            if transition == ACTIVATE:
                assert 'not active' not in response.message
                continue
            assert not response.success
            assert '/samtok/mask_tokenizer is not active' in response.message
            assert 'ros2 lifecycle set /samtok/mask_tokenizer configure' in response.message
        if transition == ACTIVATE:
            assert frames(bench).success
            assert 'no image is in the cache' in decode(bench, MIDDLE).message


def test_decode_when_the_node_was_inactive_since_the_image_came_then_it_is_not_the_newest(world):
    bench = MaskBench(world)
    bench.show(START_NS)
    wait_until(lambda: frames(bench).frames, 'the image in the cache')
    for transition in (DEACTIVATE, ACTIVATE):
        assert world.peer.change('mask_tokenizer', transition)
    response = decode(bench, MIDDLE, ns=0, tokenizer_id='')
    assert not response.success
    assert 'no image has come since the node was activated' in response.message
    assert decode(bench, MIDDLE, ns=START_NS).success


def test_calls_when_the_model_is_busy_or_the_node_stops_then_they_are_answered(world):
    bench = MaskBench(world, **{'fake.decode_s': 1.0, 'services.time_limit_s': 0.05})
    bench.show(START_NS)
    wait_until(lambda: frames(bench).frames, 'the image in the cache')
    response = decode(bench, MIDDLE, ns=START_NS)
    assert not response.success
    assert 'the model is busy: expected a free moment within 0.05 s' in response.message
    assert 'services.time_limit_s' in response.message
    client = world.peer.node.create_client(DecodeMaskWords, 'decode_mask_words')
    world.peer.settle('mask_tokenizer')
    assert client.wait_for_service(30.0)
    waiting = client.call_async(DecodeMaskWords.Request(words=words_of([MIDDLE])))
    assert world.peer.change('mask_tokenizer', DEACTIVATE)
    wait_until(waiting.done, 'an answer')
    assert not waiting.result().success
    assert waiting.result().message
    assert world.peer.change('mask_tokenizer', ACTIVATE)


def test_calls_when_an_answer_is_spoken_in_the_same_process_then_they_are_let_in_between(world):
    world.start('perception', {**FAKE, 'fake.token_s': 0.1})
    scene = Scene(world)
    scene.set_goal('many things')
    scene.show()
    scene.words.wait()
    codes = tuple(scene.words.messages[0].words[0].codes)
    response = decode(scene, codes, ns=START_NS)
    assert response.success, response.message
    region = encode(scene, mask_reference(mask_of(response.masks.masks[0])), ns=START_NS)
    assert region.success, region.message
    listed = frames(scene)
    assert [(stamp_ns(frame), frame.features_cached) for frame in listed.frames] == [
        (START_NS, True)]
    assert not [message for message in scene.words.messages if message.complete]
    header = type(response.masks.header)()
    set_stamp(header, START_NS)
    assert response.masks.header.stamp == header.stamp


@pytest.mark.parametrize('name, request_, text', [
    ('decode_mask_words', DecodeMaskWords.Request(words=words_of([MIDDLE]) * 65),
     'words is too long: expected at most 64 items, got 65'),
    ('decode_mask_words', DecodeMaskWords.Request(words=words_of([MIDDLE], labels=['x' * 257])),
     'words.label is too long: expected at most 256 bytes, got 257 bytes'),
    ('encode_mask', EncodeMask.Request(regions=[point_reference(1.0, 1.0)] * 65),
     'regions is too long: expected at most 64 items, got 65'),
    ('encode_mask', EncodeMask.Request(regions=[RegionReference(
        kind=RegionReference.MASK, rle=[1] * 65537)]), 'at most 65536 items, got 65537'),
])
def test_calls_when_a_peer_sends_more_than_the_definitions_allow_then_they_are_refused(
        name, request_, text):
    # Our own client would refuse to send it; what other middleware sends is read all the same.
    callbacks, reported = {}, []
    node = SimpleNamespace(
        runtime=SharedRuntime(), statistics=Statistics(), problems=ProblemLog(reported.append),
        create_service=lambda kind, name, callback, **_: callbacks.update({name: (kind, callback)}))
    MaskServices(node)
    kind, callback = callbacks[name]
    response = callback(request_, kind.Response())
    assert not response.success
    assert text in response.message
    assert reported == [f'{name} failed: {response.message}']
