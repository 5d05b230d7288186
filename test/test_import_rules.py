# SPDX-License-Identifier: Apache-2.0
"""Which folder may import what, what stays light, and the form of every source file."""
import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'samtok_ros'
MODULES = sorted(PACKAGE.rglob('*.py'))
SOURCES = sorted(path for folder in ('samtok_ros', 'launch', 'test', 'tools', 'examples', 'docs')
                 for path in (ROOT / folder).rglob('*.py')) + [ROOT / 'setup.py']
MOST_LINES, MOST_FUNCTION_LINES = 400, 60

ROS = {'rclpy', 'launch', 'launch_ros', 'ament_index_python', 'cv_bridge', 'tf2_ros',
       'message_filters', 'std_srvs', 'builtin_interfaces', 'rcl_interfaces', 'rosidl_runtime_py'}
OURS_FROM_ROS = {'samtok_ros.msg', 'samtok_ros.srv', 'samtok_ros.action'}
HEAVY = ('torch', 'torchvision', 'transformers', 'sam2', 'mujoco', 'matplotlib', 'rosbags',
         'onnx', 'onnxscript', 'onnxruntime', 'rclpy')
# Stages may use the common ground: records, errors, settings, image/. Beyond that only these.
STAGE_IMPORTS = {
    'image': set(), 'masks': set(), 'vision': set(), 'words': set(), 'lifting': set(),
    'tokenizer': {'vision', 'masks'},
    'language': {'words', 'masks'},
    'onnx': {'tokenizer'},
}
STAGES = {*STAGE_IMPORTS, 'training', 'reinforcement', 'evaluation', 'scenes', 'demo', 'nodes',
          'cli', 'runtime', 'benchmark', 'doctor', 'export', 'tracking'}
# What a robot needs at run time; nothing of it may depend on training or on the nodes.
CORE = ('image', 'masks', 'vision', 'words', 'tokenizer', 'language', 'onnx', 'runtime',
        'tracking')


def name_of(path: Path) -> str:
    """Return the dotted module name of a file below the repository."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the dotted names of all modules a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name_of(path).split('.')
            if path.name == '__init__.py':
                package.append('')
            base = '.'.join(package[:-node.level]) + '.' if node.level else ''
            module = (base + (node.module or '')).rstrip('.')
            found.add(module)
            found.update(f'{module}.{alias.name}' for alias in node.names)
    return frozenset(found)


def is_ros(module: str) -> bool:
    """Say whether a module is there only where ROS 2 is."""
    top = module.split('.')[0]
    ours = any(module == name or module.startswith(f'{name}.') for name in OURS_FROM_ROS)
    return top in ROS or top.endswith('_msgs') or ours


def stage_of(module: str) -> str:
    """Return the folder of our package that a module lies in, empty for none."""
    parts = module.split('.')
    return parts[1] if parts[0] == 'samtok_ros' and len(parts) > 1 and parts[1] in STAGES else ''


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_module_when_outside_nodes_then_it_imports_no_ros(path):
    if path.is_relative_to(PACKAGE / 'nodes'):
        return
    assert sorted(filter(is_ros, imports(path))) == []


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_node_module_when_read_then_it_never_imports_launch(path):
    assert not {m for m in imports(path) if m.split('.')[0] in ('launch', 'launch_ros')}


@pytest.mark.parametrize('path', MODULES, ids=name_of)
def test_stage_when_it_imports_ours_then_only_what_its_folder_may(path):
    stage = stage_of(name_of(path))
    used = {stage_of(module) for module in imports(path)} - {'', stage, 'image'}
    if stage in STAGE_IMPORTS:
        assert used <= STAGE_IMPORTS[stage]
    if stage in CORE:
        assert not used & {'training', 'reinforcement', 'evaluation', 'demo', 'nodes', 'cli',
                           'scenes', 'benchmark', 'doctor', 'export'}
    if stage != 'nodes':
        assert 'nodes' not in used


def loaded_after(modules: list[str]) -> set[str]:
    """Import modules in a fresh interpreter; return the heavy packages loaded by that."""
    code = (f'import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n'
            f'print(*[name for name in {HEAVY!r} if name in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_check_of_loaded_packages_when_module_is_heavy_then_it_is_seen():
    assert loaded_after(['rosbags']) == {'rosbags'}


def test_package_and_command_when_imported_then_nothing_heavy_is_loaded():
    names = ['samtok_ros']
    if (PACKAGE / 'cli').is_dir():
        names += [name_of(path) for path in sorted((PACKAGE / 'cli').glob('*.py'))]
    assert loaded_after(names) == set()


def test_light_modules_when_imported_then_nothing_heavy_is_loaded():
    top_level = [path for path in sorted(PACKAGE.glob('*.py'))
                 if path.stem not in ('pipeline', 'recording')]
    files = top_level + [path for folder in ('words', 'masks', 'image')
                         for path in sorted((PACKAGE / folder).glob('*.py'))]
    # The adapter to transformers' generation loop is the one file in words/ that needs torch.
    names = [name_of(path) for path in files if path.stem != 'logits_processor']
    assert loaded_after(names) == set()


@pytest.mark.parametrize('path', [p for p in MODULES if p.name == '__init__.py'], ids=name_of)
def test_package_init_when_read_then_it_holds_a_docstring_only(path):
    body = ast.parse(path.read_text(encoding='utf-8')).body
    assert len(body) == 1
    assert ast.get_docstring(ast.Module(body, []))


def test_package_folders_when_listed_then_each_has_an_init_file():
    folders = {path.parent for path in MODULES}
    assert sorted(str(f) for f in folders if not (f / '__init__.py').exists()) == []


def test_generated_folders_when_listed_then_none_of_them_is_in_the_sources():
    assert [name for name in ('msg', 'srv', 'action') if (PACKAGE / name).exists()] == []


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_file_when_read_then_its_licence_comes_first(path):
    lines = path.read_text(encoding='utf-8').splitlines()
    first = lines[1] if lines and lines[0].startswith('#!') else lines[0]
    assert first == '# SPDX-License-Identifier: Apache-2.0'


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_file_when_measured_then_file_and_functions_are_short(path):
    text = path.read_text(encoding='utf-8')
    line_count = len(text.splitlines())
    assert line_count <= MOST_LINES, 'split the file'
    functions = [node for node in ast.walk(ast.parse(text))
                 if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f.name for f in functions if f.end_lineno - f.lineno + 1 > MOST_FUNCTION_LINES]
    assert long == [], 'split these functions'
