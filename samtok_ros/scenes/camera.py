# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera: where it stands, how wide it sees, where points land in its image."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Camera:
    """Pose and field of view, optical axes as in ROS: x right, y down, z forward.

    Attributes:
        position_m: (3,) float64, world.
        rotation: (3, 3) float64, camera to world; its columns are the camera's axes.
        fovy_deg: vertical field of view.
    """

    position_m: np.ndarray
    rotation: np.ndarray
    fovy_deg: float

    @classmethod
    def look_at(cls, position_m: np.ndarray, target_m: np.ndarray, fovy_deg: float) -> 'Camera':
        """Return the level camera at a place that looks at a point not straight above or below."""
        position = np.asarray(position_m, dtype=np.float64)
        forward = np.asarray(target_m, dtype=np.float64) - position
        forward /= np.linalg.norm(forward)
        right = np.array([forward[1], -forward[0], 0.0])
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        return cls(position, np.stack([right, down, forward], axis=1), float(fovy_deg))

    def intrinsics(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Return K, (3, 3) float64, for an image of that size; pixel centres at whole numbers."""
        height, width = size_hw
        focal = 0.5 * height / np.tan(np.radians(self.fovy_deg) / 2)
        return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2],
                         [0.0, 0.0, 1.0]])

    def to_camera(self, points_m: np.ndarray) -> np.ndarray:
        """Bring world points (N, 3) into the camera's frame, (N, 3), metres."""
        return (np.asarray(points_m) - self.position_m) @ self.rotation

    def project(self, points_m: np.ndarray, aspect: float = 4 / 3) -> np.ndarray:
        """Project world points in front of the camera.

        Args:
            points_m: (N, 3) world.
            aspect: image width over height.
        Returns:
            (N, 2) x and y as fractions of image width and height, origin top-left.
        """
        points = self.to_camera(points_m)
        half = np.tan(np.radians(self.fovy_deg) / 2)
        xy = points[:, :2] / (points[:, 2:] * np.array([[half * aspect, half]]))
        return 0.5 + 0.5 * xy
