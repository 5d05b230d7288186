# SPDX-License-Identifier: Apache-2.0
"""What went wrong, out of the long texts of ONNX Runtime.

They begin with source files, C++ signatures and status codes, one set for each layer that an error
came through, and end with the state of the GPU.
"""

import re

_GPU_FAILURE = re.compile(r'\w+ failure -?\d+: [^;]*[^;\s]')
"""Of CUDA, cuBLAS or cuDNN, without the machine and the source line that follow."""
_LAYER = re.compile(r'.*(?:Status Message: |\[ONNXRuntimeError\] : \d+ : \w+ : )')
_SIGNATURE = re.compile(
    r'/\S+\.(?:cc|cu|h):\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)?(?: \[with [^]]*\])? ')
_PLACE = re.compile(r'\w+\.(?:cc|cu|h):\d+ \w+ ')


def reason_of(error: object) -> str:
    """Return the first line of an error or warning, without where in the sources it was raised."""
    line = next(iter(str(error).strip().splitlines()), '')
    if failure := _GPU_FAILURE.search(line):
        return failure[0]
    for prefix in (_LAYER, _SIGNATURE, _PLACE):
        if found := prefix.match(line):
            line = line[found.end():]
    return line.strip().rstrip('.:') or type(error).__name__
