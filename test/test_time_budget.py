# SPDX-License-Identifier: Apache-2.0
"""Time that counts only while one works oneself."""

import pytest

from samtok_ros.runtime.staleness import stale_text
from samtok_ros.runtime.time_budget import TimeBudget


def test_budget_when_paused_then_that_time_does_not_count():
    clock = [10.0]
    budget = TimeBudget(2.0, lambda: clock[0])
    clock[0] = 11.0
    with budget.pause():
        clock[0] = 21.0
    assert budget.used_s == 1.0
    assert not budget.is_over()
    clock[0] = 22.0
    assert budget.is_over()


def test_budget_when_a_pause_ends_with_an_error_then_it_ends_all_the_same():
    clock = [0.0]
    budget = TimeBudget(2.0, lambda: clock[0])
    with pytest.raises(KeyError), budget.pause():
        clock[0] = 5.0
        raise KeyError
    clock[0] = 6.0
    assert budget.used_s == 1.0


@pytest.mark.parametrize('stamp_ns, now_ns, max_age_s, stale', [
    (1_000_000_000, 1_500_000_000, 0.5, False),
    (1_000_000_000, 1_500_000_001, 0.5, True),
    (1_000_000_000, 9_000_000_000, 0.0, False),  # 0 is never
    (9_000_000_000, 1_000_000_000, 0.5, False),  # from the future, as after a jump back
    (9_000_000_000, 0, 0.5, False),              # no /clock yet
])
def test_age_when_compared_then_only_what_is_older_is_stale(stamp_ns, now_ns, max_age_s, stale):
    assert bool(stale_text(stamp_ns, now_ns, max_age_s)) is stale
