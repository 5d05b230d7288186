# SPDX-License-Identifier: Apache-2.0
"""Settings of the node `grounding`."""

from dataclasses import dataclass, field

from samtok_ros.errors import ConfigError
from samtok_ros.settings.fields import CheckedSettings, setting
from samtok_ros.settings.shared import CacheSettings, FakeSettings, InputSettings, ModelSettings


@dataclass(frozen=True)
class LimitSettings(CheckedSettings):
    """When an answer of the model is cut short; what was said until then is kept."""

    max_new_tokens: int = setting(512, 'tokens in one answer', unit='tokens', bounds=(1, 8192),
                                  live=True)
    max_masks: int = setting(64, 'regions in one answer', bounds=(1, 64), live=True)
    deadline_s: float = setting(30.0, 'time for one answer', unit='s', bounds=(0.1, 3600.0),
                                live=True)


@dataclass(frozen=True)
class ActionsSettings(CheckedSettings):
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
class GroundingSettings(CheckedSettings):
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
