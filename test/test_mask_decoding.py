# SPDX-License-Identifier: Apache-2.0
"""Words in, masks out, without ROS."""

from dataclasses import replace

import numpy as np
import pytest
from tracking_bench import let_speak

from samtok_ros.errors import DeviceError
from samtok_ros.masks.boxes import box_of_mask
from samtok_ros.regions import ImageSize, Region
from samtok_ros.runtime.fake_backend import FakeBackend
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.mask_access import LocalMaskAccess
from samtok_ros.runtime.mask_decoding import MaskDecoding, best_region
from samtok_ros.runtime.problems import ProblemLog
from samtok_ros.runtime.records import FrameResult
from samtok_ros.runtime.statistics import Statistics
from samtok_ros.runtime.worker import Priority, Worker
from samtok_ros.settings.mask_tokenizer import MaskTokenizerSettings, WordsSettings
from samtok_ros.settings.shared import FakeSettings

WAIT_S = 30
SIZE = ImageSize(48, 64)


def frame(stamp_ns):
    return Frame(stamp_ns, 'camera', lambda: np.zeros((48, 64, 3), np.uint8), 9216)


def words(stamp_ns, *codes, **fields):
    regions = tuple(Region(i, pair, 'mug', 0.5) for i, pair in enumerate(codes, start=1))
    return replace(FrameResult(stamp_ns, 'camera', SIZE, 'fake@0000000000000001', 'mugs', 1, '',
                               complete=True, regions=regions), **fields)


class Bench:
    """Decoding with its worker and a clock that stands until it is moved."""

    def __init__(self, queue=100, **wiring):
        self.now = 100.0
        self.published, self.lines = [], []
        self.worker = Worker()
        self.frames = FrameCache(10, 10**9)
        self.problems = ProblemLog(self.lines.append, period_s=0)
        self.statistics = Statistics()
        self.decoding = MaskDecoding(
            self.worker, lambda result, frame: self.published.append(result), self.problems,
            self.statistics, now=lambda: self.now, **wiring)
        self.loaded = FakeBackend(FakeSettings()).load_masks()
        self.decoding.configure(
            MaskTokenizerSettings(words=WordsSettings(wait_s=2.0, queue=queue)),
            LocalMaskAccess(self.loaded, self.frames, self.statistics), self.frames)
        self.decoding.open()

    def run(self):
        """Let the worker do what waits; return what was published."""
        self.worker.start()
        assert self.worker.flush(Priority.WORDS, WAIT_S)
        return self.published

    def arrive(self, stamp_ns):
        arrived = frame(stamp_ns)
        self.frames.put(arrived)
        self.decoding.frame_arrived(arrived)


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.decoding.close()
    assert bench.worker.stop(WAIT_S)


def test_words_when_their_frame_is_there_then_every_region_gets_mask_box_and_score(bench):
    bench.arrive(7)
    bench.decoding.put_words(words(7, (0x77, 0x33), (0x12, 0x21)))
    (result,) = bench.run()
    first, second = result.regions
    assert first.mask.shape == (48, 64)
    assert (first.label, first.score, second.region_id) == ('mug', 0.5, 2)
    rows, columns = np.nonzero(first.mask)
    assert first.box_xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert first.mask_score == pytest.approx(0.5 + (0x77 + 0x33) / 1024)


def test_words_when_there_are_none_then_a_result_without_regions_comes(bench):
    bench.arrive(7)
    bench.decoding.put_words(words(7))
    assert bench.run()[0].regions == ()


def test_words_when_they_grow_then_nothing_is_decoded_twice_and_memory_is_given_back(bench):
    batches = []
    decode = bench.loaded.model.decode
    bench.loaded.model.decode = lambda f, c: batches.append(c.tolist()) or decode(f, c)
    bench.arrive(7)
    first, second = (0x77, 0x33), (0x12, 0x21)
    for message in (words(7, first, complete=False), words(7, first, second, complete=False),
                    words(7, first, second, second)):
        bench.decoding.put_words(message)
        bench.run()
    assert batches == [[list(first)], [list(second)]]
    assert [len(result.regions) for result in bench.published] == [1, 2, 3]
    assert not bench.frames.get(7).decoded


def test_answer_when_complete_then_requests_can_name_its_regions_by_id(bench):
    bench.arrive(7)
    bench.decoding.put_words(words(7, (1, 2), complete=False))
    bench.run()
    assert bench.frames.get(7).last_regions == ()
    bench.decoding.put_words(words(7, (1, 2), (3, 4)))
    bench.decoding.put_words(words(7, goal_id=2))
    bench.run()
    known = bench.frames.get(7).last_regions
    assert [(region.region_id, region.codes) for region in known] == [(1, (1, 2)), (2, (3, 4))]
    assert all(region.mask is None for region in known)


