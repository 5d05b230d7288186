# SPDX-License-Identifier: Apache-2.0
"""Following without ROS: a worker, a fake mask tokenizer, and answers handed in by a test."""

import threading
from dataclasses import replace

import numpy as np

from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult, Status
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.tracking import MaskTracking
from samtok_ros.runtime.worker import Priority, Worker
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings, TrackSettings
from samtok_ros.settings.shared import FakeSettings
from samtok_ros.tracking.policies import Redecode, make_policy

WAIT_S = 30
SIZE = ImageSize(48, 64)
SECOND_NS = 1_000_000_000
MIDDLE, CORNER = (0x77, 0x33), (0x11, 0x11)


def frame(stamp_ns, size=SIZE):
    return Frame(stamp_ns, 'camera', lambda: np.zeros((*_hw(size), 3), np.uint8), 9216)


def _hw(size):
    return size.height, size.width


class Walking(Redecode):
    """Redecode that says it goes from image to image, and notes which."""

    walks = True

    def __init__(self, access):
        super().__init__(access)
        self.looked_at = []

    def find(self, frame, tracks):
        self.looked_at.append(frame.stamp_ns)
        return super().find(frame, tracks)


def let_speak(worker):
    """Let a worker speak, as for an action, until the event that is returned is set."""
    began, over = threading.Event(), threading.Event()

    def say():
        began.set()
        while not over.wait(0.001):
            worker.let_urgent_in(Priority.QUESTION)

    worker.submit(Priority.ACTION, say)
    worker.start()
    assert began.wait(WAIT_S)
    return over


class Bench:
    """Following with its worker, and a clock that stands until it is moved."""

    def __init__(self, policy='redecode', make=make_policy, shares_worker=False, **track):
        self.now = 100.0
        self.published, self.lines, self.errors = [], [], []
        self.worker = Worker(on_error=self.errors.append)
        self.frames = FrameCache(100, 10 ** 9)
        self.problems = ProblemLog(self.lines.append, period_s=0)
        self.statistics = Statistics()
        self.loaded = FakeBackend(FakeSettings()).load_masks()
        self.access = LocalMaskAccess(self.loaded, self.frames, self.statistics)
        settings = MaskTokenizerSettings(track=TrackSettings(policy=policy, **track))
        self.tracking = MaskTracking(
            self.worker, lambda result, frame: self.published.append(result), self.problems,
            self.statistics, shares_worker, now=lambda: self.now)
        self.policy = make(settings.track, self.access)
        self.tracking.configure(settings, self.policy, self.frames)
        self.tracking.open()

    def run(self):
        """Let the worker do what waits; return what was published."""
        self.worker.start()
        assert self.worker.flush(Priority.TRACK, WAIT_S)
        return self.published

    def arrive(self, stamp_ns, size=SIZE):
        arrived = frame(stamp_ns, size)
        self.frames.put(arrived)
        self.tracking.frame_arrived(arrived)
        return arrived

    def answer(self, stamp_ns, *codes, **fields):
        """Hand in a decoded answer as the node does; return it with numbers."""
        there = self.frames.get(stamp_ns) or self.arrive(stamp_ns)
        result = self.decoded(there, *codes, **fields)
        self.tracking.words_arrived(result)
        result = self.tracking.take_answer(result, there)
        self.tracking.catch_up(result)
        return result

    def decoded(self, there, *codes, **fields):
        drawn = self.access.draw(there, codes)
        regions = tuple(Region(number, words, 'mug', 0.5, *drawn[words][:1])
                        for number, words in enumerate(codes, start=1))
        return replace(FrameResult(there.stamp_ns, 'camera', SIZE, 'fake@1', 'mugs', 1, '', True,
                                   regions), **fields)

    def cancel(self, stamp_ns, **fields):
        """Let words of a cancelled answer arrive, without their image."""
        self.tracking.words_arrived(self.decoded(
            frame(stamp_ns), status=Status.CANCELLED, **fields))

    def close(self):
        self.tracking.close()
        assert self.worker.stop(WAIT_S)
        assert not self.errors
