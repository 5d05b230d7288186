# SPDX-License-Identifier: Apache-2.0
"""Let every program of .venv/ find its packages and message libraries.

Stands in for the setup script that people would have to source. The environment's python imports it
when it starts (setup_env.py puts it there).
"""
import os
import sys


def prepend(variable: str, folder: str) -> bool:
    """Put a folder first in a search path of the environment; say whether it was not yet in it."""
    folders = [part for part in os.environ.get(variable, '').split(os.pathsep) if part]
    if folder in folders:
        return False
    os.environ[variable] = os.pathsep.join([folder, *folders])
    return True


prepend('AMENT_PREFIX_PATH', sys.prefix)
# The dynamic loader reads its path once, when a process starts: start again with the right one. The
# ROS wheels do so by themselves; this is for a ROS 2 that was sourced.
if prepend('LD_LIBRARY_PATH', os.path.join(sys.prefix, 'lib')):
    os.execv(sys.executable, sys.orig_argv)
