# SPDX-License-Identifier: Apache-2.0
"""A grounding side without ROS: a worker, a fake model, and callers that wait in threads."""

import threading
import time
from contextlib import contextmanager

import numpy as np

from samtok_ros.errors import DeviceError, ImageError
from samtok_ros.runtime.answering import Answering
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.runtime.frame_cache import Frame
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.requests import Request, Task
from samtok_ros.runtime.shared import SharedRuntime, SharedSettings
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.tickets import Ended, Stop
from samtok_ros.runtime.worker import Priority
from samtok_ros.settings.grounding import GroundingSettings
from samtok_ros.settings.shared import CacheSettings, FakeSettings, InputSettings, ModelSettings

WAIT_S = 30
CANCEL = Stop(Ended.CANCELLED, 'cancelled by the client')


def frame(stamp_ns=5, seed=0):
    image_rgb = np.random.default_rng(seed).integers(0, 256, (32, 48, 3), np.uint8)
    return Frame(stamp_ns, 'camera', lambda: image_rgb, image_rgb.nbytes)


class Remote:
    """A mask tokenizer elsewhere."""

    def __init__(self):
        self.there = True
        self.fails = ''
        self.hangs = False
        self.asked = []

    def is_there(self):
        return self.there

    def encode(self, frame, drawn, should_stop):
        self.asked.append(('encode', len(drawn)))
        self._hang(should_stop)
        return tuple((7, 10 + number) for number in range(len(drawn)))

    def decode(self, result, should_stop):
        if self.fails:
            raise ImageError(self.fails)
        self.asked.append(('decode', len(result.regions)))
        self._hang(should_stop)
        return 'masks'

    def _hang(self, should_stop):
        until_s = time.monotonic() + WAIT_S
        while self.hangs and not should_stop():
            assert time.monotonic() < until_s, 'nobody lets go of a mask tokenizer that hangs'
            time.sleep(0.001)
        if should_stop():
            raise DeviceError('no answer in time')


class Bench:
    def __init__(self, settings=None, with_masks=True, **fake):
        self.runtime = SharedRuntime()
        self.runtime.join('grounding', SharedSettings(
            ModelSettings(), InputSettings(), CacheSettings()))
        self.remote = Remote()
        self.lines = []
        self.problems = ProblemLog(self.lines.append)
        self.now_ns = 0
        self.statistics = Statistics()
        self.answering = Answering(self.runtime, self.problems, self.statistics,
                                   lambda: self.now_ns, self.remote)
        self.runtime.listen(self.answering.frame_arrived)
        backend = FakeBackend(FakeSettings(**fake))
        if with_masks:
            self.runtime.mask_access = LocalMaskAccess(
                backend.load_masks(), self.runtime.frames, self.statistics)
        self.model = backend.load_grounding()
        self.answering.configure(settings or GroundingSettings(), self.model)
        self.answering.open()

    def show(self, shown):
        self.runtime.frame_arrived(shown)
        return shown

    def begin(self, text, task=Task.GROUND, priority=Priority.ACTION, **fields):
        """Accept a request and answer it in a thread of its own."""
        return Caller(self, self.answering.accept(Request(task, text, **fields), priority))

    def ask(self, text, **fields):
        return self.begin(text, Task.ASK, **fields).outcome()

    def hold_worker(self):
        """Keep the worker busy until the event that is returned is set."""
        held, go_on = threading.Event(), threading.Event()
        self.runtime.worker.submit(Priority.ACTION, lambda: (held.set(), go_on.wait(WAIT_S)))
        assert held.wait(WAIT_S)
        return go_on


class Caller:
    def __init__(self, bench, ticket):
        self.ticket = ticket
        self.progress = []
        self.news = threading.Event()
        self._bench = bench
        self._outcome = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self._outcome = self._bench.answering.answer(self.ticket, self._tell)

    def _tell(self, progress):
        self.progress.append(progress)
        if progress.result is not None and progress.result.regions:
            self.news.set()

    def wait_for_region(self):
        assert self.news.wait(WAIT_S)

    def stop(self, stop=CANCEL):
        self._bench.answering.stop(self.ticket, stop)

    def outcome(self):
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self._outcome


@contextmanager
def benches():
    """Give a function that makes benches; all of them must come to an end."""
    made = []

    def make_one(*args, **fields):
        made.append(Bench(*args, **fields))
        return made[-1]

    yield make_one
    for bench in made:
        assert bench.answering.close('over', WAIT_S)
        bench.runtime.leave('grounding')
