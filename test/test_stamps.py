# SPDX-License-Identifier: Apache-2.0
"""When a stamp is of another time than those before it."""

import pytest

from samtok_ros.stamps import is_step_back


@pytest.mark.parametrize('newest_ns, stamp_ns, is_back', [
    (None, 0, False),  # the first
    (10**10, 10**10, False),  # the same image again
    (10**10, 10**10 - 500_000_000, False),  # half a second: out of order
    (10**10, 10**10 - 500_000_001, True),
    (10**10, 10**12, False)])
def test_stamp_when_it_is_far_behind_the_newest_then_it_is_a_step_back(
        newest_ns, stamp_ns, is_back):
    assert is_step_back(newest_ns, stamp_ns) is is_back
