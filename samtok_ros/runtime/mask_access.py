# SPDX-License-Identifier: Apache-2.0
"""Masks and codes of a cached frame, for whoever needs them.

The mask tokenizer's own node is one user. The grounding node is another: regions that a request
points at by mask, box or point become codes here, and an answer's codes become masks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np

from samtok_ros.errors import ConfigError, ImageError, SpanError
from samtok_ros.masks.boxes import with_mask
from samtok_ros.masks.prompt_shapes import draw_prompts
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt, Region
from samtok_ros.runtime.backend import LoadedMaskModel, Masks
from samtok_ros.runtime.frame_cache import Frame, FrameCache
from samtok_ros.runtime.statistics import Statistics

MAX_MASK_PIXELS = 256_000_000
"""Pixels of all masks of one call together; as bool arrays that is 256 MB."""

_BATCH_PIXELS = 64_000_000
"""Pixels of the masks that are computed at once; as float32 logits that is 256 MB."""

Codes = tuple[int, ...]
Prompt = BoxPrompt | PointPrompt
Item = TypeVar('Item')


class MaskAccess(Protocol):
    """Masks <-> codes of cached frames. Shapes: N regions, D codebook depth, H W of the frame.

    Raises:
        SamtokError: what was given does not fit the frame or the model, or the model failed.
    """

    def encode(self, frame: Frame, masks: np.ndarray) -> np.ndarray:
        """Return (N, D) int64 codes of (N, H, W) bool masks, none of them empty."""

    def encode_crop(self, image_rgb: np.ndarray, mask: np.ndarray) -> Codes:
        """Return the codes of an (h, w) bool mask in a picture that is no frame."""

    def draw_prompts(self, frame: Frame, prompts: Sequence[Prompt]) -> np.ndarray:
        """Return (N, H, W) bool masks of the things that boxes or points show."""

    def decode(self, frame: Frame, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        """Return the regions with the masks that their codes stand for."""


class LocalMaskAccess:
    """MaskAccess with the mask tokenizer of this process; for the worker thread only."""

    def __init__(
        self, loaded: LoadedMaskModel, frames: FrameCache, statistics: Statistics,
    ) -> None:
        """Wrap a loaded model.

        Args:
            loaded: the mask tokenizer.
            frames: cache that keeps features of frames and counts their memory.
            statistics: told of durations.
        """
        self.loaded = loaded
        self._frames = frames
        self._statistics = statistics

    def encode(self, frame: Frame, masks: np.ndarray) -> np.ndarray:
        """See MaskAccess.

        Raises:
            ImageError: a mask is empty or of another size, or there are too many.
        """
        check_mask_memory(len(masks), frame.size)
        features = self.features_of(frame)
        with self._statistics.measure('encode'):
            parts = [self.loaded.model.encode(features, batch)
                     for batch in batches(masks, frame.size)]
        return _joined(parts, (0, self.loaded.codebook_depth), np.int64)

    def encode_crop(self, image_rgb: np.ndarray, mask: np.ndarray) -> Codes:
        """See MaskAccess; its features are used once and not kept."""
        with self._statistics.measure('embed'):
            features = self.loaded.model.embed_image(image_rgb)
        return tuple(self.loaded.model.encode(features, mask[None])[0].tolist())

    def draw_prompts(self, frame: Frame, prompts: Sequence[Prompt]) -> np.ndarray:
        """See MaskAccess.

        Raises:
            ImageError: a prompt is not inside the frame, or there are too many.
        """
        return self._in_batches(frame, prompts, self._draw_prompts)[0]

    def decode(self, frame: Frame, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        """See MaskAccess; what the frame holds from the answer being spoken is not redone.

        Raises:
            SpanError: codes that this mask tokenizer does not have.
            ImageError: there are too many regions for a frame of this size.
        """
        drawn = self.draw(frame, [region.codes for region in regions])
        return tuple(with_mask(region, *drawn[region.codes]) for region in regions)

    def draw(
        self, frame: Frame, codes: Sequence[Codes],
    ) -> dict[Codes, tuple[np.ndarray, float]]:
        """Return (H, W) bool mask and predicted IoU by codes, of these and of `frame.decoded`.

        Raises:
            SpanError, ImageError: see decode.
        """
        for one in codes:
            self.check_codes(one)
        check_mask_memory(len(codes), frame.size)
        new = [one for one in dict.fromkeys(codes) if one not in frame.decoded]
        drawn = dict(frame.decoded)
        if new:
            decode = self.loaded.model.decode
            masks, scores = self._in_batches(
                frame, new, lambda features, batch: decode(features, np.array(batch, np.int64)))
            drawn.update(zip(new, zip(masks, scores.tolist(), strict=True), strict=True))
        return drawn

    def check_codes(self, codes: Codes) -> None:
        """Refuse codes that this mask tokenizer does not have.

        Raises:
            SpanError: another number of codes than levels, or a code out of range.
        """
        depth, size = self.loaded.codebook_depth, self.loaded.codebook_size
        if len(codes) != depth or not 0 <= min(codes) <= max(codes) < size:
            raise SpanError('codes are not of this mask tokenizer',
                            expected=f'{depth} codes below {size}', got=list(codes))

    def check_tokenizer(self, tokenizer_id: str) -> None:
        """Refuse codes of another mask tokenizer.

        Raises:
            ConfigError: they belong to another one.
        """
        ours = self.loaded.model.tokenizer_id
        if tokenizer_id != ours:
            raise ConfigError(f'they belong to mask tokenizer {tokenizer_id!r}, here is {ours!r}',
                              fix='give both nodes the same model')

    def features_of(self, frame: Frame) -> object:
        """Return the features of a frame, computed when they are first needed.

        Raises:
            ImageError: the frame cannot be read as an image.
        """
        features = frame.features
        if features is not None:
            return features
        with self._statistics.measure('embed'):
            return self._frames.features_of(frame, self.loaded.model)

    def _draw_prompts(self, features: object, prompts: Sequence[Prompt]) -> Masks:
        return draw_prompts(self.loaded.model, self.loaded.reads_prompts, features, prompts)

    def _in_batches(
        self, frame: Frame, items: Sequence[Item],
        draw: Callable[[object, Sequence[Item]], Masks],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, H, W) bool masks and (N,) float32 scores of many items."""
        size = frame.size
        check_mask_memory(len(items), size)
        features = self.features_of(frame)
        with self._statistics.measure('decode'):
            parts = [draw(features, batch) for batch in batches(items, size)]
        return (_joined([part.masks for part in parts], (0, size.height, size.width), np.bool_),
                _joined([part.scores for part in parts], (0,), np.float32))


def check_mask_memory(count: int, size: ImageSize) -> None:
    """Refuse more masks than fit the memory of one call, before any is allocated.

    Raises:
        ImageError: they do not fit.
    """
    pixels = size.height * size.width
    if count * pixels > MAX_MASK_PIXELS:
        raise ImageError(
            f'{count} masks of {size.height} x {size.width} pixels are too much at once',
            expected=f'at most {MAX_MASK_PIXELS // pixels} of this size', got=count,
            fix='ask for fewer regions at a time, or use a smaller image')


def batches(items: Sequence[Item], size: ImageSize) -> Iterator[Sequence[Item]]:
    """Cut items into parts whose masks, of an image of this size, are computed at once."""
    length = max(1, _BATCH_PIXELS // (size.height * size.width))
    for start in range(0, len(items), length):
        yield items[start:start + length]


def _joined(parts: list[np.ndarray], empty: tuple[int, ...], dtype: type) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(empty, dtype), *parts])
