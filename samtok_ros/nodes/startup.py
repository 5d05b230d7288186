# SPDX-License-Identifier: Apache-2.0
"""The summary that a node logs when it is configured: what runs, and on which topics."""

import os
import platform
import sys
from pathlib import Path
from xml.etree import ElementTree

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.utilities import get_rmw_implementation_identifier

from samtok_ros.runtime.memory import resident_bytes

_LIBRARIES = ('torch', 'transformers', 'onnxruntime', 'numpy')
_NOT_OURS = ('/parameter_events', '/rosout', '/diagnostics', '/clock', '/transition_event')


def summary(node: Node, took_s: float) -> str:
    """Return versions, memory, and the names and QoS of all topics, in several lines.

    Args:
        node: it has created its outputs.
        took_s: time that this took.
    """
    held = resident_bytes()
    memory = f'; {held / 1e6:.0f} MB in use' if held else ''
    lines = [f'configured in {took_s:.1f} s with {versions()}{memory}']
    for verb, ends in (('publishes', node.publishers), ('subscribes to', node.subscriptions)):
        lines += [f'  {verb} {end.topic_name} ({qos_text(end.qos_profile)})' for end in ends
                  if not end.topic_name.endswith(_NOT_OURS)]
    return '\n'.join(lines)


def versions() -> str:
    """Return what runs here: this package, ROS and its middleware, Python, model libraries."""
    found = [f'samtok_ros {_own_version()}',
             f'ROS {os.environ.get("ROS_DISTRO", "from wheels")}',
             get_rmw_implementation_identifier(), f'Python {platform.python_version()}']
    # Only what is loaded already: looking a version up must not import torch.
    loaded = {name: getattr(sys.modules.get(name), '__version__', '') for name in _LIBRARIES}
    found += [f'{name} {version}' for name, version in loaded.items() if version]
    return ', '.join(found)


def qos_text(qos: QoSProfile) -> str:
    """Return a QoS profile as the README writes it."""
    durability = ('transient local, ' if qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
                  else '')
    return f'{qos.reliability.name.lower().replace("_", " ")}, {durability}last {qos.depth}'


def _own_version() -> str:
    try:
        manifest = Path(get_package_share_directory('samtok_ros'), 'package.xml')
        return ElementTree.parse(manifest).findtext('version', 'unknown')
    except (PackageNotFoundError, OSError, ElementTree.ParseError):
        return 'unknown'
