# SPDX-License-Identifier: Apache-2.0
"""How tests wait: for a condition, up to a time that no working machine needs."""

import time

DEADLINE_S = 90.0


def wait_until(condition, what, timeout_s=DEADLINE_S):
    """Wait for a condition and return its value; a test never sleeps for a fixed time.

    `what` is said when the time is over; a function is asked only then.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, (
            f'not within {timeout_s} s: {what() if callable(what) else what}')
        time.sleep(0.01)
    return value
