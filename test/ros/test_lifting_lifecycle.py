# SPDX-License-Identifier: Apache-2.0
"""The lifting node as a program: transitions, wrong settings, and what it does not load."""

import re
from pathlib import Path

from harness import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, START_NS
from lifting_bench import LiftingBench

from samtok_ros.msg import LiftedTarget


def test_program_when_driven_by_hand_then_it_may_be_taken_down_and_brought_up_again(world):
    program = world.start('lifting', {})
    level, text, _ = world.peer.health('lifting', 'lifting')
    assert (level, text) == (0, 'nothing is lifted: the node is unconfigured')
    program.wait_for_log('unconfigured; to start: ros2 lifecycle set /samtok/lifting configure')
    bench = None
    for number in range(2):
        assert world.peer.change('lifting', CONFIGURE)
        assert world.peer.health('lifting', 'input', lambda found: 'inactive' in found[1])
        assert world.peer.change('lifting', ACTIVATE)
        if bench is None:
            bench = LiftingBench(world.peer)
        else:
            bench.connect()
        assert bench.lift(START_NS + number).status == LiftedTarget.OK
        assert world.peer.change('lifting', DEACTIVATE)
        bench.box.wait(lambda m: m.message == 'the lifting node was deactivated',
                       count=number + 1)
        assert world.peer.change('lifting', CLEANUP)
        assert world.peer.state('lifting') == 'unconfigured'
    loaded = Path(f'/proc/{program.process.pid}/maps').read_text()
    assert not re.findall(r'libtorch|transformers|onnxruntime', loaded), 'it needs no model'


def test_program_when_a_setting_is_wrong_then_it_ends_with_one_line(world):
    program = world.start('lifting', {'points.min_depth_m': 6.0})
    assert program.wait_for_exit() == 1
    assert 'points.min_depth_m is not below points.max_depth_m' in program.log()
    world.programs.clear()
