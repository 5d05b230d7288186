# SPDX-License-Identifier: Apache-2.0
"""Masks, depth and calibration find each other by exact stamp, or the reason is told."""

import numpy as np
import pytest
from lifting_scene import CAMERA, SIZE, looking_down

from samtok_ros.errors import ImageError
from samtok_ros.lifting.target import LiftStatus
from samtok_ros.runtime.lifting_pairs import LiftingPairs
from samtok_ros.runtime.lifting_records import (
    Calibration,
    DepthImage,
    MaskedThing,
    MaskSet,
)
from samtok_ros.runtime.lifting_work import (
    InOrder,
    lift_others,
    lift_pair,
    scene_without,
    withdrawn,
)
from samtok_ros.runtime.records import Origin, Status
from samtok_ros.settings.fields import build_settings
from samtok_ros.settings.lifting import LiftingSettings, SceneSettings

MS = 1_000_000
NOW = 1_000_000 * MS
FRAME = 'camera'
DEPTH_M, MASK = looking_down(noise_m=0.001)


def thing(number=1, score=0.5, mask=MASK, **fields):
    values = {'track_id': 0, 'label': 'box', 'mask_score': 0.9, 'lost': False} | fields
    return MaskedThing(number, score=score, read_mask=lambda: mask, **values)


def masks(ns=NOW, *things, **fields):
    return MaskSet(ns, FRAME, SIZE, things=things or (thing(),), **fields)


def depth(ns=NOW, frame=FRAME, size=SIZE, depth_m=DEPTH_M):
    return DepthImage(ns, frame, size, 100, lambda: depth_m)


def calibration(ns=NOW, key='a', frame=FRAME, camera=CAMERA, refusal=''):
    return Calibration(ns, frame, (key,), camera, refusal)


class Bench:
    def __init__(self, **settings):
        self.time_s = 0.0
        self.ready = []
        self.pairs = LiftingPairs(self.ready.append, lambda: 'nobody publishes depth',
                                  lambda: 'nobody publishes camera_info', lambda: self.time_s)
        self.pairs.configure(build_settings(LiftingSettings, {'wait_s': 1.0, **settings}))

    def pass_time(self, seconds):
        self.time_s += seconds
        self.pairs.close_expired()

    @property
    def refusals(self):
        return [pair.refusal for pair in self.ready]


@pytest.mark.parametrize('order', ['dcm', 'mdc', 'cmd', 'mcd', 'dmc'])
def test_pair_when_all_have_one_stamp_then_their_order_does_not_matter(order):
    bench = Bench()
    put = {'d': lambda: bench.pairs.put_depth(depth()),
           'c': lambda: bench.pairs.put_calibration(calibration()),
           'm': lambda: bench.pairs.put_masks(masks())}
    for letter in order:
        assert not bench.ready
        put[letter]()
    (pair,) = bench.ready
    assert pair.refusal == '' and pair.depth.stamp_ns == pair.calibration.stamp_ns == NOW
    assert bench.pairs.waiting == 0


def test_masks_when_depth_is_late_then_they_wait_no_longer_than_they_may():
    bench = Bench()
    bench.pairs.put_calibration(calibration())
    bench.pairs.put_depth(depth(NOW - 33 * MS))
    bench.pairs.put_masks(masks())
    bench.pass_time(0.9)
    assert not bench.ready and bench.pairs.waiting == 1
    bench.pass_time(0.2)
    assert bench.refusals == [
        'no depth image has the stamp 1000.000000000 of the image; the nearest is '
        '999.967000000, 33.0 ms earlier']


def test_masks_when_nothing_has_come_then_the_reason_is_told():
    bench = Bench()
    bench.pairs.put_masks(masks())
    bench.pass_time(2.0)
    bench.pairs.put_depth(depth(NOW + MS))
    bench.pairs.put_masks(masks(NOW + MS))
    bench.pass_time(2.0)
    assert bench.refusals == ['no depth image has come: nobody publishes depth',
                              'no camera_info has come: nobody publishes camera_info']


