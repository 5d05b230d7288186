# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer of another process that dies, or does not answer."""

import threading
import time
from types import SimpleNamespace

import pytest
from action_msgs.msg import GoalStatus
from harness import FAKE, Scene, wait_until
from rclpy.task import Future

from samtok_ros.action import Ground
from samtok_ros.errors import DeviceError, ImageError
from samtok_ros.msg import RegionMasks
from samtok_ros.nodes.remote_masks import RemoteMaskTokenizer
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.records import FrameResult
from samtok_ros.srv import DecodeMaskWords

RESULT = FrameResult(5, 'camera', ImageSize(48, 64), 'fake@1', 'mug', 1, '', complete=True)


class Client:
    """A client of a service that is there for a while and never answers."""

    def __init__(self, looks=10 ** 9):
        self.srv_name = '/samtok/decode_mask_words'
        self.pending = []
        self._looks = looks

    def service_is_ready(self):
        self._looks -= 1
        return self._looks > 0

    def call_async(self, request):
        self.pending.append(Future())
        return self.pending[-1]

    def remove_pending_request(self, future):
        self.pending.remove(future)


def remote_with(client):
    return RemoteMaskTokenizer(SimpleNamespace(create_client=lambda *_, **__: client))


def test_decode_when_the_service_goes_away_then_it_ends_without_waiting_for_an_answer():
    client = Client(looks=3)
    with pytest.raises(DeviceError, match='went away before it answered. Start the mask_tokenizer'):
        remote_with(client).decode(RESULT, lambda: False)
    assert client.pending == []


@pytest.mark.parametrize('frame_id, size, text', [
    ('right_camera', (48, 64), "another camera with this stamp: expected 'camera', got 'right_cam"),
    ('camera', (24, 32), 'another image with this stamp: expected 48 x 64, got 24 x 32')])
def test_decode_when_the_other_process_has_another_image_then_no_mask_comes_of_it(
        frame_id, size, text):
    client = Client()
    masks = RegionMasks(height=size[0], width=size[1])
    masks.header.frame_id = frame_id

    def answered(request):
        future = Future()
        future.set_result(DecodeMaskWords.Response(success=True, masks=masks))
        return future

    client.call_async = answered
    with pytest.raises(ImageError, match=text):
        remote_with(client).decode(RESULT, lambda: False)


def test_decode_when_it_should_stop_then_it_ends_and_says_how_long_it_waited():
    client, stop = Client(), threading.Event()
    threading.Timer(0.2, stop.set).start()
    begun_s = time.monotonic()
    with pytest.raises(DeviceError, match=r'did not answer in time: expected an answer within \d'):
        remote_with(client).decode(RESULT, stop.is_set)
    assert time.monotonic() - begun_s < 10
    assert client.pending == []


def test_goal_when_the_mask_tokenizer_was_killed_then_it_ends_soon_with_words_and_the_reason(world):
    world.start('grounding')
    tokenizer = world.start('mask_tokenizer', {**FAKE, 'words.wait_s': 0.1})
    scene = Scene(world, split=True)
    scene.show()
    for node, name in (('grounding', 'frames_in'), ('mask_tokenizer', 'frames_cached')):
        world.peer.value(node, 'inference', name, lambda value: value == '1')
    send = world.peer.action(Ground, 'ground')
    wait_until(lambda: len(send(text='one mug').wait()[1].masks.masks) == 1, 'a goal with masks')
    tokenizer.kill()
    world.programs.remove(tokenizer)
    begun_s = time.monotonic()
    status, found = send(text='one mug', time_limit_s=1.0).wait()
    assert time.monotonic() - begun_s < 15  # Half of what it took once, whatever the limit said.
    assert (status, len(found.words.words)) == (GoalStatus.STATUS_SUCCEEDED, 1)
    assert found.masks.masks == []
    assert found.masks.status == RegionMasks.FAILED
    assert 'decode_mask_words' in found.masks.message
