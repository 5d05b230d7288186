# SPDX-License-Identifier: Apache-2.0
"""What differs between the families of vision-language models: image inputs and positions."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from samtok_ros.errors import CheckpointError, ImageError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.language.positions import position_ids_with_images

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

_MAX_TILES = 8


@dataclass(frozen=True, eq=False)
class ImageInputs:
    """One image as the model takes it.

    Attributes:
        visual_tokens: how many tokens it takes.
        grid_hw: visual tokens down and across.
        size_hw: of the image itself, source pixels.
        tensors: arguments of the model's forward.
    """

    visual_tokens: int
    grid_hw: tuple[int, int]
    size_hw: tuple[int, int]
    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class PlacedImage:
    """An image in a text, and how many tokens stand in front of it."""

    at: int
    image: ImageInputs


class Family(Protocol):
    """One way to feed a vision-language model.

    Attributes:
        position_shape: of position ids, in front of the tokens: (3, 1) or (1,).
    """

    position_shape: tuple[int, ...]

    def look(self, image_rgb: np.ndarray) -> ImageInputs:
        """Prepare an image.

        Raises:
            ImageError: the image cannot be used.
        """

    def image_arguments(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what forward wants beside images, given (1, T) ids that hold all of them."""

    def positions(self, images: Sequence[PlacedImage], length: int) -> torch.Tensor:
        """Return position ids of a whole text: (*position_shape, T) int64.

        Args:
            images: in the text, in order.
            length: T, images included.
        """

    def tensors(self, images: Sequence[PlacedImage]) -> dict[str, torch.Tensor]:
        """Return the images in the form in which forward takes all of one text."""


class QwenFamily:
    """Qwen3-VL and Qwen2.5-VL: one grid of visual tokens, positions in time, rows and columns."""

    position_shape = (3, 1)

    def __init__(self, model: 'PreTrainedModel', processor: 'ProcessorMixin') -> None:
        self._image_processor = processor.image_processor
        self._image_id = processor.image_token_id
        self._merge = model.config.vision_config.spatial_merge_size

    def look(self, image_rgb: np.ndarray) -> ImageInputs:
        """See Family."""
        found = _processed(self._image_processor, image_rgb)
        tensors = {name: found[name] for name in ('pixel_values', 'image_grid_thw')}
        _, height, width = (tensors['image_grid_thw'][0] // self._merge).tolist()
        return ImageInputs(height * width, (height, width), image_rgb.shape[:2], tensors)

    def image_arguments(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """See Family."""
        return {'mm_token_type_ids': (input_ids == self._image_id).int()}

    def positions(self, images: Sequence[PlacedImage], length: int) -> torch.Tensor:
        """See Family."""
        placed = [(one.at, one.image.grid_hw) for one in images]
        return position_ids_with_images(length, placed)[:, None]

    def tensors(self, images: Sequence[PlacedImage]) -> dict[str, torch.Tensor]:
        """See Family; one image behind the other, patches of each in a row."""
        return _concatenated(images, dim=0)


class PerceptionFamily:
    """PerceptionLM: a thumbnail and tiles one behind the other, positions plainly counted."""

    position_shape = (1,)

    def __init__(self, model: 'PreTrainedModel', processor: 'ProcessorMixin') -> None:
        # The scripts of the published model set this, whatever its processor settings say.
        # Source: samtok-spec 3.2.
        self._image_processor = copy(processor.image_processor)
        self._image_processor.max_num_tiles = min(_MAX_TILES, self._image_processor.max_num_tiles)
        self._cell_px = processor.patch_size * processor.pooling_ratio

    def look(self, image_rgb: np.ndarray) -> ImageInputs:
        """See Family."""
        tiles = _processed(self._image_processor, image_rgb)['pixel_values']  # (1, tiles, 3, H, W)
        count, _, height_px, width_px = tiles.shape[1:]
        height, width = count * (height_px // self._cell_px), width_px // self._cell_px
        return ImageInputs(height * width, (height, width), image_rgb.shape[:2],
                           {'pixel_values': tiles})

    def image_arguments(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """See Family."""
        return {}

    def positions(self, images: Sequence[PlacedImage], length: int) -> torch.Tensor:
        """See Family."""
        return torch.arange(length)[None]

    def tensors(self, images: Sequence[PlacedImage]) -> dict[str, torch.Tensor]:
        """See Family; the tiles of all images are one row of tiles."""
        return _concatenated(images, dim=1)


_FAMILIES: dict[str, type[Family]] = {
    'qwen3_vl': QwenFamily,
    'qwen2_5_vl': QwenFamily,
    'perception_lm': PerceptionFamily,
}


def family_for(model: 'PreTrainedModel', processor: 'ProcessorMixin') -> Family:
    """Return the family that a loaded model belongs to."""
    return _FAMILIES[model.config.model_type](model, processor)


def check_model_type(model_type: str) -> None:
    """Refuse models that nobody here knows how to feed.

    Args:
        model_type: as in config.json.
    Raises:
        CheckpointError: names the types that work.
    """
    if model_type not in _FAMILIES:
        raise CheckpointError('this package cannot run that kind of model',
                              expected=f'model_type {", ".join(_FAMILIES)}', got=repr(model_type))


def _concatenated(images: Sequence[PlacedImage], dim: int) -> dict[str, torch.Tensor]:
    if len(images) == 1:
        return dict(images[0].image.tensors)
    return {name: torch.cat([one.image.tensors[name] for one in images], dim)
            for name in images[0].image.tensors}


def _processed(image_processor, image_rgb: np.ndarray) -> Mapping[str, torch.Tensor]:
    check_rgb(image_rgb)
    # Channels first: the processor guesses the layout, and would guess wrong for a width of 3.
    pixels = torch.tensor(np.ascontiguousarray(image_rgb)).permute(2, 0, 1)
    try:
        return image_processor(images=[pixels], input_data_format='channels_first',
                               return_tensors='pt')
    except ValueError as error:  # the only check it has: aspect ratio
        raise ImageError('image cannot be resized for the model',
                         got='{} x {}'.format(*image_rgb.shape[:2]),
                         fix=f'crop it: {error}') from error
