# SPDX-License-Identifier: Apache-2.0
"""What a stereo depth camera makes of an exact depth image: noise, steps, edges and holes.

The sizes are those of a small stereo camera on a robot's arm. Noise is that of a disparity: it
grows with the square of the distance and is the same over a few pixels, the window of the matcher.
"""

from dataclasses import dataclass

import cv2
import numpy as np

_WINDOW_PX = 1.5
_STEP_M = 0.001
_JUMP_M = 0.02


@dataclass(frozen=True)
class DepthSensor:
    """A depth camera.

    Attributes:
        noise_m: standard deviation at 1 m.
        shadow_px: width at 1 m of the strip left of an edge that only one of its two eyes sees.
        edge_px: width of the seam along edges where depth lies between front and back.
        dropout: share of the image lost in blobs.
    """

    noise_m: float = 0.0015
    shadow_px: float = 6.0
    edge_px: int = 2
    dropout: float = 0.02

    def measure(self, depth_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Measure a scene.

        Args:
            depth_m: (H, W) float32 exact depth along the optical axis, metres.
            rng: of the noise.
        Returns:
            (H, W) float32 metres in whole millimetres, NaN for no reading.
        """
        seen = self._mixed_at_edges(depth_m, rng)
        noise = cv2.GaussianBlur(rng.normal(size=depth_m.shape), (0, 0), _WINDOW_PX)
        seen = seen + self.noise_m * seen ** 2 * noise / noise.std()
        seen = np.round(seen / _STEP_M) * _STEP_M
        seen[self._shadows(depth_m) | self._blobs(depth_m.shape, rng)] = np.nan
        return seen.astype(np.float32)

    def _mixed_at_edges(self, depth_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Let depth run from front to back across a seam along each edge."""
        kernel = np.ones((2 * self.edge_px + 1,) * 2, np.uint8)
        near, far = cv2.erode(depth_m, kernel), cv2.dilate(depth_m, kernel)
        share = rng.uniform(size=depth_m.shape)
        return np.where(far - near > _JUMP_M, near + share * (far - near), depth_m)

    def _shadows(self, depth_m: np.ndarray) -> np.ndarray:
        """Mark what the second eye does not see: left of where depth jumps towards us."""
        jump = np.zeros(depth_m.shape, np.uint8)
        jump[:, :-1] = depth_m[:, :-1] - depth_m[:, 1:] > _JUMP_M
        width = max(1, round(self.shadow_px / float(np.median(depth_m))))
        # Anchored at its left end, so that the strip lies to the left of the jump.
        return cv2.dilate(jump, np.ones((1, width), np.uint8), anchor=(0, 0)) > 0

    def _blobs(self, size_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        blurred = cv2.GaussianBlur(rng.normal(size=size_hw), (0, 0), 3.0)
        return blurred > np.quantile(blurred, 1 - self.dropout)
