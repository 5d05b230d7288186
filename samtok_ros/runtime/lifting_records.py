# SPDX-License-Identifier: Apache-2.0
"""What the lifting node works on, without ROS: masks, depth and calibration of one stamp."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from samtok_ros.errors import ImageError
from samtok_ros.lifting.camera_model import CameraModel
from samtok_ros.lifting.target import LiftedTarget, LiftStatus
from samtok_ros.regions import ImageSize
from samtok_ros.runtime.mask_decoding import best_region
from samtok_ros.runtime.records import Origin, Status


@dataclass(frozen=True, eq=False)
class MaskedThing:
    """One region, its mask still in run lengths.

    Attributes:
        region_id, track_id, label, score, mask_score, lost: as in RegionMask.
        read_mask: returns (H, W) bool, or raises ImageError; for the thread that lifts.
    """

    region_id: int
    track_id: int
    label: str
    score: float
    mask_score: float
    lost: bool
    read_mask: Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class MaskSet:
    """The complete masks of one image.

    Attributes:
        stamp_ns, frame_id, size: of the image.
        goal, goal_id: what was looked for.
        origin, answer_stamp_ns: whether, and when, the language model was asked.
        status, message: how the answer ended.
        things: the regions in the order they were named.
    """

    stamp_ns: int
    frame_id: str
    size: ImageSize
    goal: str = ''
    goal_id: int = 0
    origin: Origin = Origin.ANSWERED
    answer_stamp_ns: int = 0
    status: Status = Status.OK
    message: str = ''
    things: tuple[MaskedThing, ...] = ()

    @property
    def target(self) -> MaskedThing | None:
        """The thing to grasp, by the rule of target/mask; None when there is none."""
        return best_region(self.things)


@dataclass(frozen=True, eq=False)
class DepthImage:
    """One depth image, as it came.

    Attributes:
        stamp_ns, frame_id, size: of the image.
        nbytes: memory that it holds.
        read_m: returns (H, W) float32 metres, NaN for no reading, or raises ImageError.
    """

    stamp_ns: int
    frame_id: str
    size: ImageSize
    nbytes: int
    read_m: Callable[[], np.ndarray]


@dataclass(frozen=True, eq=False)
class Calibration:
    """One CameraInfo message.

    Attributes:
        stamp_ns, frame_id: of the message.
        key: equal for equal contents.
        camera: what it says, None where that cannot be used.
        refusal: why it cannot be used, else ''.
    """

    stamp_ns: int
    frame_id: str
    key: tuple
    camera: CameraModel | None
    refusal: str = ''


@dataclass(frozen=True, eq=False)
class Pair:
    """Masks with the depth image and the calibration of their stamp, or why there are none.

    Attributes:
        masks: of the image.
        depth, calibration: None where there are none.
        refusal: why the masks cannot be lifted, '' when they can be.
    """

    masks: MaskSet
    depth: DepthImage | None = None
    calibration: Calibration | None = None
    refusal: str = ''

    @cached_property
    def depth_m(self) -> np.ndarray:
        """(H, W) float32 metres, NaN for no reading; read once.

        Raises:
            ImageError: there is no depth image that fits, or it cannot be read.
        """
        if self.refusal or self.depth is None:
            raise ImageError(self.refusal.rstrip('.') or 'there is no depth image')
        return self.depth.read_m()

    @property
    def camera(self) -> CameraModel:
        """The camera.

        Raises:
            ImageError: there is no calibration that fits.
        """
        if self.refusal or self.calibration is None:
            raise ImageError(self.refusal.rstrip('.') or 'there is no camera_info')
        return self.calibration.camera


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of the target of one image.

    Attributes:
        masks: of the image.
        status, message: whether the target can be grasped, and if not, why.
        target: the thing that was to be lifted, None when there is none.
        lifted: what is known of it in 3D; None when nothing is.
    """

    masks: MaskSet
    status: LiftStatus
    message: str
    target: MaskedThing | None = None
    lifted: LiftedTarget | None = None
