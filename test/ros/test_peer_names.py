# SPDX-License-Identifier: Apache-2.0
"""Which peers are reported, and when."""

from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy', reason='ROS 2 (rclpy) is not installed')

from samtok_ros.nodes.peer_names import PeersToReport  # noqa: E402


def peers(*names):
    return [SimpleNamespace(node_namespace='/samtok', node_name=name) for name in names]


UNKNOWN = SimpleNamespace(node_namespace='_NODE_NAMESPACE_UNKNOWN_',
                          node_name='_NODE_NAME_UNKNOWN_')


def test_peer_when_it_stays_then_it_is_reported_once():
    to_report = PeersToReport()
    assert to_report.pick(peers('planner')) == ('/samtok/planner',)
    assert to_report.pick(peers('planner')) == ()
    assert to_report.pick(peers('viewer', 'planner', 'arm')) == ('/samtok/arm', '/samtok/viewer')


def test_peer_when_its_name_comes_later_then_it_is_reported_with_it():
    to_report = PeersToReport()
    for _ in range(3):
        assert to_report.pick([UNKNOWN]) == ()
    assert to_report.pick(peers('planner')) == ('/samtok/planner',)


def test_peer_when_its_name_never_comes_then_it_is_reported_without_once():
    to_report = PeersToReport()
    picked = [to_report.pick([UNKNOWN]) for _ in range(8)]
    assert [bool(names) for names in picked] == [False] * 4 + [True] + [False] * 3
