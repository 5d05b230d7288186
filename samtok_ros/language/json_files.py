# SPDX-License-Identifier: Apache-2.0
"""JSON objects on disk, as the files of a model directory are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtok_ros.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one object.

    Raises:
        CheckpointError: it does not.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise CheckpointError(f'{path} is damaged', got=str(error),
                              fix='fetch or copy the file again') from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} is damaged', expected='a JSON object',
                              fix='fetch or copy the file again')
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, indented and as UTF-8."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
