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
        'torch', 'what runs it; fake makes up words from the image and the goal, for tests of '
        'everything around the model', choices=('torch', 'fake'))
    device: str = setting('auto', 'auto takes the GPU where there is one',
                          choices=('auto', 'cpu', 'cuda'))
    dtype: str = setting(
        'auto', 'number format of the heavy parts; auto is bfloat16 on a GPU and float32 on a CPU',
        choices=('auto', 'float32', 'bfloat16'))


@dataclass(frozen=True)
class InputSettings(_Checked):
    """How images come in."""

    transport: str = setting('raw', 'raw reads `image`, compressed reads `image/compressed`',
                             choices=('raw', 'compressed'))
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
class FakeSettings(_Checked):
    """Delays and failures of the fake backend; without effect on any other."""

    load_s: float = setting(0.0, 'time to load', unit='s', bounds=(0.0, 600.0))
    token_s: float = setting(0.0, 'time per token', unit='s', bounds=(0.0, 60.0))
    decode_s: float = setting(0.0, 'time to decode the words of one message', unit='s',
                              bounds=(0.0, 60.0))
    fail_every: int = setting(0, 'every n-th answer fails; 0 never', bounds=(0, 1000000))
    fail_load: bool = setting(False, 'loading fails')


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
class GroundingSettings(_Checked):
    """Everything that can be set on the `grounding` node."""

    autostart: bool = setting(False, 'configure and activate without a lifecycle manager')
    max_rate_hz: float = setting(
        0.0, 'a standing goal is grounded again at most this often, measured on image stamps; 0 '
        'is as often as the model can', unit='Hz', bounds=(0.0, 1000.0), live=True)
    model: ModelSettings = field(default_factory=ModelSettings)
    input: InputSettings = field(default_factory=InputSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
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
class MaskTokenizerSettings(_Checked):
    """Everything that can be set on the `mask_tokenizer` node."""

    autostart: bool = setting(False, 'configure and activate without a lifecycle manager')
    model: ModelSettings = field(default_factory=ModelSettings)
    input: InputSettings = field(default_factory=InputSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    words: WordsSettings = field(default_factory=WordsSettings)
    overlay: OverlaySettings = field(default_factory=OverlaySettings)
    fake: FakeSettings = field(default_factory=FakeSettings)


SETTINGS_OF_NODE = {'grounding': GroundingSettings, 'mask_tokenizer': MaskTokenizerSettings}
"""Which settings belong to which node name."""
