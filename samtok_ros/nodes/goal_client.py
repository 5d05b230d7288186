# SPDX-License-Identifier: Apache-2.0
"""Sets the standing goal of running nodes and waits for the first answer; for `samtok goal`."""

import time
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from sensor_msgs.msg import CompressedImage

from samtok_ros.errors import DeviceError
from samtok_ros.image.encodings import MAX_PIXELS
from samtok_ros.interface.ros_names import BOTH, GROUNDING
from samtok_ros.language.instructions import goal_instruction
from samtok_ros.masks.boxes import with_mask
from samtok_ros.msg import Goal, MaskWords, RegionMasks
from samtok_ros.nodes.conversions import goal_text, stamp_to_ns
from samtok_ros.nodes.lifting_messages import masks_to_set
from samtok_ros.nodes.perception_client import PerceptionClient, Say
from samtok_ros.nodes.publishers import picture_qos, results_qos
from samtok_ros.regions import Answer, Region
from samtok_ros.runtime.compressed import decode_image
from samtok_ros.runtime.records import Status
from samtok_ros.words.answers import PUBLISHED, read_answer
from samtok_ros.words.record_reader import read_record

_NODE_NAME = 'samtok_goal'
_FIRST_WORD_S = 5.0
"""After this time without an answer it is said what diagnostics complain about."""

_PICTURE_WAIT_S = 10.0


@dataclass(frozen=True, eq=False)
class Reply:
    """The first complete answer to a goal.

    Attributes:
        answer: with its regions and their masks.
        status: how it ended.
        goal_id: number of the standing goal.
        stamp_ns, frame_id: of the image that it is about.
        age_s: how old that image was when the masks came.
        tokenizer_id: mask tokenizer that the codes belong to.
        picture_rgb: (H, W, 3) uint8, an image with the regions drawn in; None where nobody asked.
        picture_later_s: how much later than the image of the answer that image was taken.
    """

    answer: Answer
    status: Status
    goal_id: int
    stamp_ns: int
    frame_id: str
    age_s: float
    tokenizer_id: str
    picture_rgb: np.ndarray | None = None
    picture_later_s: float = 0.0


def ask_goal(namespace: str, text: str, wait_s: float, say: Say, *, with_picture: bool) -> Reply:
    """Set the standing goal of running nodes, and wait for the first complete answer to it.

    Args:
        namespace: of the nodes.
        text: what to look for.
        wait_s: for the nodes and the answer together.
        say: told, one line at a time, what keeps it waiting.
        with_picture: whether the picture is wanted.
    Raises:
        ConfigError: the goal cannot be asked, or the nodes are not active.
        DeviceError: nobody is there, no answer came in time, or it failed.
    """
    # A message refuses long texts with an assertion only; the text alone can be checked too.
    text = goal_text(SimpleNamespace(text=text))
    goal_instruction(text)
    with PerceptionClient(_NODE_NAME, namespace) as client:
        return _GoalClient(client, say, time.monotonic() + wait_s).ask(text, with_picture)


def clear_goal(namespace: str, wait_s: float, say: Say) -> None:
    """End the standing goal of running nodes.

    Raises:
        DeviceError: nobody is there, or it was not confirmed in time.
    """
    with PerceptionClient(_NODE_NAME, namespace) as client:
        _GoalClient(client, say, time.monotonic() + wait_s).clear()


