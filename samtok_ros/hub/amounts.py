# SPDX-License-Identifier: Apache-2.0
"""Numbers of bytes as people read them."""


def amount(size: float) -> str:
    """Return a number of bytes in GB or MB, decimal."""
    return f'{size / 1e9:.2f} GB' if size >= 1e9 else f'{size / 1e6:.1f} MB'
