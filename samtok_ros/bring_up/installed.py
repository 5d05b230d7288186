# SPDX-License-Identifier: Apache-2.0
"""Where installed programs and shared files lie, found without ROS."""

import os
import sys
from pathlib import Path

from samtok_ros.errors import ConfigError

PACKAGE = 'samtok_ros'


def find_program(name: str, package: str = PACKAGE) -> Path:
    """Return an installed program of a ROS package.

    Raises:
        ConfigError: it is not installed.
    """
    return _find(Path('lib', package, name), package)


def find_shared(name: str) -> Path:
    """Return an installed file or folder of this package, such as 'config/default.yaml'.

    Raises:
        ConfigError: it is not installed.
    """
    return _find(Path('share', PACKAGE, name), PACKAGE)


def _find(place: Path, package: str) -> Path:
    """Search where the ament index does: prefixes from the environment, then our own."""
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    for prefix in [*filter(None, prefixes), sys.prefix]:
        if (Path(prefix) / place).exists():
            return Path(prefix) / place
    ours = 'run make setup, or build with colcon and source install/setup.bash'
    raise ConfigError(f'{place} is not installed', expected=f'it below one of {prefixes}',
                      fix=ours if package == PACKAGE else f'install the ROS package {package}')
