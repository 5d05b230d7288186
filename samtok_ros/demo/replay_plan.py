# SPDX-License-Identifier: Apache-2.0
"""What is replayed and how: handed from the `samtok demo` command to the process that replays."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from samtok_ros.errors import ConfigError

MASKS_TOPIC, WORDS_TOPIC = '/samtok/masks', '/samtok/mask_words'
BOX_TOPIC, POINTS_TOPIC = '/samtok/target/box', '/samtok/target/points'


@dataclass(frozen=True)
class ReplayPlan:
    """One replay.

    Attributes:
        bag: folder of the camera bag.
        goals: file with the goals.
        result: folder of the bag of results; must not exist yet.
        every_frame: play for the replay configuration, in which no image is dropped; otherwise
            play as a camera does.
        rate: speed of the bag; 1.0 is real time.
        start_wait_s: time for the nodes to start and load their model.
        answer_wait_s: time for one answer once the bag stands still to wait for it.
    """

    bag: str
    goals: str
    result: str
    every_frame: bool = False
    rate: float = 1.0
    start_wait_s: float = 120.0
    answer_wait_s: float = 20.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: a number is out of range.
        """
        for name in ('rate', 'start_wait_s', 'answer_wait_s'):
            value = getattr(self, name)
            if not 0 < value < float('inf'):
                raise ConfigError(f'{name} of a replay is out of range', expected='above 0',
                                  got=value)

    def save(self, path: Path) -> None:
        """Write the plan; `load` is the inverse."""
        path.write_text(json.dumps(asdict(self), indent=1) + '\n', encoding='utf-8')

    @classmethod
    def load(cls, path: Path) -> 'ReplayPlan':
        """Read a plan.

        Raises:
            ConfigError: there is no such file, or it is no plan.
        """
        try:
            return cls(**json.loads(path.read_text(encoding='utf-8')))
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f'{path} is no plan of a replay', got=error,
                              fix='run samtok demo') from error
