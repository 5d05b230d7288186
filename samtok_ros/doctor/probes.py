# SPDX-License-Identifier: Apache-2.0
"""Looks at one library, as a program of its own: `python probes.py NAME` prints JSON.

A library that is built for another processor or driver can crash or hang when it is imported, so
each is tried in a process that may die. Nothing of this package is needed here.
"""

import importlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

KNOWN_ROS = ('jazzy', 'kilted', 'lyrical', 'rolling')
_LIBRARIES = {'numpy': 'numpy', 'PIL': 'Pillow', 'cv2': 'opencv', 'safetensors': 'safetensors',
              'sam2': 'sam2', 'transformers': 'transformers',
              'huggingface_hub': 'huggingface-hub'}


def torch() -> dict[str, Any]:
    """Version of torch and the GPUs that it can use."""
    import torch

    devices = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        devices.append({'name': torch.cuda.get_device_name(index), 'free_bytes': free,
                        'total_bytes': total,
                        'capability': '.'.join(map(str, torch.cuda.get_device_capability(index)))})
        torch.zeros(1, device=f'cuda:{index}').add_(1).cpu()  # are there kernels for it?
    return {'version': torch.__version__, 'cuda': torch.version.cuda, 'devices': devices,
            'threads': torch.get_num_threads()}


def libraries() -> dict[str, Any]:
    """Versions of the other libraries that models need; None where one cannot be imported."""
    found: dict[str, Any] = {'versions': {}, 'errors': {}}
    for module, name in _LIBRARIES.items():
        try:
            imported = importlib.import_module(module)
            found['versions'][name] = getattr(imported, '__version__', None) or _installed(name)
        except Exception as error:
            found['errors'][name] = f'{type(error).__name__}: {_first_line(error)}'
    return found


def onnxruntime() -> dict[str, Any]:
    """Version of ONNX Runtime, the providers in it, and why some of them cannot be used here."""
    import onnxruntime

    from samtok_ros.onnx.gpu import find_gpu
    from samtok_ros.onnx.libraries import find_wheels, why_not_loaded
    from samtok_ros.onnx.providers import PROVIDERS

    providers, unusable = onnxruntime.get_available_providers(), {}
    for name in ('cuda', 'tensorrt'):
        if PROVIDERS[name] in providers:
            find_wheels()
            reason = why_not_loaded(name) or ('' if find_gpu() else 'the driver shows no GPU')
            if reason:
                unusable[PROVIDERS[name]] = reason
    return {'version': onnxruntime.__version__, 'providers': providers, 'unusable': unusable}


def opengl() -> dict[str, Any]:
    """Whether MuJoCo can draw without a screen, and by which library."""
    from samtok_ros.scenes.scene_model import mujoco  # chooses the library before the import

    context = mujoco.GLContext(16, 16)
    context.make_current()
    context.free()
    return {'version': mujoco.__version__, 'library': os.environ.get('MUJOCO_GL', '')}


def ros() -> dict[str, Any]:
    """The ROS 2 that Python finds, its middleware, and whether our messages are built."""
    rclpy = importlib.import_module('rclpy')
    found = {'distribution': os.environ.get('ROS_DISTRO') or _ros_of_wheels(),
             'middleware': rclpy.get_rmw_implementation_identifier(), 'messages_error': None}
    try:
        importlib.import_module('samtok_ros.msg').MaskWords()
    except Exception as error:
        found['messages_error'] = f'{type(error).__name__}: {_first_line(error)}'
    return found


PROBES: Mapping[str, Callable[[], dict[str, Any]]] = {
    'torch': torch, 'libraries': libraries, 'onnxruntime': onnxruntime, 'opengl': opengl,
    'ros': ros,
}


def _ros_of_wheels() -> str:
    """Return which ROS 2 the installed wheels are of, '' if there are none."""
    return next((name for name in KNOWN_ROS if _installed(f'ros-{name}-rclpy')), '')


def _installed(name: str) -> str:
    """Return the version of an installed distribution, '' where nobody recorded one."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ''


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def main(name: str) -> int:
    """Run one probe; what libraries print themselves goes to standard error."""
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        found = {'facts': PROBES[name](), 'error': None}
    except ModuleNotFoundError as error:
        found = {'facts': {}, 'error': f'not installed ({error.name})'}
    except Exception as error:
        found = {'facts': {}, 'error': f'{type(error).__name__}: {_first_line(error)}'}
    os.write(answer, json.dumps(found).encode())
    return 0


if __name__ == '__main__':
    # Some libraries crash when the interpreter takes them down; the answer is out by then.
    os._exit(main(sys.argv[1]))
