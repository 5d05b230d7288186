# SPDX-License-Identifier: Apache-2.0
"""The mask tokenizer on ONNX Runtime: the interface of `MaskTokenizer` without torch.

Features stay in the memory of the provider: between encoding an image and the last mask drawn on
it, only codes, prompts and results are copied. Shapes: N regions, D codebook depth, H W source
pixels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort

from samtok_ros.errors import SpanError
from samtok_ros.image.encodings import check_rgb
from samtok_ros.image.transforms import boxes_to_unit, masks_to_boxes, resize_to_square
from samtok_ros.onnx.manifest import GRAPHS, MAX_REGIONS, Manifest
from samtok_ros.onnx.resampling import logits_to_masks, masks_to_prompts
from samtok_ros.onnx.sessions import Engine, Graph
from samtok_ros.regions import NO_CODE, ImageSize
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.prompts import (
    PROMPT_LOGIT_THRESHOLD,
    Prompt,
    PromptGroup,
    group_prompts,
)
from samtok_ros.tokenizer.records import DecodedMasks, DecodeOptions, check_masks

STABILITY_DELTA, STABILITY_THRESHOLD = 0.05, 0.98
"""When the one mask for a box counts as stable. Source: sam2's options of its image predictor."""

_WARM_UP_SIZE = (480, 640)
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class OnnxFeatures:
    """Features of one image, in the memory of the provider.

    Attributes:
        size: of the source image.
        maps: embedding, high_res_0 and high_res_1 by name, batch of 1.
    """

    size: ImageSize
    maps: Mapping[str, ort.OrtValue]

    @property
    def nbytes(self) -> int:
        """Memory that the features hold."""
        return sum(_FLOAT_BYTES * math.prod(value.shape()) for value in self.maps.values())


