# SPDX-License-Identifier: Apache-2.0
"""Scenes as the vision tower sees them: resized once, augmented, cut into patches."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.geometry import COLOURS, SHAPES, SIZES

MODEL_SIZE_HW = (224, 320)
PATCH = 16
CELLS_HW = (MODEL_SIZE_HW[0] // 32, MODEL_SIZE_HW[1] // 32)
PATCHES_HW = (MODEL_SIZE_HW[0] // PATCH, MODEL_SIZE_HW[1] // PATCH)
MAX_OBJECTS = 12


class Scenes(Protocol):
    """What training reads of a scene store."""

    def __len__(self) -> int: ...

    def rgb(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8."""

    def segmentation(self, index: int) -> np.ndarray:
        """(H, W) uint8 object ids, 0 = background."""

    def description(self, index: int):
        """A SceneDescription."""


def resize_for_model(image_rgb: np.ndarray) -> np.ndarray:
    """Resize as the model's image processor does: antialiased bicubic, rounded to uint8.

    Args:
        image_rgb: (H, W, 3) uint8, 4:3.
    Returns:
        (224, 320, 3) uint8.
    """
    from torchvision.transforms.v2.functional import InterpolationMode, resize

    pixels = torch.from_numpy(np.array(image_rgb)).permute(2, 0, 1)
    resized = resize(pixels, list(MODEL_SIZE_HW), InterpolationMode.BICUBIC, antialias=True)
    return resized.permute(1, 2, 0).numpy()


def to_patches(images: torch.Tensor) -> torch.Tensor:
    """Normalise images to -1..1 and cut them into patches in the image processor's order.

    Args:
        images: (B, 224, 320, 3) uint8.
    Returns:
        (B, 280, 768) float32: 2 x 2 patches that merge into one token follow each other; inside a
        patch channel, row, column.
    """
    batch = images.shape[0]
    rows, columns = CELLS_HW
    pixels = images.float() / 127.5 - 1.0
    pixels = pixels.view(batch, rows, 2, PATCH, columns, 2, PATCH, 3)
    return pixels.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(batch, rows * columns * 4, -1)


@dataclass(frozen=True)
class Augmentation:
    """How strongly training images are varied.

    Attributes:
        flip: share of images mirrored left to right; 0 where language says 'left'.
        warp: share of images shifted and zoomed.
        zoom: greatest factor of enlarging or shrinking, minus one.
        shift: greatest shift, as a fraction of the image.
        colour: greatest change of brightness, contrast and of each channel's gain.
        noise: greatest standard deviation of pixel noise, in grey levels.
        blur: share of images softened or sharpened a little.
    """

    flip: float = 0.5
    warp: float = 0.6
    zoom: float = 0.35
    shift: float = 0.12
    colour: float = 0.12
    noise: float = 4.0
    blur: float = 0.2


