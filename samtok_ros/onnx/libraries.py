# SPDX-License-Identifier: Apache-2.0
"""Shared libraries of ONNX Runtime's GPU providers: making them load, and saying why one does not.

ONNX Runtime loads a provider when a session first asks for it. Why it could not goes to its log on
standard error and nowhere else, so the loader is asked again here.
"""

import contextlib
import ctypes
import functools
import io
import re
from pathlib import Path

import onnxruntime as ort

ERRORS_ONLY = 3
"""Severity of ONNX Runtime's log from which on it is shown."""


def library_of(provider: str) -> Path:
    """Return the file of a provider ('cuda' or 'tensorrt'), whether it is there or not."""
    return Path(ort.__file__).parent / 'capi' / f'libonnxruntime_providers_{provider}.so'


@functools.cache
def find_wheels() -> None:
    """Load CUDA and cuDNN from Python wheels; to be called before the first session on a GPU.

    Wheels keep them where the loader does not look. One that is missing is no error yet: the
    session says what it lacks. TensorRT is not among them.
    """
    # Otherwise each CUDA session warns that no plugin plays CUDA, which none has to.
    ort.set_default_logger_severity(ERRORS_ONLY)
    if hasattr(ort, 'preload_dlls'):  # since 1.21
        with contextlib.redirect_stdout(io.StringIO()):  # where it prints what it did not find
            ort.preload_dlls()


def why_not_loaded(provider: str) -> str:
    """Return what the loader says against a provider, '' when it loads.

    A provider that loads may still find no GPU, and CUDA looks for cuDNN when it first needs it.

    Args:
        provider: 'cpu', 'cuda' or 'tensorrt'.
    """
    if provider == 'cpu':
        return ''
    library = library_of(provider)
    if not library.is_file():
        return f'this onnxruntime comes without {library.name}'
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ''


def wanted_tensorrt() -> int | None:
    """Return the major version of TensorRT that the provider is built for, None if unknown."""
    try:
        found = re.search(rb'libnvinfer\.so\.(\d+)', library_of('tensorrt').read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None
