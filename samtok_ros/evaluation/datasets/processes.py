# SPDX-License-Identifier: Apache-2.0
"""Which of several processes this is, as `accelerate launch` started them."""

import os
from dataclasses import dataclass

from samtok_ros.errors import ConfigError
from samtok_ros.evaluation.datasets.run_directory import Share


@dataclass(frozen=True)
class Process:
    """One process of a run.

    Attributes:
        share: of the samples.
        device: torch device of its own; empty where it has none, such as on a CPU.
    """

    share: Share = Share()
    device: str = ''


def this_process() -> Process:
    """Return what accelerate says; a process that was started alone is the only one.

    The processes never wait for one another, so none can time out: each writes its own file, and
    whoever is last puts them together.

    Raises:
        ConfigError: started as one of several, and accelerate is not installed.
    """
    if int(os.environ.get('WORLD_SIZE', '1')) < 2:
        return Process()
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ConfigError('accelerate is not installed', got=error,
                          fix='run pip install "samtok_ros[eval]"') from error
    import torch

    state = PartialState(cpu=not torch.cuda.is_available())
    device = str(state.device) if state.device.type != 'cpu' else ''
    return Process(Share(state.process_index, state.num_processes), device)
