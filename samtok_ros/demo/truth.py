# SPDX-License-Identifier: Apache-2.0
"""What is in each image of a bag: exact masks and boxes. JSON lines, one image a line."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from samtok_ros.errors import ConfigError, SamtokError
from samtok_ros.lifting.oriented_box import OrientedBox
from samtok_ros.masks.rle import mask_to_rle, rle_to_mask

# A tenth of a millimetre.
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class TrueObject:
    """One thing in one image.

    Attributes:
        object_id: the same in all images of a scene.
        shape, colour, size: as in samtok_ros.scenes.geometry.
        position_m: its centre in the camera's optical frame (x right, y down, z forward).
        mask: (H, W) bool, its visible pixels.
        box: the smallest upright one that holds it, in the optical frame.
    """

    object_id: int
    shape: str
    colour: str
    size: str
    position_m: tuple[float, float, float]
    mask: np.ndarray
    box: OrientedBox


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """One image.

    Attributes:
        stamp_ns: of the image.
        scene: number of the scene it shows, from 0.
        size_hw: height and width in pixels.
        objects: all things on the table.
    """

    stamp_ns: int
    scene: int
    size_hw: tuple[int, int]
    objects: tuple[TrueObject, ...]

    def mask_of(self, targets: Sequence[int]) -> np.ndarray:
        """Return the union of the masks of some things, (H, W) bool; empty for none.

        Raises:
            ConfigError: there is no such thing in the image.
        """
        masks = {thing.object_id: thing.mask for thing in self.objects}
        union = np.zeros(self.size_hw, np.bool_)
        for target in targets:
            if target not in masks:
                raise ConfigError('truth lacks a target of a goal', expected=sorted(masks),
                                  got=target, fix='make the bag again with samtok make-bag')
            union |= masks[target]
        return union


def save_truth(path: Path, frames: Iterable[FrameTruth]) -> None:
    """Write the truth; `load_truth` is the inverse."""
    with path.open('w', encoding='utf-8') as file:
        for frame in frames:
            file.write(json.dumps(_frame_to_row(frame), separators=(',', ':')) + '\n')


def load_truth(path: Path) -> dict[int, FrameTruth]:
    """Read the truth, by stamp in nanoseconds.

    Raises:
        ConfigError: there is no such file, or a line of it is damaged.
    """
    frames: dict[int, FrameTruth] = {}
    try:
        with path.open(encoding='utf-8') as file:
            for line in file:
                frame = _row_to_frame(json.loads(line))
                frames[frame.stamp_ns] = frame
    except (OSError, ValueError, TypeError, KeyError, SamtokError) as error:
        raise ConfigError(f'truth cannot be read from {path}, line {len(frames) + 1}', got=error,
                          fix='make the bag again with samtok make-bag') from error
    return frames


def _frame_to_row(frame: FrameTruth) -> dict:
    return {'stamp_ns': frame.stamp_ns, 'scene': frame.scene, 'size_hw': list(frame.size_hw),
            'objects': [{'object_id': thing.object_id, 'shape': thing.shape,
                         'colour': thing.colour, 'size': thing.size,
                         'position_m': list(thing.position_m), 'box': _box_to_row(thing.box),
                         'rle': mask_to_rle(thing.mask).tolist()} for thing in frame.objects]}


def _row_to_frame(row: dict) -> FrameTruth:
    size_hw = tuple(row['size_hw'])
    objects = tuple(
        TrueObject(thing['object_id'], thing['shape'], thing['colour'], thing['size'],
                   tuple(thing['position_m']), rle_to_mask(thing['rle'], size_hw),
                   _row_to_box(thing['box']))
        for thing in row['objects'])
    return FrameTruth(row['stamp_ns'], row['scene'], size_hw, objects)


def _box_to_row(box: OrientedBox) -> dict:
    turn = Rotation.from_matrix(box.rotation).as_quat(canonical=True)
    return {name: [round(float(value), _DIGITS) for value in values] for name, values in (
        ('centre_m', box.centre_m), ('rotation_xyzw', turn), ('size_m', box.extents_m))}


def _row_to_box(row: dict) -> OrientedBox:
    # What stands on a table is known down to it.
    return OrientedBox(np.array(row['centre_m']),
                       Rotation.from_quat(row['rotation_xyzw']).as_matrix(),
                       np.array(row['size_m']), completed=True)