class OnnxMaskTokenizer:
    """Masks <-> codes for one export on one provider."""

    def __init__(
        self, manifest: Manifest, graphs: Mapping[str, Graph],
    ) -> None:
        """Wrap open graphs.

        Args:
            manifest: of the export.
            graphs: all of GRAPHS by name.
        """
        self.manifest = manifest
        self.tokenizer_id = manifest.tokenizer_id
        self._graphs = graphs

    @classmethod
    def open(cls, export_dir: Path, manifest: Manifest, engine: Engine) -> 'OnnxMaskTokenizer':
        """Open all graphs of an export whose files were checked.

        Raises:
            CheckpointError: a file is no ONNX model, or another one than the manifest says.
            DeviceError: the provider is missing or cannot run a graph.
        """
        return cls(manifest, {name: Graph.open(export_dir, manifest, name, engine)
                              for name in GRAPHS})

    @property
    def config(self) -> MaskTokenizerConfig:
        """Sizes of the network."""
        return self.manifest.config

    def warm_up(self) -> None:
        """Run everything once, so that the first image is not slower than later ones."""
        features = self.embed_image(np.full((*_WARM_UP_SIZE, 3), 127, np.uint8))
        codes = self.encode(features, np.ones((1, *_WARM_UP_SIZE), np.bool_))
        self.decode(features, codes)

    def embed_image(self, image_rgb: np.ndarray) -> OnnxFeatures:
        """Run the image encoder: the costly step, once per image.

        Args:
            image_rgb: (H, W, 3) uint8.
        Raises:
            ImageError: wrong shape or type, or no pixels.
        """
        size = check_rgb(image_rgb)
        square = resize_to_square(image_rgb, self.config.image_size)
        maps = self._graphs['image_encoder'].run({'image_rgb': square})
        names = [spec.name for spec in self.manifest.graphs['image_encoder'].outputs]
        return OnnxFeatures(size, dict(zip(names, maps, strict=True)))

    def encode(self, features: OnnxFeatures, masks: np.ndarray) -> np.ndarray:
        """Turn masks into codes.

        Args:
            features: of the image the masks belong to.
            masks: (N, H, W) bool at source resolution.
        Returns:
            (N, D) int64 codes, each in [0, K).
        Raises:
            ImageError: a mask is empty or has another size than the image.
        """
        check_masks(masks, features.size)
        if not len(masks):
            return np.empty((0, self.config.codebook_depth), np.int64)
        boxes = boxes_to_unit(masks_to_boxes(masks), features.size)
        codes = [self._run('mask_encoder', features, {
            'mask_prompt': masks_to_prompts(masks[rows], self.config.low_res_size),
            'box_unit': boxes[rows]})[0] for rows in _parts(len(masks))]
        return np.concatenate(codes)

    def decode(
        self, features: OnnxFeatures, codes: np.ndarray, options: DecodeOptions | None = None,
    ) -> DecodedMasks:
        """Turn codes into masks.

        Args:
            features: of the image the codes belong to.
            codes: (N, d) int64, d of 1..D; fewer levels give a coarser mask, and so does NO_CODE.
            options: compatible behaviours; none when left out.
        Raises:
            SpanError: wrong shape, or a code out of range.
        """
        options = options or DecodeOptions()
        if options.missing_as_zero:
            codes = np.where(np.asarray(codes) == NO_CODE, 0, codes)
        threshold = options.logit_threshold
        logits, scores, _ = self.decode_low_res(features, codes)
        masks = logits_to_masks(logits, features.size, self.config.logit_threshold
                                if threshold is None else threshold)
        return DecodedMasks(masks, logits, scores)

    def decode_low_res(
        self, features: OnnxFeatures, codes: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn codes into low-res logits, see `decode`.

        Returns:
            (N, 1, 4h, 4w) float32 logits and (N,) float32 predicted IoU of the best of three
            candidates, and (N,) int64 which one that is.
        """
        codes = np.asarray(codes, np.int64)
        if not len(codes):
            side = self.config.low_res_size
            return (np.zeros((0, 1, side, side), np.float32), np.zeros(0, np.float32),
                    np.zeros(0, np.int64))
        codes = self._complete_codes(codes)
        drawn = [self._run('mask_decoder', features, {'codes': codes[rows]})
                 for rows in _parts(len(codes))]
        return tuple(np.concatenate(part) for part in zip(*drawn, strict=True))

    def draw_prompts(self, features: OnnxFeatures, prompts: Sequence[Prompt]) -> DecodedMasks:
        """Draw what boxes and points show, as `MaskTokenizer.draw_prompts` does.

        Args:
            features: of the image the prompts belong to.
            prompts: N boxes and points, each for one mask.
        Raises:
            ImageError: a prompt does not lie in the image.
        """
        side = self.config.low_res_size
        logits = np.zeros((len(prompts), 1, side, side), np.float32)
        scores = np.zeros(len(prompts), np.float32)
        for group in group_prompts(prompts, features.size, self.config.image_size):
            for rows in _parts(len(group.rows)):
                where = group.rows[rows]
                logits[where, 0], scores[where] = self._draw_group(features, group, rows)
        masks = logits_to_masks(logits, features.size, PROMPT_LOGIT_THRESHOLD)
        return DecodedMasks(masks, logits, scores)

    def _draw_group(
        self, features: OnnxFeatures, group: PromptGroup, rows: slice,
    ) -> tuple[np.ndarray, np.ndarray]:
        points = group.points[rows]
        labels = np.tile(np.array(group.labels, np.int64), (len(points), 1))
        logits, scores = self._run('prompt_decoder', features,
                                   {'points': points, 'labels': labels})
        chosen = 1 + scores[:, 1:].argmax(axis=1)
        if group.one_mask:
            chosen = np.where(_stability(logits[:, 0]) >= STABILITY_THRESHOLD, 0, chosen)
        row = np.arange(len(chosen))
        return logits[row, chosen], scores[row, chosen]

    def _run(
        self, name: str, features: OnnxFeatures, inputs: Mapping[str, np.ndarray],
    ) -> list[np.ndarray]:
        """Run a graph on features and return its results as arrays."""
        wanted = {spec.name for spec in self.manifest.graphs[name].inputs}
        maps = {key: value for key, value in features.maps.items() if key in wanted}
        return [value.numpy() for value in self._graphs[name].run({**maps, **inputs})]

    def _complete_codes(self, codes: np.ndarray) -> np.ndarray:
        """Check codes; return (N, D) with K, which adds nothing, for levels that are missing."""
        depth, size = self.config.codebook_depth, self.config.codebook_size
        if codes.ndim != 2 or not 1 <= codes.shape[1] <= depth:
            raise SpanError('codes have the wrong shape', expected=f'(N, 1..{depth})',
                            got=codes.shape)
        present = codes != NO_CODE
        present[:, 0] = True
        found = codes[present]
        if found.min() < 0 or found.max() >= size:
            raise SpanError('code out of range', expected=f'0..{size - 1}',
                            got=f'{found.min()}..{found.max()}')
        if (present[:, 1:] & ~present[:, :-1]).any():
            raise SpanError('codes have a gap', expected='no code behind a missing one',
                            got=codes.tolist())
        codes = np.where(present, codes, size)
        return np.pad(codes, ((0, 0), (0, depth - codes.shape[1])), constant_values=size)


def _stability(logits: np.ndarray) -> np.ndarray:
    """Return for (N, 4h, 4w) logits how little the mask depends on the threshold, 0..1."""
    inner = (logits > STABILITY_DELTA).sum(axis=(1, 2), dtype=np.float32)
    outer = (logits > -STABILITY_DELTA).sum(axis=(1, 2), dtype=np.float32)
    return np.where(outer > 0, inner / np.maximum(outer, 1), np.float32(1))


def _parts(count: int) -> list[slice]:
    """Return slices of at most MAX_REGIONS."""
    return [slice(start, start + MAX_REGIONS) for start in range(0, count, MAX_REGIONS)]
