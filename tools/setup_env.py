# SPDX-License-Identifier: Apache-2.0
"""Set up .venv/ so that the nodes, the tests and the `samtok` command run: `make setup`.

One step that may be repeated at any time and does only what is still missing: create the virtual
environment, install the pinned requirements, build the interfaces, and install our own modules as
links, so that edits act at once. Where a ROS 2 is sourced it is used; elsewhere ROS 2 comes from
wheels. Uses the standard library only, since it runs before anything is installed.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from setup_stamps import Stamps, package_names_digest, requirements_digest, sources_digest

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
KNOWN_ROS = ('jazzy', 'kilted', 'lyrical', 'rolling')
FREE_BYTES_NEEDED = 9 * 10**9
PROGRESS_EVERY_S = 30
# The wheels' CMake files name these folders of the machine that the wheels were built on.
WHEEL_NUMPY = re.compile(r'/opt/python/[^;"\s]*/site-packages/numpy/_?core/include')
WHEEL_PYTHON = re.compile(r'/opt/python/[^;"\s]*/include/python3\.\d+')


class SetupError(Exception):
    """What is wrong with this machine, and what to do about it."""


@dataclass(frozen=True)
class Plan:
    """Where to set up, and with which ROS 2.

    Attributes:
        root: the repository.
        venv: the virtual environment, created when missing.
        ros_distro: name of the sourced ROS 2; empty: ROS 2 comes from wheels.
    """

    root: Path
    venv: Path
    ros_distro: str

    @property
    def build(self) -> Path:
        """Build folder; links in the environment point into it, so it lives there too."""
        return self.venv / 'build'

    @property
    def site_packages(self) -> Path:
        """The folder that `import` searches in the environment."""
        version = f'python{sys.version_info.major}.{sys.version_info.minor}'
        return self.venv / 'lib' / version / 'site-packages'

    def requirement_files(self) -> list[Path]:
        """Return the lock files to install, sam2's (a step of its own) last."""
        locks = ['core', 'train', 'eval', 'dev', 'sam2']
        if not self.ros_distro:
            locks.insert(3, 'ros')
        return [self.root / 'requirements' / f'{lock}.txt' for lock in locks]

    def environment(self) -> dict[str, str]:
        """Return the environment variables for the commands that set up.

        The wheels re-execute python once and mark that in a variable, which must not be inherited:
        the child would keep the library folders of another environment.
        """
        env = {k: v for k, v in os.environ.items()
               if k not in ('_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'PYTHONHOME', 'VIRTUAL_ENV')}
        env['PATH'] = f'{self.venv / "bin"}{os.pathsep}{env.get("PATH", os.defpath)}'
        if not self.ros_distro:
            env.pop('PYTHONPATH', None)
            env['AMENT_PREFIX_PATH'] = env['CMAKE_PREFIX_PATH'] = str(self.venv)
        return env


def sourced_ros(env: dict[str, str]) -> str:
    """Return the name of the ROS 2 that is sourced in this shell, empty when there is none.

    Raises:
        SetupError: a ROS is sourced that this package does not run with.
    """
    distro = env.get('ROS_DISTRO', '')
    if not distro or not env.get('AMENT_PREFIX_PATH'):
        return ''
    if distro not in KNOWN_ROS:
        raise SetupError(
            f'ROS "{distro}" is sourced, but samtok_ros needs Jazzy or newer. Open a shell in '
            'which it is not sourced: ROS 2 Jazzy then comes from wheels, beside your own.')
    return distro


def check_python(version: tuple[int, ...]) -> None:
    """Raise SetupError when the interpreter is too old for the pinned packages."""
    if tuple(version[:2]) < OLDEST_PYTHON:
        wanted = '.'.join(map(str, OLDEST_PYTHON))
        raise SetupError(
            f'Python {".".join(map(str, version[:3]))} is too old: {wanted} or newer is needed. '
            f'Name another one, for example: make setup PYTHON=python{wanted}')


def check_build_tools(env: dict[str, str]) -> None:
    """Raise SetupError when interfaces cannot be compiled on this machine."""
    names = [env['CXX'].split()[0]] if env.get('CXX', '').strip() else ['c++', 'g++', 'clang++']
    if not any(shutil.which(name, path=env.get('PATH')) for name in names):
        raise SetupError(
            f'no C++ compiler found (looked for {", ".join(names)}); the ROS messages are compiled '
            'once. On Debian or Ubuntu: apt-get install g++')
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.exists():
        raise SetupError(
            f'{header} is missing; the ROS messages are compiled against it. On Debian or Ubuntu: '
            'apt-get install python3-dev')


def run(plan: Plan, command: list[str | Path], log: str, failed: str, **extra: str) -> None:
    """Run one command with its output in a log file.

    Args:
        plan: what is set up.
        command: program and arguments.
        log: name of the log file in the environment.
        failed: what to tell the user when the command fails.
        extra: more environment variables.

    Raises:
        SetupError: the command failed; the text holds the end of its output.
    """
    path = plan.venv / log
    with path.open('w') as output, subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, cwd=plan.build if plan.build.is_dir() else plan.root,
            env=plan.environment() | extra) as process:
        while process.returncode is None:
            try:
                process.wait(timeout=PROGRESS_EVERY_S)
            except subprocess.TimeoutExpired:
                print(f'setup:   {last_lines(path, 1)[:90] or "still at it"}', flush=True)
    if process.returncode:
        raise SetupError(f'{failed}\n  Its last lines (all of it is in {path}):\n'
                         f'{last_lines(path, 15, indent="    ")}')


def last_lines(log: Path, count: int, indent: str = '') -> str:
    """Return the last lines of a log file that are not blank."""
    lines = [line for line in log.read_text(errors='replace').splitlines() if line.strip()]
    return '\n'.join(indent + line for line in lines[-count:])


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is being done and, when it is done, how long it took."""
    start = time.monotonic()
    print(f'setup: {title} ...', flush=True)
    yield
    print(f'setup: {title}: done in {time.monotonic() - start:.0f} s', flush=True)


def create_venv(plan: Plan, stamps: Stamps) -> None:
    """Create the environment; anew when it is incomplete, was moved or is for another ROS."""
    whole = all((plan.venv / 'bin' / name).exists() for name in ('python3', 'pip'))
    place = f'{plan.venv} {sys.version_info.major}.{sys.version_info.minor} {plan.ros_distro}'
    if whole and plan.site_packages.is_dir() and stamps.read('place') in ('', place):
        stamps.write('place', place)
        return
    if Path(sys.prefix) == plan.venv:
        raise SetupError('.venv must be made anew, but make runs inside it: deactivate it first')
    with step(f'creating {plan.venv.name}'):
        shutil.rmtree(plan.venv, ignore_errors=True)
        plan.venv.mkdir()
        options = ['--system-site-packages'] if plan.ros_distro else []
        run(plan, [sys.executable, '-m', 'venv', *options, plan.venv], 'venv.log',
            'python cannot create a virtual environment. On Debian or Ubuntu: '
            'apt-get install python3-venv')
        # colcon must not look for packages in here.
        (plan.venv / 'COLCON_IGNORE').touch()
        stamps.write('place', place)


def install_requirements(plan: Plan, stamps: Stamps) -> None:
    """Install the pinned packages, unless exactly these have been installed already."""
    files = plan.requirement_files()
    digest = requirements_digest(files)
    if stamps.read('requirements') == digest:
        return
    fresh = not (plan.site_packages / 'torch').is_dir()
    if fresh and shutil.disk_usage(plan.venv).free < FREE_BYTES_NEEDED:
        raise SetupError(f'{plan.venv} needs about {FREE_BYTES_NEEDED // 10**9} GB of free disk')
    pip = [plan.venv / 'bin' / 'python3', '-m', 'pip', 'install', '--no-input',
           '--disable-pip-version-check', '--progress-bar', 'off']
    failed = 'pip could not install the pinned packages. Is the package index reachable?'
    with step('installing pinned packages (about 6 GB the first time, minutes)'):
        stamps.write('requirements', '')
        # Built against what is about to change; and pip stumbles over half of an old build.
        remove_build(plan)
        names = [part for file in files[:-1] for part in ('-r', file)]
        run(plan, [*pip, *names], 'pip.log', failed)
        # sam2 asks for torch to build itself: built apart, pip would fetch torch a second time.
        run(plan, [*pip, '--no-build-isolation', '--no-deps', '-r', files[-1]], 'pip-sam2.log',
            failed, SAM2_BUILD_CUDA='0')
        numpy_include = plan.site_packages / 'numpy' / '_core' / 'include'
        patch_cmake_paths(plan.venv / 'share', sysconfig.get_path('include'), str(numpy_include))
        stamps.write('requirements', digest)


def patch_cmake_paths(share: Path, python_include: str, numpy_include: str) -> int:
    """Replace the wheel makers' include folders in exported CMake targets by those that exist here.

    Args:
        share: folder with one folder per ROS package.
        python_include: folder of Python.h.
        numpy_include: folder of numpy's headers.

    Returns:
        How many files were changed; 0 when it has been done before.
    """
    changed = 0
    for file in sorted(share.glob('*/cmake/*.cmake')):
        before = file.read_text()
        after = WHEEL_NUMPY.sub(lambda _: numpy_include, before)
        after = WHEEL_PYTHON.sub(lambda _: python_include, after)
        if after != before:
            file.write_text(after)
            changed += 1
    return changed


def build(plan: Plan, stamps: Stamps) -> None:
    """Build and install the package, as far as it has changed since the last time."""
    sources, names = sources_digest(plan.root), package_names_digest(plan.root)
    same_sources = stamps.read('sources') == sources and plan.build.is_dir()
    if same_sources and stamps.read('names') == names:
        return
    check_build_tools(plan.environment())
    with step('linking changed files' if same_sources else 'building the ROS interfaces'):
        stamps.write('names', '')
        if not same_sources:
            stamps.write('sources', '')
            # From nothing: files generated for a removed or renamed interface would stay behind.
            remove_build(plan)
            plan.build.mkdir()
            configure_and_compile(plan)
        failed = 'the built package could not be installed.'
        run(plan, ['cmake', '--install', plan.build], 'install.log', failed)
        remove_dead_links([plan.site_packages / 'samtok_ros', plan.venv / 'share' / 'samtok_ros',
                           plan.venv / 'lib' / 'samtok_ros'])
        shutil.copy(plan.root / 'tools' / 'samtok_venv.py', plan.site_packages)
        (plan.site_packages / 'samtok_venv.pth').write_text('import samtok_venv\n')
        link = plan.venv / 'bin' / 'samtok'
        link.unlink(missing_ok=True)
        link.symlink_to(Path('..', 'lib', 'samtok_ros', 'samtok'))
        run(plan, [plan.venv / 'bin' / 'python3', '-P', '-c',
                   'import rclpy, torch; from samtok_ros.msg import MaskWords'], 'check.log',
            'the package was built but cannot be imported. Delete .venv and run make setup again.',
            PYTHONSAFEPATH='1')
        stamps.write('sources', sources)
        stamps.write('names', names)


def configure_and_compile(plan: Plan) -> None:
    """Run CMake and the compiler in the empty build folder."""
    generator = ['-G', 'Ninja'] if shutil.which('ninja', path=plan.environment()['PATH']) else []
    run(plan, ['cmake', '-S', plan.root, '-B', plan.build, *generator,
               f'-DCMAKE_INSTALL_PREFIX={plan.venv}', '-DCMAKE_BUILD_TYPE=Release',
               f'-DCMAKE_INSTALL_RPATH={plan.venv / "lib"}',
               f'-DPython3_EXECUTABLE={plan.venv / "bin" / "python3"}',
               '-DAMENT_CMAKE_SYMLINK_INSTALL=1', '-DBUILD_TESTING=OFF'], 'configure.log',
        'CMake could not configure the package.')
    run(plan, ['cmake', '--build', plan.build, '--parallel', str(os.cpu_count() or 1)],
        'build.log', 'the ROS interfaces could not be compiled.')


def remove_build(plan: Plan) -> None:
    """Remove the built package from the environment."""
    for folder in (plan.build, plan.venv / 'share' / 'samtok_ros', plan.venv / 'lib' / 'samtok_ros',
                   *plan.site_packages.glob('samtok_ros*')):
        if folder.is_dir():
            shutil.rmtree(folder)


def remove_dead_links(folders: list[Path]) -> None:
    """Remove links whose file is gone from the repository, so that it cannot be found any more."""
    for folder in folders:
        for path in folder.rglob('*'):
            if path.is_symlink() and not path.exists():
                path.unlink()


def check_sourced_ros(plan: Plan) -> None:
    """Raise SetupError when the sourced ROS 2 was made for another Python."""
    done = subprocess.run([sys.executable, '-c', 'import rclpy'], capture_output=True, check=False,
                          text=True, env=dict(os.environ))
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ['no output'])[-1]
        raise SetupError(
            f'ROS 2 {plan.ros_distro} is sourced, but {sys.executable} cannot import rclpy '
            f'({last}). Use the Python it was made for: make setup PYTHON=/usr/bin/python3')


def set_up(plan: Plan) -> None:
    """Do whatever is missing, one process at a time."""
    lock = os.open(plan.root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamps = Stamps(plan.venv / 'setup.json')
        if plan.ros_distro:
            check_sourced_ros(plan)
        create_venv(plan, stamps)
        install_requirements(plan, stamps)
        build(plan, stamps)
    finally:
        os.close(lock)


def main() -> int:
    """Set up this repository; return the exit status."""
    try:
        check_python(sys.version_info)
        set_up(Plan(ROOT, ROOT / '.venv', sourced_ros(dict(os.environ))))
    except SetupError as error:
        print(f'setup: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('setup: stopped; run it again to go on', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
