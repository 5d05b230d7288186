# SPDX-License-Identifier: Apache-2.0
"""From an image to a much later one by way of some in between.

An answer is about an image that is old when it comes. Words that follow a thing do so as long as
it moves by less than about its own size from one image to the next.
"""

from collections.abc import Sequence

from samtok_ros.runtime.frame_cache import Frame

STEP_NS = 340_000_000
"""A third of a second: on rendered sequences as good as every image, see docs/tracking.md."""

_MOST_STEPS = 8


def steps_between(frames: Sequence[Frame], start_ns: int, end_ns: int) -> list[Frame]:
    """Choose a few images between two stamps, in order, STEP_NS or less apart where there are any.

    Args:
        frames: that are at hand, in any order.
        start_ns: stamp of the image to go from; it is not chosen itself.
        end_ns: stamp of the image to go to; nor is it.
    """
    between = [frame for frame in frames if start_ns < frame.stamp_ns < end_ns]
    count = min(_MOST_STEPS, -(-(end_ns - start_ns) // STEP_NS) - 1)
    if not between or count < 1:
        return []
    chosen: dict[int, Frame] = {}
    for number in range(1, count + 1):
        wanted_ns = start_ns + (end_ns - start_ns) * number // (count + 1)
        nearest = min(between, key=lambda frame: abs(frame.stamp_ns - wanted_ns))
        chosen[nearest.stamp_ns] = nearest
    return [chosen[stamp_ns] for stamp_ns in sorted(chosen)]
