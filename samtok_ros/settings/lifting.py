# SPDX-License-Identifier: Apache-2.0
"""Settings of the node `lifting`."""

from dataclasses import dataclass, field

from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import CheckedSettings, setting


@dataclass(frozen=True)
class DepthSettings(CheckedSettings):
    """How depth images and the calibration of the camera come in, and how long they are kept."""

    transport: str = setting(
        'auto', 'raw reads `depth`, compressed reads `depth/compressedDepth`; auto reads the raw '
        'ones where somebody publishes them, else the compressed ones, never both',
        choices=('auto', 'raw', 'compressed'))
    reliability: str = setting(
        'auto', 'of depth images and `camera_info`: auto takes what their publishers offer, for '
        'large best-effort messages are often lost; reliable is for replay',
        choices=('auto', 'best_effort', 'reliable'))
    queue: int = setting(10, 'messages that the middleware keeps for us; no depth image should be '
                         'lost, for a mask takes that of its own stamp only', bounds=(1, 10000))
    keep_s: float = setting(
        15.0, 'depth images are kept for so long, measured on their stamps: longer than the model '
        'takes to answer', unit='s', bounds=(0.1, 3600.0))
    megabytes: int = setting(512, 'memory for the depth images that are kept', unit='MB',
                             bounds=(1, 1000000))
    max_megapixels: int = setting(20, 'larger depth images are refused', unit='Mpx',
                                  bounds=(1, 200))


@dataclass(frozen=True)
class CameraSettings(CheckedSettings):
    """The calibration of the camera."""

    rectified: bool = setting(
        False, 'the images are rectified, so P of `camera_info` counts; else K and the distortion')
    stamp: str = setting(
        'constant', 'constant takes the calibration of the stamp of the mask or, where there is '
        'none, what those before and after agree on; exact takes that of the very stamp only, for '
        'cameras that zoom', choices=('constant', 'exact'))


@dataclass(frozen=True)
class PointSettings(CheckedSettings):
    """Which pixels of a mask become points."""

    erosion_px: int = setting(
        2, 'taken off the rim of the mask, where depth is unreliable; less for things too thin '
        'for it', unit='px', bounds=(0, 50), live=True)
    min_depth_m: float = setting(0.1, 'nearer readings are left out', unit='m', bounds=(0.0, 100.0),
                                 live=True)
    max_depth_m: float = setting(5.0, 'farther readings are left out', unit='m',
                                 bounds=(0.01, 1000.0), live=True)
    jump_m: float = setting(
        0.012, 'a pixel whose depth differs more from that around it lies on an edge and is left '
        'out; farther than 0.8 m one and a half percent of the depth', unit='m',
        bounds=(0.001, 1.0), live=True)

    def __post_init__(self) -> None:
        """Check the fields, and that the range is one.

        Raises:
            ConfigError: as in the base, or the range has no width.
        """
        super().__post_init__()
        if self.min_depth_m >= self.max_depth_m:
            raise ConfigError('points.min_depth_m is not below points.max_depth_m',
                              expected=f'less than {self.max_depth_m:g}', got=self.min_depth_m)


@dataclass(frozen=True)
class QualitySettings(CheckedSettings):
    """When a lifted target is good enough to be called OK."""

    min_points: int = setting(50, 'fewer points are no target', bounds=(1, 1000000), live=True)
    min_depth_share: float = setting(
        0.1, 'share of the mask that must have depth', bounds=(0.0, 1.0), live=True)


@dataclass(frozen=True)
class SceneSettings(CheckedSettings):
    """The cloud of everything else, for the planning scene."""

    enabled: bool = setting(
        False, 'publish `scene/points`, the organised cloud without the target; made only while '
        'somebody listens')
    target_margin_px: int = setting(
        6, 'left out of the scene around the target, so that no rim of it stays there as an '
        'obstacle', unit='px', bounds=(0, 100), live=True)


@dataclass(frozen=True)
class LiftingSettings(CheckedSettings):
    """Everything that can be set on the `lifting` node."""

    autostart: bool = setting(False, 'configure and activate without a lifecycle manager')
    wait_s: float = setting(
        0.5, 'time that masks wait for the depth image of their stamp, which may come after them; '
        'then they are refused with a reason', unit='s', bounds=(0.0, 600.0), live=True)
    queue: int = setting(
        4, 'masks that may wait to be lifted; when they come faster the oldest is left out, which '
        'is counted', bounds=(1, 100000))
    withdraw_after_s: float = setting(
        10.0, 'when no masks have come for so long, the last target is replaced by an empty one '
        'with status REFUSED; 0 never', unit='s', bounds=(0.0, 3600.0), live=True)
    depth: DepthSettings = field(default_factory=DepthSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    points: PointSettings = field(default_factory=PointSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    scene: SceneSettings = field(default_factory=SceneSettings)