def test_masks_when_depth_of_a_later_image_comes_then_they_are_refused_at_once_and_in_order():
    bench = Bench()
    bench.pairs.put_calibration(calibration())
    for number in range(4):
        bench.pairs.put_masks(masks(NOW + number * MS))
    bench.pairs.put_depth(depth(NOW + 2 * MS))
    assert [pair.masks.stamp_ns - NOW for pair in bench.ready] == [0, MS, 2 * MS]
    assert [bool(refusal) for refusal in bench.refusals] == [True, True, False]
    assert '1.0 ms later' in bench.refusals[1]
    assert bench.pairs.waiting == 1
    bench.pairs.put_masks(masks(NOW + MS))
    assert '1.0 ms later' in bench.refusals[3], 'gone already when they come'


def test_calibration_when_the_driver_stamps_it_otherwise_then_one_that_never_changes_will_do():
    bench = Bench()
    bench.pairs.put_calibration(calibration(5))
    bench.pairs.put_depth(depth())
    bench.pairs.put_masks(masks())
    assert bench.refusals == ['']
    bench.pairs.put_calibration(calibration(6, key='b'))
    bench.pairs.put_depth(depth(NOW + MS))
    bench.pairs.put_masks(masks(NOW + MS))
    bench.pass_time(2.0)
    assert bench.refusals[1].endswith('and the calibration is changing')


def test_calibration_when_it_is_lost_then_those_around_it_must_agree():
    for keys, refused in (('abb', False), ('aab', True)):
        bench = Bench()
        for place, key in enumerate(keys):
            ns = NOW + (place - 1) * 2 * MS - MS
            bench.pairs.put_calibration(calibration(ns, key=key))
            bench.pairs.put_depth(depth(ns))
        bench.pairs.put_depth(depth())
        bench.pairs.put_masks(masks())
        (refusal,) = bench.refusals
        assert refused == refusal.endswith('and the calibration is changing'), refusal
        assert refused or not refusal


def test_calibration_when_it_comes_with_the_images_then_it_is_waited_for():
    bench = Bench()
    bench.pairs.put_calibration(calibration())
    bench.pairs.put_depth(depth())
    bench.pairs.put_depth(depth(NOW + MS))
    bench.pairs.put_masks(masks(NOW + MS))
    assert not bench.ready, 'that of its stamp may say something else'
    bench.pairs.put_calibration(calibration(NOW + MS, key='b'))
    assert bench.ready[0].calibration.key == ('b',)
    bench.pairs.put_depth(depth(NOW + 2 * MS))
    bench.pairs.put_masks(masks(NOW + 2 * MS))
    bench.pass_time(2.0)
    assert 'no camera_info has the stamp' in bench.refusals[1]


def test_calibration_when_it_must_be_exact_then_no_other_will_do():
    bench = Bench(**{'camera.stamp': 'exact'})
    bench.pairs.put_calibration(calibration(NOW - MS))
    bench.pairs.put_depth(depth())
    bench.pairs.put_masks(masks())
    bench.pairs.put_calibration(calibration(NOW + MS))
    assert 'no camera_info has the stamp 1000.000000000' in bench.refusals[0]


@pytest.mark.parametrize('given, text', [
    ({'depth': depth(frame='infrared')}, "the depth image is of frame 'infrared', the image of "
                                         "'camera'"),
    ({'calibration': calibration(frame='')}, "the camera_info is of frame ''"),
    ({'depth': depth(size=type(SIZE)(120, 160))}, 'the depth image is 160 x 120, the image 320'),
    ({'calibration': calibration(camera=CAMERA.of_window((0, 0, 0, 0), (2, 2)))},
     'the camera_info is 160 x 120 after its roi and binning, the image 320 x 240'),
    ({'calibration': calibration(camera=None, refusal='zeros')}, 'zeros'),
])
def test_pair_when_parts_do_not_fit_then_refused_by_name(given, text):
    bench = Bench()
    bench.pairs.put_depth(given.get('depth', depth()))
    bench.pairs.put_calibration(given.get('calibration', calibration()))
    bench.pairs.put_masks(masks())
    (pair,) = bench.ready
    assert text in pair.refusal
    outcome = lift_pair(pair, LiftingSettings())
    assert outcome.status is LiftStatus.REFUSED and text in outcome.message
    assert outcome.lifted is None and outcome.target.region_id == 1


