# SPDX-License-Identifier: Apache-2.0
"""Reads the masks of all regions as arrays: what each is, and where it is by now.

    python examples/mask_reader.py

Masks of a complete answer have origin ANSWERED; until the next one the same things are found again
in each newer image, with origin TRACKED and the same track_id.
"""

import contextlib

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from samtok_ros.msg import RegionMasks


class MaskReader(Node):
    """Prints a line for each region of each image."""

    def __init__(self) -> None:
        """Listen to masks; every one of them counts, so reliable and with room."""
        super().__init__('mask_reader', namespace='samtok')
        self.create_subscription(RegionMasks, 'masks', self.on_masks, 100)

    def on_masks(self, message: RegionMasks) -> None:
        """Use the masks of one image, all of them once the answer is complete."""
        if not message.complete:
            return
        origin = 'followed' if message.origin == RegionMasks.TRACKED else 'answered'
        stamp = message.header.stamp
        for region in message.masks:
            name = f'{stamp.sec}.{stamp.nanosec:09d} {origin} {region.label} ({region.track_id})'
            if region.lost or not region.area_px:
                self.get_logger().info(f'{name}: not in this image')
                continue
            mask = array_of(region.rle, message.height, message.width)
            rows, columns = np.nonzero(mask)
            self.get_logger().info(
                f'{name}: {mask.sum()} pixels around {columns.mean():.0f}, {rows.mean():.0f}')


def array_of(rle: list[int], height: int, width: int) -> np.ndarray:
    """Return the (H, W) bool mask of runs: they go down the columns, and the first is outside."""
    inside = np.arange(len(rle)) % 2 == 1
    return np.repeat(inside, rle).reshape(width, height).T


def main() -> None:
    """Listen until the end of the process."""
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(MaskReader())


if __name__ == '__main__':
    main()
