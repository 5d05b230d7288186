# SPDX-License-Identifier: Apache-2.0
"""What a CameraInfo message says about the way from pixels to rays and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.regions import ImageSize

_FISHEYE = 'equidistant'
_CRITERIA = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 40, 1e-9)
"""Of the way back from distorted pixels. By itself OpenCV stops early: up to 4 mm off at a distance
of 1 m for common lenses."""

# Coefficients that OpenCV takes, by the names of sensor_msgs/distortion_models.
_COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), _FISHEYE: (4,)}


@dataclass(frozen=True, eq=False)
class CameraModel:
    """A calibrated camera. Pixel centres are at whole numbers, as in CameraInfo.

    Attributes:
        size: of the images it belongs to.
        matrix: (3, 3) float64 camera matrix.
        distortion: coefficients in OpenCV's order; None for rectified images.
        fisheye: whether they are those of the equidistant model.
    """

    size: ImageSize
    matrix: np.ndarray
    distortion: np.ndarray | None = None
    fisheye: bool = False

    @classmethod
    def from_calibration(
        cls, size: ImageSize, k: Sequence[float], p: Sequence[float], d: Sequence[float],
        distortion_model: str, *, rectified: bool = False,
    ) -> 'CameraModel':
        """Read the fields of a CameraInfo message.

        Args:
            size: height and width fields.
            k: 9 numbers, the camera matrix of the raw image.
            p: 12 numbers, the projection matrix of the rectified image.
            d: distortion of the raw image.
            distortion_model: plumb_bob, rational_polynomial or equidistant.
            rectified: whether the images are rectified: then P counts, otherwise K and D.
        Raises:
            ImageError: the camera is not calibrated, or the distortion is of an unknown kind.
        """
        name = 'P' if rectified else 'K'
        values = np.asarray(p if rectified else k, np.float64).reshape(3, -1)
        matrix = values[:, :3]
        if not (np.isfinite(values).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
            raise ImageError(
                f'camera_info holds no calibration: {name} has no focal length',
                expected='focal lengths above 0', got=f'{matrix[0, 0]:g} and {matrix[1, 1]:g}',
                fix='calibrate the camera, or remap camera_info to the topic of its driver')
        # Zeros make a pinhole of every model but this one, whose rays go by the angle alone.
        if rectified or not np.any(d) and distortion_model != _FISHEYE:
            return cls(size, matrix)
        if not np.isfinite(d).all():
            raise ImageError('camera_info holds no calibration: D has numbers that are none',
                             expected='finite coefficients', got=list(d),
                             fix='calibrate the camera, or remap camera_info to its driver')
        counts = _COEFFICIENTS.get(distortion_model)
        if counts is None or len(d) not in counts:
            raise ImageError(
                'camera_info has a distortion that cannot be used',
                expected=', '.join(_COEFFICIENTS), got=f'{distortion_model!r} with {len(d)} '
                'coefficients', fix='rectify the images and set camera.rectified to true')
        return cls(size, matrix, np.asarray(d, np.float64), distortion_model == _FISHEYE)

    def of_window(self, window: Sequence[int], binning: Sequence[int]) -> 'CameraModel':
        """Return the model for images of a part of the sensor, or with pixels put together.

        The numbers are those of image_geometry. The distortion is one of rays, and stays.

        Args:
            window: left, top, width and height in pixels of the whole sensor; zeros for all of it.
            binning: how many of them become one, across and down; 0 is 1.
        Raises:
            ImageError: the window does not lie on the sensor.
        """
        left, top, width, height = (
            window if any(window) else (0, 0, self.size.width, self.size.height))
        if any(window) and not (0 < width <= self.size.width - left
                                and 0 < height <= self.size.height - top):
            raise ImageError('camera_info has a region of interest that is not on its sensor',
                             expected=f'one within {self.size.width} x {self.size.height}',
                             got=f'{width} x {height} at {left}, {top}',
                             fix='give roi in pixels of the whole sensor, before binning')
        across, down = (max(int(count), 1) for count in binning)
        matrix = self.matrix.copy()
        matrix[:2, 2] -= left, top
        matrix[:2] /= np.array([[across], [down]])
        return replace(self, size=ImageSize(height // down, width // across), matrix=matrix)

    def rays(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Turn pixels into the directions in which they look.

        Args:
            rows: (N,) pixel coordinates.
            columns: (N,) pixel coordinates.
        Returns:
            (N, 2) float64, x and y at depth 1 in the optical frame.
        """
        pixels = np.stack([columns, rows], axis=1).astype(np.float64)
        if self.distortion is None or not len(pixels):
            focal, centre = self.matrix[[0, 1], [0, 1]], self.matrix[:2, 2]
            return (pixels - centre) / focal
        if self.fisheye:
            rays = cv2.fisheye.undistortPoints(pixels[:, None], self.matrix, self.distortion)
        else:
            rays = _undistorted(pixels[:, None], self.matrix, self.distortion)
        return rays.reshape(-1, 2)

    def points(self, rows: np.ndarray, columns: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
        """Return (N, 3) float64 points of pixels with (N,) depths, metres, optical frame."""
        return np.column_stack([self.rays(rows, columns), np.ones(len(rows))]) * depth_m[:, None]

    def project(self, points_m: np.ndarray) -> np.ndarray:
        """Return (N, 2) x and y in pixels of (N, 3) points in front of the camera."""
        points = np.asarray(points_m, np.float64).reshape(-1, 1, 3)
        none = np.zeros(3)
        if self.fisheye:
            pixels, _ = cv2.fisheye.projectPoints(points, none, none, self.matrix, self.distortion)
        else:
            pixels, _ = cv2.projectPoints(points, none, none, self.matrix, self.distortion)
        return pixels.reshape(-1, 2)


def _undistorted(pixels: np.ndarray, matrix: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    if hasattr(cv2, 'undistortPointsIter'):  # OpenCV 4, whose undistortPoints takes no criteria
        none = np.eye(3)
        return cv2.undistortPointsIter(pixels, matrix, distortion, none, none, _CRITERIA)
    return cv2.undistortPoints(pixels, matrix, distortion, criteria=_CRITERIA)