def test_masks_when_there_is_nothing_to_lift_then_they_wait_for_nothing():
    for given, status in (
            (masks(status=Status.FAILED, message='why'), LiftStatus.REFUSED),
            (masks(status=Status.CANCELLED), LiftStatus.REFUSED),
            (MaskSet(NOW, FRAME, SIZE, status=Status.NO_TARGET), LiftStatus.EMPTY),
            (masks(NOW, thing(lost=True)), LiftStatus.LOST)):
        bench = Bench()
        bench.pairs.put_masks(given)
        (pair,) = bench.ready
        outcome = lift_pair(pair, LiftingSettings())
        assert outcome.status is status and outcome.message


def test_masks_when_the_scene_is_wanted_then_they_wait_for_depth_all_the_same():
    bench = Bench(**{'scene.enabled': True})
    assert SceneSettings().enabled is False
    bench.pairs.put_masks(MaskSet(NOW, FRAME, SIZE, status=Status.NO_TARGET))
    assert not bench.ready
    bench.pairs.put_calibration(calibration())
    bench.pairs.put_depth(depth())
    (pair,) = bench.ready
    assert lift_pair(pair, LiftingSettings()).status is LiftStatus.EMPTY
    assert np.isfinite(scene_without(pair, None, 6)).all()


def test_pairs_when_time_begins_anew_then_nothing_waits():
    bench = Bench()
    bench.pairs.put_masks(masks())
    bench.pairs.put_depth(depth(NOW - MS))
    bench.pairs.forget_after(-1)
    bench.pass_time(5.0)
    assert not bench.ready and len(bench.pairs.depth) == 0
    assert bench.pairs.put_depth(depth()) is False
    assert bench.pairs.put_depth(depth(NOW - 60_000 * MS)) is True


def test_lift_when_all_is_well_then_target_and_others_with_the_mask_each():
    bench = Bench()
    other = np.zeros_like(MASK)
    other[5:45, 10:60] = True
    bench.pairs.put_depth(depth())
    bench.pairs.put_calibration(calibration())
    bench.pairs.put_masks(masks(NOW, thing(1, 0.2, other), thing(2, 0.6), thing(3, 0.1, lost=True)))
    (pair,) = bench.ready
    outcome = lift_pair(pair, LiftingSettings())
    assert (outcome.status, outcome.target.region_id) == (LiftStatus.OK, 2)
    found = list(lift_others(pair, outcome, LiftingSettings()))
    assert [one.region_id for one, _ in found] == [1, 2]
    assert found[1][1] is outcome.lifted
    gone = withdrawn(outcome.masks, 'too old')
    assert (gone.status, gone.lifted, gone.masks.stamp_ns) == (LiftStatus.REFUSED, None, NOW)


def test_lift_when_the_mask_or_the_depth_cannot_be_read_then_refused():
    def damaged():
        raise ImageError('bytes are missing')

    bench = Bench()
    bench.pairs.put_depth(DepthImage(NOW, FRAME, SIZE, 1, damaged))
    bench.pairs.put_calibration(calibration())
    bench.pairs.put_masks(masks())
    outcome = lift_pair(bench.ready[0], LiftingSettings())
    assert (outcome.status, outcome.message) == (LiftStatus.REFUSED, 'bytes are missing.')


def test_answers_when_tracking_is_ahead_then_old_ones_are_no_news_unless_nothing_fits():
    order = InOrder(15.0)
    assert order.is_news(masks(NOW, origin=Origin.TRACKED))
    assert not order.is_news(masks(NOW - 1000 * MS))
    assert order.is_news(masks(NOW - 1000 * MS, status=Status.NO_TARGET))
    assert order.is_news(masks(NOW + MS, origin=Origin.TRACKED))
    assert order.is_news(masks(NOW - 20_000 * MS)), 'a bag that is played again'
    assert order.is_news(masks(NOW - 21_000 * MS)), 'without tracking, answers come as they come'
    order.is_news(masks(NOW, origin=Origin.TRACKED))
    order.forget()
    assert order.is_news(masks(NOW - MS))
