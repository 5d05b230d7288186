# SPDX-License-Identifier: Apache-2.0
"""Settings of the nodes: the only place with a default, unit, range and description.

ROS parameters, `config/*.yaml` and the README table follow from these dataclasses (see
`config_fields.py`); a test keeps them equal. Settings marked live may change between two frames,
all others are fixed once the node exists.
"""

from dataclasses import dataclass, field

from samtok_ros.config_fields import check_settings, setting
from samtok_ros.errors import ConfigError


class _Checked:
    """Base of the settings: a record that exists is a record that is right."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: a value has the wrong type, is out of range or not among the choices.
        """
        check_settings(self)


@dataclass(frozen=True)
class ModelSettings(_Checked):
    """Which model runs, and where."""

    name: str = setting(
        'tabletop', 'model that ships with the package, path of a model directory, or owner/name '
        'of one in the hub cache')
    backend: str = setting(
        'torch', 'what runs it; onnx runs the mask tokenizer by ONNX Runtime after samtok export, '
        'and the language model by torch as ever; fake makes up words from the image and the goal, '
        'for tests of everything around the model', choices=('torch', 'onnx', 'fake'))
    provider: str = setting(
        'auto', 'what runs the mask tokenizer with backend onnx: auto goes by device and takes '
        'tensorrt where samtok build-engines has run; one that is asked for and is not there is an '
        'error', choices=('auto', 'cpu', 'cuda', 'tensorrt'))
    device: str = setting('auto', 'auto takes the GPU where there is one',
                          choices=('auto', 'cpu', 'cuda'))
    dtype: str = setting(
        'auto', 'number format of the heavy parts; auto is bfloat16 on a GPU and float32 on a CPU, '
        'float16 needs a GPU', choices=('auto', 'float32', 'bfloat16', 'float16'))
    warm_up: bool = setting(True, 'run once on an empty image while configuring, so that the first '
                            'answer is as fast as later ones')
    thinks: bool = setting(False, 'ask as models want it that were trained by reinforcement '
                           '(...-gcg-rl, ...-gres-rl): they think aloud before they answer, and '
                           'are worse untold; raise limits.max_new_tokens to 1024 with it')

    def __post_init__(self) -> None:
        """Check the fields, and that no provider is asked for where none is used.

        Raises:
            ConfigError: as in the base, or a provider for another backend than onnx.
        """
        super().__post_init__()
        if self.provider != 'auto' and self.backend != 'onnx':
            raise ConfigError(f'model.provider has no meaning with backend {self.backend}',
                              expected='model.backend: onnx', got=f'provider {self.provider}',
                              fix='set model.backend to onnx, or leave model.provider out')


@dataclass(frozen=True)
class InputSettings(_Checked):
    """How images come in."""

    transport: str = setting(
        'auto', 'raw reads `image`, compressed reads `image/compressed`; auto reads the raw ones '
        'where somebody publishes them, else the compressed ones, never both',
        choices=('auto', 'raw', 'compressed'))
    reliability: str = setting(
        'best_effort', 'best_effort connects to every camera; reliable is for replay',
        choices=('best_effort', 'reliable'))
    depth: int = setting(1, 'images that the middleware keeps for us; 1 is the newest only',
                         bounds=(1, 10000))
    every_frame: bool = setting(
        False, 'process every image in order instead of the newest, so that a bag gives the same '
        'words each time; a goal then holds for the images stamped at or after its own stamp')
    queue: int = setting(1000, 'images that may wait when every one is processed; more are lost, '
                         'which is reported', bounds=(1, 100000))
    max_age_s: float = setting(
        0.0, 'an image that is older than this, in ROS time, when its turn comes is dropped and '
        'counted; 0 never', unit='s', bounds=(0.0, 3600.0))
    convert_raw_formats: bool = setting(
        False, 'Bayer and YUV images (`bayer_*`, `yuv422`, `uyvy`, `yuv422_yuy2`, `yuyv`, `nv21`) '
        'are converted on the CPU; else they are refused')
    max_megapixels: int = setting(20, 'larger images are refused', unit='Mpx', bounds=(1, 200))

    def __post_init__(self) -> None:
        """Check the fields, and that no frame can be lost where none may be.

        Raises:
            ConfigError: as in the base, or every frame is wanted over a lossy input.
        """
        super().__post_init__()
        if self.every_frame and self.reliability != 'reliable':
            raise ConfigError('input.every_frame loses frames on this input',
                              expected='input.reliability: reliable', got=self.reliability,
                              fix='start from config/replay.yaml')
        if self.every_frame and self.max_age_s:
            raise ConfigError('input.max_age_s would drop frames that input.every_frame asks for',
                              expected='input.max_age_s: 0.0', got=self.max_age_s)


