# SPDX-License-Identifier: Apache-2.0
"""Recent messages by stamp: exact look-up, bounds, and steps back in time."""

from samtok_ros.lifting.stamp_ring import StampRing

SECOND = 1_000_000_000


def ring_of(*stamps_s, span_s=10.0, max_bytes=1000, nbytes=lambda item: 10):
    ring = StampRing(span_s, max_bytes, nbytes)
    steps = [ring.put(int(stamp * SECOND), f'item {stamp}') for stamp in stamps_s]
    return ring, steps


def test_ring_when_asked_then_only_the_very_stamp_fits():
    ring, _ = ring_of(1, 2)
    assert ring.get(SECOND) == 'item 1'
    assert ring.get(SECOND + 1) is None
    assert ring.nearest_ns(SECOND + 1) == SECOND
    assert ring.nearest_ns(int(1.6 * SECOND)) == 2 * SECOND
    assert StampRing(1.0, 1).nearest_ns(5) is None


def test_ring_when_a_stamp_comes_again_then_it_is_replaced():
    ring, _ = ring_of(1, 1.2)
    ring.put(SECOND, 'new')
    assert ring.get(SECOND) == 'new' and len(ring) == 2 and ring.nbytes == 20
    assert ring.items() == ('item 1.2', 'new')


def test_ring_when_items_grow_old_then_they_go_by_their_stamps():
    ring, _ = ring_of(1, 2, 3, span_s=1.5)
    assert ring.items() == ('item 2', 'item 3')
    assert ring.newest_ns == 3 * SECOND


def test_ring_when_memory_is_full_then_the_oldest_go_but_the_newest_stays():
    ring, _ = ring_of(1, 2, 3, max_bytes=25)
    assert ring.items() == ('item 2', 'item 3') and ring.nbytes == 20
    alone, _ = ring_of(1, 2, max_bytes=5)
    assert alone.items() == ('item 2',)


def test_ring_when_stamps_step_back_then_what_is_newer_is_forgotten():
    ring, steps = ring_of(10, 11, 10.8, 11.2)
    assert not any(steps), 'messages may overtake each other a little'
    assert len(ring) == 4
    assert ring.put(10 * SECOND + 5, 'of the next round') is True
    assert ring.items() == ('item 10', 'of the next round')
    assert ring.newest_ns == 10 * SECOND + 5
    assert ring.put(0, 'far back') is True
    assert ring.items() == ('far back',)


def test_ring_when_time_jumps_back_then_only_what_is_newer_goes():
    ring, _ = ring_of(10, 10.3, 10.6)
    ring.forget_after(10 * SECOND)
    assert (ring.items(), ring.nbytes, ring.newest_ns) == (('item 10',), 10, 10 * SECOND)
    ring.forget_after(-1)
    assert (len(ring), ring.nbytes, ring.newest_ns) == (0, 0, None)
    assert ring.put(SECOND, 'early') is False