def test_answer_when_the_model_that_speaks_is_in_this_process_then_it_closes_its_answers():
    bench = Bench(closes_answers=False)
    bench.arrive(7)
    bench.decoding.put_words(words(7, (1, 2)))
    assert len(bench.run()) == 1
    assert bench.frames.get(7).last_regions == ()
    bench.worker.stop(WAIT_S)


def test_words_when_forgotten_then_neither_those_that_wait_nor_those_in_the_queue_are_decoded(
        bench):
    bench.arrive(7)
    for stamp_ns in (7, 8):
        bench.decoding.put_words(words(stamp_ns, (1, 2)))
    assert bench.decoding.waiting == 2
    bench.decoding.forget_after(-1)
    bench.arrive(8)
    assert bench.run() == []
    bench.decoding.put_words(words(7, (1, 2)))
    assert len(bench.run()) == 1


def test_words_when_later_ones_are_forgotten_then_the_others_are_still_decoded(bench):
    bench.arrive(7)
    bench.arrive(9)
    for stamp_ns in (7, 8, 9, 10):
        bench.decoding.put_words(words(stamp_ns, (1, 2)))
    bench.decoding.forget_after(8)
    bench.arrive(8)
    bench.arrive(10)
    assert [result.stamp_ns for result in bench.run()] == [7, 8]


def test_words_when_released_then_those_that_still_come_are_let_go(bench):
    bench.decoding.release()
    bench.decoding.put_words(words(7, (1, 2)))
    assert bench.decoding.waiting == 0
    assert bench.statistics.total('words_in') == 0


def test_words_when_their_masks_would_fill_the_memory_then_they_are_dropped_with_the_reason(
        bench):
    size = ImageSize(4000, 5000)
    huge = Frame(7, 'camera', lambda: pytest.fail('pixels are read'), 0, lambda: size)
    bench.frames.put(huge)
    bench.decoding.put_words(words(7, *((1, code) for code in range(64)), size=size))
    assert bench.run() == []
    assert bench.problems.counts() == {'decode_failed': 1}
    assert '64 masks of 4000 x 5000 pixels are too much at once' in bench.lines[0]


def test_words_when_a_step_has_a_bug_then_they_are_dropped_and_the_worker_reports_it(bench):
    errors = []
    bench.worker.report_to(errors.append)
    bench.loaded.model.decode = lambda features, codes: 1 / 0
    bench.arrive(7)
    bench.decoding.put_words(words(7, (1, 2)))
    assert bench.run() == []
    assert bench.problems.counts() == {'decode_failed': 1}
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_words_when_a_later_message_of_the_answer_waits_then_the_earlier_is_skipped(bench):
    bench.arrive(7)
    for message in (words(7, (1, 2), complete=False), words(7, (1, 2), (3, 4))):
        bench.decoding.put_words(message)
    assert [len(result.regions) for result in bench.run()] == [2]


def test_words_when_complete_then_they_are_never_skipped(bench):
    bench.arrive(7)
    for goal_id in (1, 1, 2):
        bench.decoding.put_words(words(7, (1, 2), goal_id=goal_id))
    assert len(bench.run()) == 3


def test_words_when_the_frame_comes_later_then_they_wait_and_are_decoded(bench):
    bench.decoding.put_words(words(7, (1, 2)))
    bench.now += 1.9
    bench.decoding.drop_expired()
    assert bench.run() == []
    assert bench.decoding.waiting == 1
    bench.arrive(8)
    bench.arrive(7)
    assert [result.stamp_ns for result in bench.run()] == [7]


def test_words_when_the_frame_never_comes_then_they_are_dropped_with_the_reason(bench):
    bench.decoding.put_words(words(7, (1, 2)))
    bench.now += 2.0
    bench.decoding.drop_expired()
    assert bench.problems.counts() == {'no_such_frame': 1}
    assert bench.lines == ['words for image 7 are dropped: no image with this stamp is in the '
                           'cache. Give both nodes the same image topic, or raise words.wait_s']
    bench.arrive(7)
    assert bench.run() == []


def test_words_when_they_took_longer_than_images_are_kept_then_the_reason_says_how_long(bench):
    bench.frames.resize(3, 10**9)
    for tenths in range(0, 65, 5):
        bench.arrive(tenths * 10**8)
    bench.decoding.put_words(words(4 * 10**8, (1, 2)))
    for tenths in range(70, 100, 5):  # What comes while they wait does not count.
        bench.arrive(tenths * 10**8)
    bench.now += 2.0
    bench.decoding.drop_expired()
    assert bench.problems.counts() == {'no_such_frame': 1}
    assert ('The words came 5.6 s after it, and the 3 images kept span 1.0 s: raise cache.frames '
            'and cache.megabytes') in bench.lines[0]


