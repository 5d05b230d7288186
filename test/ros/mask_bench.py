# SPDX-License-Identifier: Apache-2.0
"""A mask tokenizer that runs alone; the test plays the camera and the language model."""

from harness import FAKE, image_message, is_answer, latched, pixels, set_stamp, stamp_ns
from sensor_msgs.msg import Image

from samtok_ros.msg import MaskWord, MaskWords, RegionMasks

HEIGHT, WIDTH = 48, 64
TOKENIZER_ID = 'fake@0000000000000001'
MIDDLE, CORNER, TOP = (0x77, 0x33), (0x11, 0x11), (0x37, 0x33)
"""Codes of the fake mask tokenizer: something in the middle, in a corner, and above the middle."""


class MaskBench:
    """The node with images that are never lost and words from the test."""

    def __init__(self, world, **parameters):
        self.program = world.start('mask_tokenizer', {
            **FAKE, 'input.reliability': 'reliable', 'input.depth': 1000,
            'track.policy': 'none', **parameters})
        self.peer = world.peer
        self.images = self.peer.publisher(Image, 'image')
        self.words = self.peer.publisher(MaskWords, 'mask_words')
        self.masks = self.peer.listen(RegionMasks, 'masks')
        self.target = self.peer.listen(Image, 'target/mask', latched())
        for received in (self.masks, self.target):
            self.wait_for_listeners(received.topic, 1)

    def wait_for_listeners(self, topic, count):
        """Wait until the node knows at least so many subscriptions."""
        self.peer.value('mask_tokenizer', 'output', f'/samtok/{topic}',
                        lambda text: int((text or '0').split()[0]) >= count)

    def show(self, ns, seed=0, height=HEIGHT, width=WIDTH):
        self.images.publish(image_message(ns, pixels(seed, height, width)))

    def say(self, ns, *codes, scores=None, labels=None, ids=None, **fields):
        """Publish words for an image: one region for each pair of codes."""
        message = MaskWords(height=HEIGHT, width=WIDTH, tokenizer_id=TOKENIZER_ID, goal='mugs',
                            goal_id=1, answer='mugs', complete=True)
        set_stamp(message.header, ns)
        message.header.frame_id = 'camera_color_optical_frame'
        message.words = words_of(codes, scores, labels, ids)
        for name, value in fields.items():
            setattr(message, name, value)
        self.words.publish(message)

    def masks_of(self, ns, timeout_s=90.0):
        return self.masks.wait(lambda m: is_answer(m) and stamp_ns(m) == ns, timeout_s=timeout_s)

    def ask(self, ns, *codes, **fields):
        """Show an image, say words for it, and return its masks."""
        self.show(ns)
        self.say(ns, *codes, **fields)
        return self.masks_of(ns)


def words_of(codes, scores=None, labels=None, ids=None):
    return [MaskWord(id=(ids or range(1, 100))[i], codes=list(pair),
                     score=(scores or [0.5] * 99)[i], label=(labels or ['mug'] * 99)[i])
            for i, pair in enumerate(codes)]

