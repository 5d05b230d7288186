# SPDX-License-Identifier: Apache-2.0
"""Keeping up with a camera: the same words, drawn again on every image there is time for."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samtok_ros.evaluation.synthetic_network import synthetic_image
from samtok_ros.runtime.backend import MaskModel

_MASKS = 5
_IMAGES = 8


@dataclass(frozen=True)
class Sustained:
    """How it went.

    Attributes:
        rate_hz: of the camera.
        seconds: how long.
        images: that the camera gave.
        done: images whose masks were drawn; the others were overwritten by newer ones.
        age_p50_ms, age_p95_ms: from an image to its masks.
    """

    rate_hz: float
    seconds: float
    images: int
    done: int
    age_p50_ms: float
    age_p95_ms: float


def redecode(
    masks: MaskModel, size_hw: tuple[int, int], rate_hz: float, seconds: float,
) -> Sustained:
    """Draw five masks on images of an imagined camera, always the newest one."""
    images = [synthetic_image(*size_hw, key=key) for key in range(_IMAGES)]
    rng = np.random.default_rng(0)
    codes = rng.integers(masks.config.codebook_size, size=(_MASKS, masks.config.codebook_depth))

    def draw(number: int) -> None:
        masks.decode(masks.embed_image(images[number % _IMAGES]), codes)

    draw(0)
    return keep_up(draw, rate_hz, seconds)


def keep_up(
    draw: Callable[[int], None], rate_hz: float, seconds: float,
    clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep,
) -> Sustained:
    """Work on the newest image of a camera until its time is over.

    Args:
        draw: works on the image of a number and returns when its result is in host memory.
        rate_hz: of the camera.
        seconds: how long it gives images.
        clock: seconds.
        sleep: waits for so many seconds.
    """
    images = int(seconds * rate_hz)
    ages: list[float] = []
    started, number = clock(), 0
    while number < images:
        draw(number)
        now = clock() - started
        ages.append(now - number / rate_hz)
        newest = int(now * rate_hz)
        if newest <= number:  # wait for the next one
            newest = number + 1
            sleep(max(0.0, newest / rate_hz - now))
        number = newest
    return Sustained(rate_hz, seconds, images, len(ages),
                     float(np.percentile(ages, 50)) * 1e3, float(np.percentile(ages, 95)) * 1e3)
