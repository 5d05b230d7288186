# SPDX-License-Identifier: Apache-2.0
"""When an image or a result is too old to be of use."""

from samtok_ros.runtime.frame_cache import stamp_text


def stale_text(stamp_ns: int, now_ns: int, max_age_s: float) -> str:
    """Say why something is too old, '' when it is not.

    Args:
        stamp_ns: of the image.
        now_ns: ROS time; 0 while a simulated clock has not come, then nothing is too old.
        max_age_s: age at which it is too old; 0 for never.
    """
    age_s = (now_ns - stamp_ns) / 1e9
    if not max_age_s or age_s <= max_age_s:
        return ''
    return (f'it is {age_s:.3f} s old, more than {max_age_s:g} s: its stamp is '
            f'{stamp_text(stamp_ns)}, ROS time is {stamp_text(now_ns)}. Set use_sim_time for a bag '
            'that is played with its clock, synchronise the clocks of the machines, or allow a '
            'greater age')