class _GoalClient:
    """One goal on its way, and what comes back."""

    def __init__(self, client: PerceptionClient, say: Say, until_s: float) -> None:
        self._client = client
        self._say = say
        self._until_s = until_s
        self._text = ''
        self._words: dict[int, MaskWords] = {}
        self._masks: dict[int, RegionMasks] = {}
        self._ages_s: dict[int, float] = {}
        self._ours: set[int] = set()
        self._not_ours: set[int] = set()
        self._overlay: CompressedImage | None = None
        self._publisher = client.node.create_publisher(Goal, 'goal', results_qos())

    def ask(self, text: str, with_picture: bool) -> Reply:
        listen = self._client.node.create_subscription
        ends = [listen(MaskWords, 'mask_words', self._on_words, results_qos()),
                listen(RegionMasks, 'masks', self._on_masks, results_qos())]
        if with_picture:
            ends.append(listen(CompressedImage, 'overlay/compressed', self._on_overlay,
                               picture_qos()))
        self._client.meet(BOTH, 'goal', self._until_s, self._say, active=True)
        for end in ends:
            self._client.connect(end.topic_name, end.get_publisher_count, self._until_s)
        self._client.learn_time()
        self._send(text)
        stamp_ns = self._wait_for_answer()
        reply = self._reply(self._words[stamp_ns], self._masks[stamp_ns])
        return self._with_picture(reply) if with_picture else reply

    def clear(self) -> None:
        self._client.meet([GROUNDING], 'goal', self._until_s, self._say, active=False)
        self._send('')
        self._client.health.forget()
        if not self._client.wait_for(self._no_goal_stands, self._until_s):
            raise DeviceError('nobody has confirmed that the goal is cleared',
                              fix='look at the log of the node grounding, and raise --wait')

    def _no_goal_stands(self) -> bool:
        return self._client.health.value(GROUNDING, 'inference', 'goal_id') == '0'

    def _send(self, text: str) -> None:
        self._client.connect('goal', self._publisher.get_subscription_count, self._until_s)
        self._text = text
        self._publisher.publish(Goal(text=text))

    def _on_words(self, message: MaskWords) -> None:
        if self._text and message.complete and message.goal == self._text and message.goal_id:
            self._words[stamp_to_ns(message.header.stamp)] = message

    def _on_masks(self, message: RegionMasks) -> None:
        if not message.complete:
            return
        stamp_ns = stamp_to_ns(message.header.stamp)
        if not self._text or message.goal != self._text or not message.goal_id:
            self._not_ours.add(stamp_ns)
            return
        self._ours.add(stamp_ns)
        if message.origin == RegionMasks.ANSWERED:
            self._masks[stamp_ns] = message
            self._ages_s[stamp_ns] = self._client.age_s(message.header.stamp)

    def _on_overlay(self, message: CompressedImage) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if self._overlay is not None or stamp_ns < min(self._masks, default=stamp_ns + 1):
            return
        # It does not say which goal it belongs to; where two were answered in one image, look on.
        if stamp_ns in self._ours - self._not_ours:
            self._overlay = message

    def _wait_for_answer(self) -> int:
        """Return the stamp of the image that was answered first."""
        complain_s = time.monotonic() + _FIRST_WORD_S
        while time.monotonic() < self._until_s:
            for stamp_ns, words in self._words.items():
                _check_ended_well(words)
                if stamp_ns in self._masks:
                    return stamp_ns
            if time.monotonic() > complain_s:
                complain_s = self._until_s
                self._say(f'no answer yet: {self._complaints() or "the model is busy"}')
            self._client.spin()
        raise self._no_answer()

    def _complaints(self) -> str:
        _, bad = self._client.health.worst()
        return '; '.join(f'{name}: {text}' for name, text in bad.items())

    def _no_answer(self) -> DeviceError:
        complaints = self._complaints()
        if self._words:
            return DeviceError('the answer came in words, but its masks did not come',
                               got=complaints or None, fix='look at samtok watch and at the log of '
                               'the node mask_tokenizer')
        if 'no image' in complaints:
            return DeviceError('no image arrives, so the goal cannot be answered', got=complaints,
                               fix='the goal stands: it is answered as soon as an image comes')
        return DeviceError(f'no answer to {self._text!r} in time', got=complaints or
                           'nothing that diagnostics complain about',
                           fix='raise --wait; the goal stands, and samtok watch shows what comes')

    def _reply(self, words: MaskWords, masks: RegionMasks) -> Reply:
        found = masks_to_set(masks)
        regions = tuple(with_mask(
            Region(thing.region_id, tuple(mask.codes), thing.label, thing.score),
            thing.read_mask(), thing.mask_score)
            for mask, thing in zip(masks.masks, found.things, strict=True))
        answer = Answer(
            words.answer, regions, read_answer(words.answer, PUBLISHED).malformed,
            'length' if words.status == Status.TRUNCATED else 'stop',
            read_record(words.answer, default_label=self._text))
        return Reply(answer, Status(words.status), words.goal_id, found.stamp_ns, found.frame_id,
                     self._ages_s[found.stamp_ns], words.tokenizer_id)

    def _with_picture(self, reply: Reply) -> Reply:
        overlay = self._client.wait_for(lambda: self._overlay, time.monotonic() + _PICTURE_WAIT_S)
        if overlay is None:
            raise DeviceError('the answer came, but no picture of it',
                              got=self._complaints() or None,
                              fix='try again, or leave --out away')
        later_s = (stamp_to_ns(overlay.header.stamp) - reply.stamp_ns) / 1e9
        return replace(reply, picture_rgb=decode_image(overlay.data, MAX_PIXELS),
                       picture_later_s=later_s)


def _check_ended_well(words: MaskWords) -> None:
    if words.status == MaskWords.FAILED:
        raise DeviceError('the model could not answer', got=words.message.rstrip('.'),
                          fix='the goal stands; samtok watch shows what comes')
    if words.status == MaskWords.CANCELLED:
        raise DeviceError('the answer was cancelled: another goal took the place of this one, it '
                          'was cleared, or the node was deactivated', fix='ask again')
