# SPDX-License-Identifier: Apache-2.0
"""The grasp planner of the README as a process of its own, which knows our messages only."""

import ast
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness import FAKE, wait_until

from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
PLACE = re.compile(r'\[samtok\.planner\]: (\w+) at (\S+) (\S+) (\S+) m in (\w+), (\d+) px')


@pytest.fixture
def example(world):
    """Start an example; each must end without a traceback when it is asked to."""
    @contextmanager
    def run(name, *arguments):
        path = world.folder / f'{name}.log'
        with path.open('wb') as log:
            process = subprocess.Popen(
                [sys.executable, '-P', str(EXAMPLES / f'{name}.py'), *map(str, arguments)],
                stdout=log, stderr=log, cwd=world.folder,
                env={**os.environ, 'ROS_DOMAIN_ID': str(world.domain),
                     'RCUTILS_LOGGING_BUFFERED_STREAM': '0', 'OMP_NUM_THREADS': '1'})
        try:
            yield path.read_text
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            assert 'Traceback' not in path.read_text(), path.read_text()

    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(run(*arguments))


def found(log):
    """Return {what: (x, y, z, frame, pixels)} of what the planner has found first."""
    places = {}
    for what, x, y, z, frame, pixels in PLACE.findall(log()):
        places.setdefault(what, (float(x), float(y), float(z), frame, int(pixels)))
    return places


def test_planner_when_read_then_it_imports_our_messages_and_nothing_else_of_ours():
    tree = ast.parse((EXAMPLES / 'planner.py').read_text(encoding='utf-8'))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
                for alias in node.names}
    ours = {module for module in modules if module.startswith('samtok_ros')}
    assert ours == {'samtok_ros.msg', 'samtok_ros.srv', 'samtok_ros.action'}


def test_planner_when_nodes_are_split_then_topic_action_and_service_serve_it(world, example):
    world.start('grounding')
    world.start('mask_tokenizer')
    example('camera', EXAMPLES / 'table.jpg')
    log = example('planner', 'one bottle', 'two bowls')
    wait_until(lambda: 'colour of the place: ' in log(), log)
    places = found(log)
    assert set(places) == {'target', 'place'}
    for _, _, z, frame, pixels in places.values():
        assert z == 0.8
        assert frame == 'camera_color_optical_frame'
        assert pixels > 0


def test_planner_when_nothing_fits_then_it_says_so_and_does_not_act(world, example):
    world.start('perception')
    example('camera', EXAMPLES / 'table.jpg')
    log = example('planner', 'nothing', 'one bowl')
    wait_until(lambda: 'nothing in the image fits the goal' in log(), log)
    assert found(log) == {}


def test_planner_when_the_embedded_model_answers_then_it_finds_bottle_and_bowl(world, example):
    if not (MODELS_DIR / EMBEDDED_MODEL / 'model.safetensors').exists():
        pytest.skip('the weights of the embedded model are not there')
    world.start('perception', {name: value for name, value in FAKE.items() if name == 'autostart'})
    example('camera', EXAMPLES / 'table.jpg')
    log = example('planner', 'the purple bottle', 'the black bowl')
    wait_until(lambda: 'colour of the place: ' in log(), log)
    assert 'colour of the place: It is black.' in log()
    places = found(log)
    # In the picture of 320 x 240 the bottle is around (272, 138), the bowl around (244, 84).
    for what, column, row in (('target', 272, 138), ('place', 244, 84)):
        x, y, z, _, pixels = places[what]
        assert abs(160 + 300 * x / z - column) < 8, what
        assert abs(120 + 300 * y / z - row) < 8, what
        assert 800 < pixels < 1800
