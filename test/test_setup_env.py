# SPDX-License-Identifier: Apache-2.0
"""The set-up step: path patching, stamps, plans and error texts, without installing anything."""
import importlib
import os
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / 'tools'))
setup_env = importlib.import_module('setup_env')
setup_stamps = importlib.import_module('setup_stamps')
sys.path.remove(str(ROOT / 'tools'))

EXPORTED = """set_target_properties(std_msgs::std_msgs__rosidl_generator_py PROPERTIES
  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311-cp311/include/python3.11;\
/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include;${_IMPORT_PREFIX}/include"
)
set(OTHER "/opt/python_tools/include")
"""


@pytest.fixture
def share(tmp_path):
    folder = tmp_path / 'share' / 'std_msgs' / 'cmake'
    folder.mkdir(parents=True)
    (folder / 'export_std_msgs.cmake').write_text(EXPORTED)
    (folder / 'std_msgsConfig.cmake').write_text('set(std_msgs_FOUND 1)\n')
    return tmp_path / 'share'


@pytest.fixture
def plan(tmp_path):
    """Return a plan for a small copy of the repository's layout."""
    root = tmp_path / 'repository'
    for folder in ('msg', 'srv', 'action', 'samtok_ros/words', 'launch', 'config', 'tools',
                   'requirements'):
        (root / folder).mkdir(parents=True)
    for name in ('CMakeLists.txt', 'package.xml', 'tools/program.py.in', 'tools/samtok_venv.py',
                 'msg/Goal.msg', 'samtok_ros/words/vocabulary.py'):
        (root / name).write_text(name)
    for lock in ('core', 'train', 'eval', 'ros', 'dev', 'sam2'):
        (root / 'requirements' / f'{lock}.txt').write_text(f'{lock}==1\n')
    (root / '.venv').mkdir()
    return setup_env.Plan(root, root / '.venv', '')


def test_patch_when_paths_are_the_wheel_makers_then_they_become_ours(share):
    changed = setup_env.patch_cmake_paths(share, '/here/include/python3.11', '/here/numpy/include')
    text = (share / 'std_msgs' / 'cmake' / 'export_std_msgs.cmake').read_text()
    assert changed == 1
    assert '"/here/include/python3.11;/here/numpy/include;${_IMPORT_PREFIX}/include"' in text
    assert '/opt/python_tools/include' in text
    assert '/opt/python/' not in text


def test_patch_when_repeated_then_nothing_changes(share):
    setup_env.patch_cmake_paths(share, '/here/include/python3.11', '/here/numpy/include')
    assert setup_env.patch_cmake_paths(share, '/x', '/y') == 0


@pytest.mark.parametrize(('tag', 'numpy'), [('cp310-cp310', 'core'), ('cp313-cp313', '_core')])
def test_patch_when_wheels_are_for_another_python_then_it_works_too(share, tag, numpy):
    minor = tag[3:5]
    text = EXPORTED.replace('cp311-cp311', tag).replace('python3.11', f'python3.{minor}')
    file = share / 'std_msgs' / 'cmake' / 'export_std_msgs.cmake'
    file.write_text(text.replace('_core', numpy))
    setup_env.patch_cmake_paths(share, '/a b\\1/include', '/n')
    assert '"/a b\\1/include;/n;' in file.read_text()


def test_stamps_when_written_then_read_back_and_unknown_ones_are_empty(tmp_path):
    stamps = setup_stamps.Stamps(tmp_path / 'setup.json')
    assert stamps.read('names') == ''
    stamps.write('names', 'abc')
    stamps.write('sources', 'def')
    again = setup_stamps.Stamps(tmp_path / 'setup.json')
    assert (again.read('names'), again.read('sources')) == ('abc', 'def')


@pytest.mark.parametrize('broken', ['', '{"names": "ab', '[]'])
def test_stamps_when_file_was_cut_off_then_everything_counts_as_not_done(tmp_path, broken):
    (tmp_path / 'setup.json').write_text(broken)
    assert setup_stamps.Stamps(tmp_path / 'setup.json').read('names') == ''


def digests(plan):
    """Return the digests that decide about compiling and about linking."""
    return setup_stamps.sources_digest(plan.root), setup_stamps.package_names_digest(plan.root)