def test_words_when_an_image_of_their_time_is_not_there_then_the_topic_is_in_doubt(bench):
    for stamp_ns in (10, 30):
        bench.arrive(stamp_ns)
    bench.decoding.put_words(words(20, (1, 2)))
    bench.now += 2.0
    bench.decoding.drop_expired()
    assert 'Give both nodes the same image topic' in bench.lines[0]


@pytest.mark.parametrize('kind, message, reason', [
    ('tokenizer_mismatch', words(7, (1, 2), tokenizer_id='other@1'), "'other@1'"),
    ('bad_codes', words(7, (1, 256)), 'expected 2 codes below 256, got [1, 256]'),
    ('bad_codes', words(7, (1,)), 'expected 2 codes below 256, got [1]'),
    ('bad_codes', words(7, (1, 2), (1, 2, 3)), 'region 2: codes are not of this mask tokenizer'),
    ('size_mismatch', words(7, (1, 2), size=ImageSize(480, 640)), '480 x 640'),
    ('no_such_frame', words(7, (1, 2), frame_id='left'),
     "of 'left', the image with this stamp is of 'camera'"),
])
def test_words_when_they_do_not_fit_then_they_are_dropped_with_the_reason(
        bench, kind, message, reason):
    bench.arrive(7)
    bench.decoding.put_words(message)
    assert bench.run() == []
    assert bench.problems.counts() == {kind: 1}
    assert reason in bench.lines[0]
    assert bench.statistics.total('words_dropped') == 1


def test_words_when_they_do_not_name_a_camera_then_their_stamp_is_enough(bench):
    bench.arrive(7)
    bench.decoding.put_words(words(7, (1, 2), frame_id=''))
    assert len(bench.run()) == 1


def test_words_when_decoding_fails_then_they_are_dropped_and_the_next_are_decoded(bench):
    decode = bench.loaded.model.decode

    def fail(features, codes):
        bench.loaded.model.decode = decode
        raise DeviceError('out of memory')

    bench.loaded.model.decode = fail
    bench.arrive(7)
    for _ in range(2):
        bench.decoding.put_words(words(7, (1, 2)))
    assert len(bench.run()) == 1
    assert bench.problems.counts() == {'decode_failed': 1}


@pytest.mark.parametrize('with_frame', [True, False])
def test_words_when_they_flood_then_the_oldest_are_dropped_and_counted(with_frame):
    bench = Bench(queue=5)
    if with_frame:
        bench.arrive(7)
    for goal_id in range(20):
        bench.decoding.put_words(words(7, (1, 2), goal_id=goal_id))
    assert bench.decoding.waiting == 5
    assert bench.problems.counts() == {'queue_full': 15}
    if not with_frame:
        bench.arrive(7)
    assert [result.goal_id for result in bench.run()] == [15, 16, 17, 18, 19]
    bench.worker.stop(WAIT_S)


def test_close_when_words_wait_then_they_are_forgotten(bench):
    bench.arrive(7)
    bench.decoding.put_words(words(7, (1, 2)))
    bench.decoding.close()
    assert bench.decoding.waiting == 0
    assert bench.run() == []


def test_close_when_a_request_is_spoken_then_it_does_not_wait_for_that(bench):
    over = let_speak(bench.worker)
    bench.arrive(7)
    bench.decoding.put_words(words(7, (1, 2)))
    assert bench.decoding.close(WAIT_S)
    assert bench.decoding.close(0.0)
    assert not over.is_set()
    over.set()
    assert bench.run() == []


def test_best_region_when_scores_differ_then_the_surest_and_among_equals_the_first():
    regions = tuple(Region(i, (1, 2), '', score) for i, score in enumerate((0.2, 0.9, 0.9), 1))
    assert best_region(regions).region_id == 2
    assert best_region(()) is None


@pytest.mark.parametrize('rows, box', [
    (['....', '....'], None),
    (['#...', '....'], (0, 0, 1, 1)),
    (['....', '.##.'], (1, 1, 3, 2)),
    (['#...', '...#'], (0, 0, 4, 2)),
])
def test_box_when_around_a_mask_then_right_and_bottom_edge_are_outside(rows, box):
    assert box_of_mask(np.array([[c == '#' for c in row] for row in rows])) == box
