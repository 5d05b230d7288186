# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run real nodes over DDS."""

import pytest

_LOG_END = 6000


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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Show with a failure what the programs said, and what they say of themselves."""
    report = yield
    world = getattr(item, 'funcargs', {}).get('world')
    if report.failed and world is not None:
        for number, program in enumerate(world.programs):
            report.sections.append((f'log of program {number}', program.log()[-_LOG_END:]))
        peer = world.peer
        diagnostics = '\n'.join(f'{name}: {status}' for name, status
                                in sorted(peer.diagnostics.items()))
        report.sections += [('diagnostics', diagnostics), ('peer', '\n'.join(peer.describe()))]
    return report
