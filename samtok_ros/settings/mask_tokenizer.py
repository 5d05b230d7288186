# SPDX-License-Identifier: Apache-2.0
"""Settings of the node `mask_tokenizer`."""

from dataclasses import dataclass, field

from samtok_ros.settings.fields import CheckedSettings, setting
from samtok_ros.settings.shared import CacheSettings, FakeSettings, InputSettings, ModelSettings


@dataclass(frozen=True)
class WordsSettings(CheckedSettings):
    """Mask words that come in."""

    wait_s: float = setting(
        2.0, 'time that words wait for their image, which may come after them; then they are '
        'dropped, with a report', unit='s', bounds=(0.0, 600.0), live=True)
    queue: int = setting(100, 'messages that may wait for the model or for their image; more are '
                         'dropped, with a report', bounds=(1, 100000))


@dataclass(frozen=True)
class OverlaySettings(CheckedSettings):
    """The picture for people."""

    jpeg_quality: int = setting(80, 'JPEG quality of `overlay/compressed`', bounds=(1, 100),
                                live=True)


@dataclass(frozen=True)
class TargetSettings(CheckedSettings):
    """What a grasp planner subscribes to."""

    max_age_s: float = setting(
        0.0, 'a target of an older image is not published, which is reported; 0 publishes every '
        'one', unit='s', bounds=(0.0, 3600.0), live=True)


@dataclass(frozen=True)
class ServicesSettings(CheckedSettings):
    """Services that need the model."""

    time_limit_s: float = setting(
        10.0, 'a call that the model has no time for within this is answered with that reason',
        unit='s', bounds=(0.01, 600.0), live=True)


@dataclass(frozen=True)
class TrackSettings(CheckedSettings):
    """Regions of an answer, found again in the images until the next answer comes."""

    policy: str = setting(
        # Not off: that is a truth value on the command line of ROS.
        'reencode', 'how they are found: none not at all, hold leaves masks as they are, redecode '
        'draws the same words on each image, reencode makes new words of what it drew, memory is '
        'the memory of SAM 2, for models that have it; none with input.every_frame, where each '
        'image is answered', choices=('none', 'hold', 'redecode', 'reencode', 'memory'))
    max_age_s: float = setting(
        30.0, 'regions of an answer that is older, measured on image stamps, are followed no '
        'longer, which is said; more than the model takes for two answers', unit='s',
        bounds=(0.1, 3600.0), live=True)
    max_colour_change: float = setting(
        50.0, 'a thing whose mean red, green or blue differs more from that in the image of the '
        'answer is lost; 255.0 believes every colour', bounds=(0.0, 255.0), live=True)
    max_area_change: float = setting(
        2.0, 'a thing that has grown or shrunk by more than this factor since the image of the '
        'answer is lost', bounds=(1.0, 1000000.0), live=True)
    load: float = setting(
        0.3, 'share of the time of the model that following takes at most while answers are '
        'spoken in the same process; images in between are left out and counted',
        bounds=(0.01, 1.0), live=True)


@dataclass(frozen=True)
class MaskTokenizerSettings(CheckedSettings):
    """Everything that can be set on the `mask_tokenizer` node."""

    autostart: bool = setting(False, 'configure and activate without a lifecycle manager')
    model: ModelSettings = field(default_factory=ModelSettings)
    input: InputSettings = field(default_factory=InputSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    words: WordsSettings = field(default_factory=WordsSettings)
    track: TrackSettings = field(default_factory=TrackSettings)
    target: TargetSettings = field(default_factory=TargetSettings)
    overlay: OverlaySettings = field(default_factory=OverlaySettings)
    services: ServicesSettings = field(default_factory=ServicesSettings)
    fake: FakeSettings = field(default_factory=FakeSettings)
