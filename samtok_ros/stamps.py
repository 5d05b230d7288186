# SPDX-License-Identifier: Apache-2.0
"""What the stamps of one sender say about time."""

_BACK_S = 0.5
"""Messages of one sender come in the order of their stamps, more or less."""


def is_step_back(newest_ns: int | None, stamp_ns: int) -> bool:
    """Say whether a stamp is of another time than the newest one: what is newer is gone.

    That is so when a bag or a simulator begins anew, and when a clock is set.

    Args:
        newest_ns: newest stamp so far, None before the first.
        stamp_ns: of what has just come.
    """
    return newest_ns is not None and newest_ns - stamp_ns > _BACK_S * 1e9
