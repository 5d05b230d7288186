# SPDX-License-Identifier: Apache-2.0
"""Which GPU this machine has and which TensorRT, asked of the driver and without torch.

An engine fits one kind of GPU and one TensorRT: both are part of the name it is kept under.
"""

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass

from samtok_ros.onnx.libraries import wanted_tensorrt

_DRIVER = 'libcuda.so.1'
_TENSORRT_MAJORS = (11, 10, 8)
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
_NAME_BYTES = 256

Loader = Callable[[str], ctypes.CDLL]


@dataclass(frozen=True)
class Gpu:
    """The first GPU.

    Attributes:
        name: as the driver calls it.
        compute: compute capability, such as '8.7'.
    """

    name: str
    compute: str

    @property
    def slug(self) -> str:
        """The same in letters that suit a file name."""
        name = re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-')
        return f'{name}-sm{self.compute.replace(".", "")}'


def find_gpu(load: Loader = ctypes.CDLL) -> Gpu | None:
    """Return the first GPU, None where there is no driver or no GPU.

    Args:
        load: opens a shared library, or raises OSError; tests pass their own.
    """
    try:
        driver = load(_DRIVER)
    except OSError:
        return None
    count, device = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    failed = (driver.cuDeviceGet(ctypes.byref(device), 0)
              or driver.cuDeviceGetName(name, _NAME_BYTES, device)
              or driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_MAJOR, device)
              or driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_MINOR, device))
    if failed:
        return None
    return Gpu(name.value.decode('utf-8', 'replace'), f'{major.value}.{minor.value}')


def tensorrt_libraries() -> tuple[str, ...]:
    """Return the TensorRT libraries to look for: the one that ONNX Runtime was built for, if known.

    Several may be installed, and the newest need not be the one that runs the engines.
    """
    wanted = wanted_tensorrt()
    majors = _TENSORRT_MAJORS if wanted is None else (wanted,)
    return tuple(f'libnvinfer.so.{major}' for major in majors)


def tensorrt_version(load: Loader = ctypes.CDLL) -> str | None:
    """Return the version number of the TensorRT library as it reports it, None without one."""
    for library in tensorrt_libraries():
        try:
            return str(load(library).getInferLibVersion())
        except OSError:
            continue
    return None