@dataclass(frozen=True)
class CacheSettings(_Checked):
    """Frames that are kept, by stamp, until their words come back."""

    frames: int = setting(120, 'frames kept at most', bounds=(1, 100000))
    megabytes: int = setting(512, 'memory for frames and their features', unit='MB',
                             bounds=(1, 1000000))


@dataclass(frozen=True)
class LimitSettings(_Checked):
    """When an answer of the model is cut short; what was said until then is kept."""

    max_new_tokens: int = setting(512, 'tokens in one answer', unit='tokens', bounds=(1, 8192),
                                  live=True)
    max_masks: int = setting(64, 'regions in one answer', bounds=(1, 64), live=True)
    deadline_s: float = setting(30.0, 'time for one answer', unit='s', bounds=(0.1, 3600.0),
                                live=True)


@dataclass(frozen=True)
class ActionsSettings(_Checked):
    """Goals of the actions `ground` and `ask`; one at a time is answered."""

    policy: str = setting(
        'queue', 'what a new goal does while another one is answered: queue waits for its turn, '
        'preempt ends the others, which are aborted with what was said', choices=(
            'queue', 'preempt'))
    queue: int = setting(8, 'goals that may wait for their turn; more are rejected',
                         bounds=(0, 1000))
    result_timeout_s: float = setting(
        10.0, 'how long the result of a goal that has ended can be asked for', unit='s',
        bounds=(1.0, 3600.0))
    conversations: int = setting(
        16, 'conversations that are remembered; the one unused for longest is forgotten',
        bounds=(1, 1000))
    rounds: int = setting(
        8, 'newest rounds of a conversation that the model is told of', bounds=(1, 100))


@dataclass(frozen=True)
class FakeSettings(_Checked):
    """Delays and failures of the fake backend; without effect on any other."""

    load_s: float = setting(0.0, 'time to load', unit='s', bounds=(0.0, 600.0))
    prompt_s: float = setting(0.0, 'time to read image and text', unit='s', bounds=(0.0, 60.0))
    token_s: float = setting(0.0, 'time per token', unit='s', bounds=(0.0, 60.0))
    decode_s: float = setting(0.0, 'time to decode the words of one message', unit='s',
                              bounds=(0.0, 60.0))
    fail_every: int = setting(0, 'every n-th answer fails, as a device without memory left does; '
                              '0 never', bounds=(0, 1000000))
    flood: str = setting(
        'none', 'an answer never stops by itself, and is full of text, of masks or of malformed '
        'spans', choices=('none', 'text', 'masks', 'malformed'))
    fail_load: bool = setting(False, 'loading fails', live=True)
    fail_load_memory: bool = setting(False, 'loading runs out of memory', live=True)


@dataclass(frozen=True)
class WordsSettings(_Checked):
    """Mask words that come in."""

    wait_s: float = setting(
        2.0, 'time that words wait for their image, which may come after them; then they are '
        'dropped, with a report', unit='s', bounds=(0.0, 600.0), live=True)
    queue: int = setting(100, 'messages that may wait for the model or for their image; more are '
                         'dropped, with a report', bounds=(1, 100000))


