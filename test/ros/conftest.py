# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run real nodes over DDS."""

import pytest


@pytest.fixture
def world(tmp_path):
    """A ROS domain of its own; at the end every program must end cleanly."""
    from harness import World, own_domain

    with own_domain() as domain:
        world = World(domain, tmp_path)
        try:
            yield world
        finally:
            world.close()
