# SPDX-License-Identifier: Apache-2.0
"""The published wording of a task as plain text; regions stay `<region:N>`."""

from samtok_ros.language.instructions import filled
from samtok_ros.language.prompts import PROMPTS


def wording(task: str, number: int = 0, **fields: str) -> str:
    """Fill a template of PROMPTS; braces inside the filled-in texts mean nothing.

    Args:
        task: key of the table.
        number: which of its wordings.
        fields: what stands for each name.
    """
    (text,) = filled(PROMPTS[task][number], {name: (text,) for name, text in fields.items()})
    return text