@dataclass(frozen=True)
class OverlaySettings(_Checked):
    """The picture for people."""

    jpeg_quality: int = setting(80, 'JPEG quality of `overlay/compressed`', bounds=(1, 100),
                                live=True)


@dataclass(frozen=True)
class TargetSettings(_Checked):
    """What a grasp planner subscribes to."""

    max_age_s: float = setting(
        0.0, 'a target of an older image is not published, which is reported; 0 publishes every '
        'one', unit='s', bounds=(0.0, 3600.0), live=True)


@dataclass(frozen=True)
class ServicesSettings(_Checked):
    """Services that need the model."""

    time_limit_s: float = setting(
        10.0, 'a call that the model has no time for within this is answered with that reason',
        unit='s', bounds=(0.01, 600.0), live=True)


@dataclass(frozen=True)
class GroundingSettings(_Checked):
    """Everything that can be set on the `grounding` node."""

    autostart: bool = setting(False, 'configure and activate without a lifecycle manager')
    max_rate_hz: float = setting(
        0.0, 'a standing goal is grounded again at most this often, measured on image stamps; 0 '
        'is as often as the model can', unit='Hz', bounds=(0.0, 1000.0), live=True)
    zoom_below: float = setting(
        0.0, 'with the task region_caption: a region whose box covers less of the image is shown a '
        'second time, enlarged; for models trained on that alone (published: 0.3), which the '
        'embedded one was not, and with the mask tokenizer in the same process; 0 is never',
        bounds=(0.0, 1.0), live=True)
    model: ModelSettings = field(default_factory=ModelSettings)
    input: InputSettings = field(default_factory=InputSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    actions: ActionsSettings = field(default_factory=ActionsSettings)
    fake: FakeSettings = field(default_factory=FakeSettings)

    def __post_init__(self) -> None:
        """Check the fields, and that the rate limit drops nothing that must be processed.

        Raises:
            ConfigError: as in the base, or a rate limit where every frame is wanted.
        """
        super().__post_init__()
        if self.input.every_frame and self.max_rate_hz:
            raise ConfigError('max_rate_hz would drop frames that input.every_frame asks for',
                              expected='max_rate_hz: 0.0', got=self.max_rate_hz)


@dataclass(frozen=True)
class TrackSettings(_Checked):
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
class MaskTokenizerSettings(_Checked):
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


@dataclass(frozen=True)
class DepthSettings(_Checked):
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
class CameraSettings(_Checked):
    """The calibration of the camera."""

    rectified: bool = setting(
        False, 'the images are rectified, so P of `camera_info` counts; else K and the distortion')
    stamp: str = setting(
        'constant', 'constant takes the calibration of the stamp of the mask or, where there is '
        'none, what those before and after agree on; exact takes that of the very stamp only, for '
        'cameras that zoom', choices=('constant', 'exact'))


@dataclass(frozen=True)
class PointSettings(_Checked):
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
class QualitySettings(_Checked):
    """When a lifted target is good enough to be called OK."""

    min_points: int = setting(50, 'fewer points are no target', bounds=(1, 1000000), live=True)
    min_depth_share: float = setting(
        0.1, 'share of the mask that must have depth', bounds=(0.0, 1.0), live=True)


@dataclass(frozen=True)
class SceneSettings(_Checked):
    """The cloud of everything else, for the planning scene."""

    enabled: bool = setting(
        False, 'publish `scene/points`, the organised cloud without the target; made only while '
        'somebody listens')
    target_margin_px: int = setting(
        6, 'left out of the scene around the target, so that no rim of it stays there as an '
        'obstacle', unit='px', bounds=(0, 100), live=True)


@dataclass(frozen=True)
class LiftingSettings(_Checked):
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


SETTINGS_OF_NODE = {'grounding': GroundingSettings, 'mask_tokenizer': MaskTokenizerSettings,
                    'lifting': LiftingSettings}
"""Which settings belong to which node name."""
