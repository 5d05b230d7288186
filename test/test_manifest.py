# SPDX-License-Identifier: Apache-2.0
"""package.xml is valid and complete, and holds the only version number."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

catkin_pkg = pytest.importorskip('catkin_pkg.package', reason='catkin_pkg is not installed')
ROOT = Path(__file__).resolve().parents[1]
MANIFEST = catkin_pkg.parse_package(str(ROOT / 'package.xml'))
# Used only where they are installed; each use is behind an import check.
OPTIONAL = {'cv_bridge', 'tf2_ros', 'vision_msgs'}
SYSTEM = {'rclpy', 'launch', 'launch_ros', 'ament_index_python'}


def names(dependencies) -> set[str]:
    return {dependency.name for dependency in dependencies}


def test_manifest_when_validated_then_there_is_no_error_and_no_warning():
    warnings: list[str] = []
    MANIFEST.validate(warnings=warnings)
    assert warnings == []
    assert MANIFEST.package_format == 3
    assert MANIFEST.licenses == ['Apache-2.0']


def test_manifest_when_compared_with_cmake_then_every_found_package_is_declared():
    found = set(re.findall(r'find_package\((\w+)', (ROOT / 'CMakeLists.txt').read_text()))
    assert found <= names(MANIFEST.buildtool_depends + MANIFEST.build_depends)


def test_manifest_when_compared_with_node_imports_then_every_ros_package_is_declared():
    used: set[str] = set()
    for folder in ('samtok_ros/nodes', 'launch'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    used.update(alias.name.split('.')[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    used.add(node.module.split('.')[0])
    ros = {name for name in used if name in SYSTEM or name.endswith(('_msgs', '_interfaces'))
           or name in OPTIONAL | {'std_srvs', 'message_filters', 'rclpy'}}
    assert ros - OPTIONAL <= names(MANIFEST.exec_depends)


def test_setup_py_when_asked_then_its_version_is_that_of_the_manifest():
    done = subprocess.run([sys.executable, 'setup.py', '--version'], cwd=ROOT, check=True,
                          capture_output=True, text=True)
    assert done.stdout.split()[-1] == MANIFEST.version


def test_version_when_searched_then_it_is_written_in_the_manifest_only():
    line = re.compile(rf'version\W+{re.escape(MANIFEST.version)}\b', re.IGNORECASE)
    files = [ROOT / 'setup.py', ROOT / 'CMakeLists.txt', ROOT / 'pyproject.toml',
             *(ROOT / 'samtok_ros').rglob('*.py')]
    assert [str(path) for path in files if line.search(path.read_text())] == []