class SceneImages:
    """The images and label maps of a scene store at the model's size, and a table of the objects.

    Attributes:
        images: (S, 224, 320, 3) uint8.
        labels: (S, 224, 320) uint8 object ids, 0 = background.
        attributes: (S, 13, 3) int64: shape, colour, size by object id, -1 where there is no object.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, attributes: np.ndarray):
        """Take over arrays made by `prepare`."""
        self.images = images
        self.labels = labels
        self.attributes = attributes

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.images)

    @classmethod
    def prepare(cls, scenes: Scenes, cache_dir: Path) -> 'SceneImages':
        """Resize all scenes, or only those added to the store since the last time.

        Args:
            scenes: the store; only ever grows.
            cache_dir: holds `images.u8` and `labels.u8`; created.
        Raises:
            ConfigError: the cache holds more scenes than the store.
        """
        cache_dir.mkdir(parents=True, exist_ok=True)
        total = len(scenes)
        table_path = cache_dir / 'attributes.npy'
        table = (np.load(table_path) if table_path.exists()
                 else np.zeros((0, MAX_OBJECTS + 1, 3), np.int64))
        done = len(table)
        if done > total:
            raise ConfigError('cached images belong to another scene store',
                              expected=f'at most {total} scenes', got=done,
                              fix=f'remove {cache_dir}')
        if done < total:
            # What an interrupted run appended behind the table's end is written again.
            with open(cache_dir / 'images.u8', 'ab') as images, \
                    open(cache_dir / 'labels.u8', 'ab') as labels:
                images.truncate(done * MODEL_SIZE_HW[0] * MODEL_SIZE_HW[1] * 3)
                labels.truncate(done * MODEL_SIZE_HW[0] * MODEL_SIZE_HW[1])
                for index in range(done, total):
                    images.write(resize_for_model(scenes.rgb(index)).tobytes())
                    labels.write(resize_labels(scenes.segmentation(index)).tobytes())
            table = np.concatenate([table, [attribute_table(scenes.description(index))
                                            for index in range(done, total)]])
            np.save(table_path.with_suffix('.part.npy'), table)
            os.replace(table_path.with_suffix('.part.npy'), table_path)
        shape = (total, *MODEL_SIZE_HW)
        return cls(np.memmap(cache_dir / 'images.u8', np.uint8, 'r', shape=(*shape, 3)),
                   np.memmap(cache_dir / 'labels.u8', np.uint8, 'r', shape=shape), table)

    def batch(self, indices: Sequence[int], rng: np.random.Generator,
              augmentation: Augmentation | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Load scenes, varied when `augmentation` is given.

        Returns:
            (B, 224, 320, 3) uint8 images, (B, 224, 320) uint8 labels, (B, 13, 3) int64 attributes.
        """
        images, labels = [], []
        for index in indices:
            image, label = np.asarray(self.images[index]), np.asarray(self.labels[index])
            if augmentation is not None:
                image, label = augment(image, label, rng, augmentation)
            images.append(image)
            labels.append(label)
        return (torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)),
                torch.from_numpy(self.attributes[list(indices)]))


def resize_labels(segmentation: np.ndarray) -> np.ndarray:
    """Resize object ids by nearest neighbour: (H, W) uint8 -> (224, 320) uint8."""
    height, width = MODEL_SIZE_HW
    return cv2.resize(np.ascontiguousarray(segmentation), (width, height),
                      interpolation=cv2.INTER_NEAREST_EXACT)


def attribute_table(description) -> np.ndarray:
    """List shape, colour and size by object id: (13, 3) int64, -1 where there is none."""
    table = np.full((MAX_OBJECTS + 1, 3), -1, np.int64)
    for thing in description.objects:
        table[thing.object_id] = (SHAPES.index(thing.shape), COLOURS.index(thing.colour),
                                  SIZES.index(thing.size))
    return table


def augment(image: np.ndarray, label: np.ndarray, rng: np.random.Generator,
            how: Augmentation) -> tuple[np.ndarray, np.ndarray]:
    """Vary one image (224, 320, 3) uint8 and its object ids (224, 320) uint8 together."""
    if rng.random() < how.flip:
        image, label = image[:, ::-1], label[:, ::-1]
    if rng.random() < how.warp:
        image, label = _warp(image, label, rng, how)
    if rng.random() < how.blur:
        soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9))
        strength = rng.uniform(-0.7, 1.0)
        image = cv2.addWeighted(soft, strength, np.ascontiguousarray(image), 1 - strength, 0)
    if how.colour > 0:
        image = _change_colours(image, rng, how)
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


def _warp(image: np.ndarray, label: np.ndarray, rng: np.random.Generator, how: Augmentation,
          ) -> tuple[np.ndarray, np.ndarray]:
    height, width = label.shape
    zoom = float(np.exp(rng.uniform(-0.4, 1.0) * np.log1p(how.zoom)))
    shift = rng.uniform(-how.shift, how.shift, 2) * (width, height)
    centre = np.array([width, height]) / 2
    matrix = np.array([[zoom, 0, 0], [0, zoom, 0]], np.float64)
    matrix[:, 2] = centre + shift - zoom * centre
    image = cv2.warpAffine(np.ascontiguousarray(image), matrix, (width, height),
                           flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    label = cv2.warpAffine(np.ascontiguousarray(label), matrix, (width, height),
                           flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return image, label


def _change_colours(image: np.ndarray, rng: np.random.Generator, how: Augmentation) -> np.ndarray:
    gain = (1 + rng.uniform(-how.colour, how.colour)) * (1 + rng.uniform(-0.04, 0.04, 3))
    offset = rng.uniform(-how.colour, how.colour) * 60
    levels = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), levels[None].reshape(1, 256, 3))
    if how.noise > 0 and rng.random() < 0.5:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, 0, rng.uniform(0.5, how.noise))
        image = np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return image
