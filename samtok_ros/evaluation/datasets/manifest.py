# SPDX-License-Identifier: Apache-2.0
"""What has to be the same for results to belong together."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from samtok_ros.evaluation.datasets.sample import DataPlace
from samtok_ros.evaluation.datasets.tasks import DatasetTask
from samtok_ros.evaluation.report import weight_hashes
from samtok_ros.language.prompts import PROMPTS
from samtok_ros.model_directory import model_name, resolve_model

FORMAT = 1
"""Of the lines of results; raised when their meaning changes."""


def run_manifest(name: str, task: DatasetTask, place: DataPlace, model: str,
                 options: Mapping[str, object]) -> dict[str, object]:
    """Return the manifest of a run.

    Where the files lie is left out: a folder may move between two parts of a run.

    Args:
        name: of the task.
        task: its entry in the table.
        place: the data set.
        model: as given by the user.
        options: whatever else changes answers.
    Raises:
        SamtokError: model or data set are not there.
    """
    model_dir = resolve_model(model)
    return {
        'format': FORMAT,
        'task': name,
        'model': {'name': model_name(model_dir), 'weights': weight_hashes(model_dir)},
        'files': {path.name: _digest(path) for path in task.reader.files(place)},
        'split': place.split,
        'wordings': {key: list(PROMPTS[key]) for key in task.wordings},
        'options': dict(options),
    }


def _digest(path: Path) -> str:
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()