def test_digests_when_python_file_is_edited_then_nothing_has_to_be_done(plan):
    before = digests(plan)
    (plan.root / 'samtok_ros/words/vocabulary.py').write_text('edited')
    cache = plan.root / 'samtok_ros/words/__pycache__'
    cache.mkdir()
    (cache / 'vocabulary.pyc').write_text('x')
    assert digests(plan) == before


def test_digests_when_python_file_is_added_then_only_links_change(plan):
    sources, names = digests(plan)
    (plan.root / 'samtok_ros/words/answers.py').write_text('')
    assert digests(plan)[0] == sources
    assert digests(plan)[1] != names


@pytest.mark.parametrize('name', ['msg/Goal.msg', 'CMakeLists.txt', 'srv/New.srv'])
def test_digests_when_interface_or_build_file_changes_then_it_is_compiled_again(plan, name):
    sources = digests(plan)[0]
    (plan.root / name).write_text('changed')
    assert digests(plan)[0] != sources


def test_requirements_digest_when_a_pin_changes_then_it_changes(plan):
    before = setup_stamps.requirements_digest(plan.requirement_files())
    (plan.root / 'requirements/core.txt').write_text('core==2\n')
    assert setup_stamps.requirements_digest(plan.requirement_files()) != before


def test_plan_when_ros_is_sourced_then_no_ros_wheels_and_its_paths_are_kept(plan, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', '/opt/ros/jazzy/python')
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/opt/ros/jazzy')
    monkeypatch.setenv('_ROS_WHEELS_BOOTSTRAP_COMPLETE', '1')
    sourced = setup_env.Plan(plan.root, plan.venv, 'jazzy')
    assert 'ros.txt' not in [file.name for file in sourced.requirement_files()]
    assert sourced.environment()['AMENT_PREFIX_PATH'] == '/opt/ros/jazzy'
    assert sourced.environment()['PYTHONPATH'] == '/opt/ros/jazzy/python'
    assert 'ros.txt' in [file.name for file in plan.requirement_files()]
    assert plan.environment()['AMENT_PREFIX_PATH'] == str(plan.venv)
    assert not {'PYTHONPATH', '_ROS_WHEELS_BOOTSTRAP_COMPLETE'} & set(plan.environment())


def test_plan_when_listing_requirements_then_sam2_is_last(plan):
    assert [file.stem for file in plan.requirement_files()][-1] == 'sam2'


@pytest.mark.parametrize(('env', 'distro'), [
    ({}, ''),
    ({'ROS_DISTRO': 'jazzy'}, ''),
    ({'ROS_DISTRO': 'jazzy', 'AMENT_PREFIX_PATH': '/opt/ros/jazzy'}, 'jazzy'),
    ({'ROS_DISTRO': 'kilted', 'AMENT_PREFIX_PATH': '/opt/ros/kilted'}, 'kilted'),
])
def test_sourced_ros_when_asked_then_it_is_the_shell_that_counts(env, distro):
    assert setup_env.sourced_ros(env) == distro


def test_sourced_ros_when_too_old_then_the_way_out_is_named():
    with pytest.raises(setup_env.SetupError, match='"humble" is sourced.*Jazzy or newer.*wheels'):
        setup_env.sourced_ros({'ROS_DISTRO': 'humble', 'AMENT_PREFIX_PATH': '/opt/ros/humble'})


def test_python_check_when_too_old_then_it_says_which_and_how_to_choose_another():
    setup_env.check_python((3, 11, 0))
    with pytest.raises(setup_env.SetupError, match='3.9.18 is too old: 3.11.*PYTHON=python3.11'):
        setup_env.check_python((3, 9, 18))


def test_build_tools_check_when_no_compiler_then_it_says_what_to_install(tmp_path):
    with pytest.raises(setup_env.SetupError, match='no C.. compiler.*apt-get install g'):
        setup_env.check_build_tools({'PATH': str(tmp_path)})


def test_build_tools_check_when_compiler_is_named_then_that_one_counts(tmp_path):
    compiler = tmp_path / 'my-c++'
    compiler.write_text('#!/bin/sh\n')
    compiler.chmod(0o755)
    setup_env.check_build_tools({'PATH': str(tmp_path), 'CXX': 'my-c++ -O2'})


def test_run_when_command_fails_then_the_error_holds_the_end_of_its_output(plan):
    code = 'import sys; [print("line", i) for i in range(40)]; sys.exit("no network")'
    with pytest.raises(setup_env.SetupError) as caught:
        setup_env.run(plan, [sys.executable, '-c', code], 'pip.log', 'pip could not install.')
    text = str(caught.value)
    assert text.startswith('pip could not install.')
    assert 'no network' in text
    assert 'line 39' in text
    assert 'line 3\n' not in text
    assert 'line 0' in (plan.venv / 'pip.log').read_text()


def test_venv_environment_when_imported_then_it_starts_again_once_with_its_folders_first(
        monkeypatch):
    monkeypatch.setenv('AMENT_PREFIX_PATH', '/opt/ros/jazzy')
    monkeypatch.setenv('LD_LIBRARY_PATH', '/opt/ros/jazzy/lib')
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    monkeypatch.delitem(sys.modules, 'samtok_venv', raising=False)
    restarts: list[list[str]] = []
    monkeypatch.setattr(os, 'execv', lambda program, arguments: restarts.append(arguments))
    module = importlib.import_module('samtok_venv')
    importlib.reload(module)
    assert restarts == [sys.orig_argv]
    assert os.environ['AMENT_PREFIX_PATH'] == f'{sys.prefix}:/opt/ros/jazzy'
    assert os.environ['LD_LIBRARY_PATH'] == f'{sys.prefix}/lib:/opt/ros/jazzy/lib'


def test_run_when_command_takes_long_then_it_says_how_far_it_is(plan, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, 'PROGRESS_EVERY_S', 0.3)
    code = 'import time; print("Collecting torch", flush=True); time.sleep(1)'
    setup_env.run(plan, [sys.executable, '-c', code], 'pip.log', 'failed')
    assert 'setup:   Collecting torch\n' in capsys.readouterr().out


def test_remove_dead_links_when_file_is_gone_then_only_its_link_goes(tmp_path):
    (tmp_path / 'kept.py').write_text('')
    installed = tmp_path / 'installed'
    installed.mkdir()
    (installed / 'kept.py').symlink_to(tmp_path / 'kept.py')
    (installed / 'gone.py').symlink_to(tmp_path / 'gone.py')
    setup_env.remove_dead_links([installed, tmp_path / 'missing'])
    assert os.listdir(installed) == ['kept.py']


def test_install_requirements_when_the_same_are_installed_then_pip_is_not_called(plan):
    stamps = setup_stamps.Stamps(plan.venv / 'setup.json')
    stamps.write('requirements', setup_stamps.requirements_digest(plan.requirement_files()))
    setup_env.install_requirements(plan, stamps)
    assert not (plan.venv / 'pip.log').exists()


def test_build_when_nothing_changed_then_cmake_is_not_called(plan):
    stamps = setup_stamps.Stamps(plan.venv / 'setup.json')
    plan.build.mkdir()
    for name, digest in zip(('sources', 'names'), digests(plan), strict=True):
        stamps.write(name, digest)
    setup_env.build(plan, stamps)
    assert not (plan.venv / 'install.log').exists()


LOCKS = sorted((ROOT / 'requirements').glob('*.txt'))


@pytest.mark.parametrize('path', LOCKS, ids=lambda path: path.name)
def test_lock_file_when_read_then_every_line_is_one_exact_pin(path):
    lines = [line for line in path.read_text().splitlines() if not line.startswith('#')]
    assert lines
    assert [line for line in lines if not re.fullmatch(r'[a-z0-9-]+==[0-9][\w.+!]*', line)] == []


def test_lock_files_when_compared_with_their_lists_then_every_direct_package_is_pinned():
    pins = {line.split('==')[0] for path in (ROOT / 'requirements').glob('*.txt')
            for line in path.read_text().splitlines() if '==' in line}
    for path in (ROOT / 'requirements').glob('*.in'):
        direct = {line.strip().lower().replace('_', '-') for line in path.read_text().splitlines()
                  if line.strip() and not line.startswith('#') and '*' not in line}
        assert direct <= pins
