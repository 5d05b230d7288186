# SPDX-License-Identifier: Apache-2.0
"""Memory of the process: what it holds, giving it back, and what to say when there is none left."""

import ctypes
import gc
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from samtok_ros.errors import DeviceError

_M_MMAP_THRESHOLD = -3
"""As in malloc.h."""
_LARGE_BYTES = 8_000_000
_SIGNS = ('out of memory', 'not enough memory', 'failed to allocate memory', 'bad_alloc',
          'bad allocation')
"""How libraries say it whose exceptions are no MemoryError."""


def explained(error: Exception) -> Exception:
    """Return what to report in the place of an error.

    When a device ran out of memory, what the failed step held is given back first, so that the
    next one finds room.

    Returns:
        A DeviceError when memory ran out, else the error itself.
    """
    text = str(error).lower()
    if not isinstance(error, MemoryError) and not any(sign in text for sign in _SIGNS):
        return error
    # The frames of the failed call hold its arrays for as long as the error lives.
    traceback.clear_frames(error.__traceback__)
    give_back()
    if isinstance(error, DeviceError):
        return error
    lines = str(error).splitlines()
    return DeviceError(
        'the device ran out of memory', got=lines[0][:300] if lines else type(error).__name__,
        fix='use a smaller model or image, model.dtype bfloat16, a smaller cache.megabytes, or '
        'another device')


def give_back() -> None:
    """Collect garbage and hand free memory back to the device and to the system."""
    gc.collect()
    torch = _torch_with_gpu()
    if torch is not None:
        torch.cuda.empty_cache()
    # glibc keeps what was freed; a model of gigabytes would be missing elsewhere.
    trim = _from_glibc('malloc_trim')
    if trim is not None:
        trim(0)


def keep_large_blocks_apart() -> None:
    """Take each large block from the system and hand it back; call it when the process starts.

    By default glibc stops doing so after it has seen some come and go. What a model leaves behind
    is then cut up by small blocks that stay, and cannot be given back: two megabytes more for each
    time that the embedded model was loaded, measured.
    """
    mallopt = _from_glibc('mallopt')
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def resident_bytes() -> int | None:
    """Return the memory that this process holds, None where the system does not tell."""
    try:
        pages = int(Path('/proc/self/statm').read_text(encoding='ascii').split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf('SC_PAGE_SIZE')


def gpu_memory() -> Mapping[str, int] | None:
    """Return bytes of GPU memory: 'ours', 'free' and 'total'; None while torch uses no GPU.

    Raises:
        DeviceError: the GPU does not answer any more.
    """
    torch = _torch_with_gpu()
    if torch is None:
        return None
    try:
        free, total = torch.cuda.mem_get_info()
        return {'ours': torch.cuda.memory_reserved(), 'free': free, 'total': total}
    except RuntimeError as error:
        raise DeviceError('the GPU does not answer', got=str(error).splitlines()[0],
                          fix='start the process again; look at the log of the driver') from error


def _from_glibc(name: str):
    """Return a function of the C library, None where it has none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == 'linux' else None


def _torch_with_gpu():
    """Return torch when it is loaded and has a GPU in use, else None."""
    torch = sys.modules.get('torch')
    # Another thread may be importing it just now: then its parts are not there yet.
    in_use = getattr(getattr(torch, 'cuda', None), 'is_initialized', None)
    return torch if in_use is not None and in_use() else None
