# SPDX-License-Identifier: Apache-2.0
"""What subcommands that talk to running nodes have in common."""

import argparse
import importlib
import sys
from types import ModuleType

from samtok_ros.errors import ConfigError


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add --namespace."""
    parser.add_argument('--namespace', default='samtok', metavar='NS',
                        help='namespace of the nodes, as for samtok up (default: %(default)s)')


def load_ros_part(name: str) -> ModuleType:
    """Import what a subcommand does with ROS; by name, as only the nodes import ROS.

    Raises:
        ConfigError: ROS 2 or our messages are not here.
    """
    try:
        return importlib.import_module(f'samtok_ros.nodes.{name}')
    except ImportError as error:
        raise ConfigError('ROS 2 or the messages of samtok_ros are not here', got=error,
                          fix='run make setup and use .venv/bin/samtok, or source your ROS 2 and '
                          'the workspace with this package') from error


def note(text: str) -> None:
    """Say on standard error what is going on, so that results alone are on standard output."""
    print(f'samtok: {text}', file=sys.stderr, flush=True)
