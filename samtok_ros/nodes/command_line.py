# SPDX-License-Identifier: Apache-2.0
"""The command line of a node: rclpy started, and one readable line when it cannot be."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from samtok_ros.bring_up.parameter_file import check_parameter_file
from samtok_ros.errors import ConfigError

_FILE_FLAG = '--params-file'


def start_ros(argv: Sequence[str] | None = None) -> None:
    """Initialise rclpy for this process, without its signal handlers.

    rclpy's own handlers would take the context away while the worker still publishes.

    Args:
        argv: program and arguments; those of the process when left out.
    Raises:
        ConfigError: an argument, or a parameter file, that ROS or our nodes cannot use.
    """
    argv = sys.argv if argv is None else argv
    warnings = [text for path in parameter_files(argv) for text in check_parameter_file(path)]
    try:
        rclpy.init(args=list(argv), signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # Base of all that rcl raises.
        raise ConfigError('ROS does not start', got=_without_places(str(error)),
                          fix='look at the arguments behind --ros-args and at the parameter files'
                          ) from error
    for text in warnings:
        rclpy.logging.get_logger('samtok_ros').warning(text)


def parameter_files(argv: Sequence[str]) -> Iterator[Path]:
    """Yield the parameter files that a command line names for ROS."""
    is_for_ros = False
    for flag, value in zip(argv, [*argv[1:], ''], strict=True):
        if flag in ('--ros-args', '--'):
            is_for_ros = flag == '--ros-args'
        elif flag == _FILE_FLAG and is_for_ros and value:
            yield Path(value)


def _without_places(text: str) -> str:
    """Leave out where in its own sources rcl has found it."""
    return text.partition(', at /')[0].removeprefix('failed to initialize rcl: ')
