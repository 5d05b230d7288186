# SPDX-License-Identifier: Apache-2.0
"""The measurement of images on their way; figures are checked for sense, never for speed."""

import rclpy
from harness import own_domain

from samtok_ros.benchmark.transport import transport_table
from samtok_ros.nodes.bench_transport import conversion_rows, transport_row


def test_transport_when_measured_then_every_reliable_image_arrives_and_the_table_has_a_row(
        monkeypatch):
    with own_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        rclpy.init(domain_id=domain)
        try:
            rows = [*conversion_rows((48, 64)), transport_row('raw reliable', (48, 64), 5)]
        finally:
            rclpy.try_shutdown()
    by_name = {row['what']: row for row in rows}
    assert by_name['fill data: element by element']['p50_ms'] > (
        by_name['fill data: array of bytes (ours)']['p50_ms'])
    sent = by_name['from process to process: raw reliable']
    assert (sent['sent'], sent['arrived']) == (5, 5)
    assert 0 < sent['p50_ms'] <= sent['p95_ms']
    table = transport_table(rows)
    assert len(table.splitlines()) == len(rows) + 1
    assert 'raw reliable' in table
