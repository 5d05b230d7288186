# SPDX-License-Identifier: Apache-2.0
"""Agreement with the published mask tokenizer, by numbers instead of by weights.

The vectors hold what the published code computes in float32 with the weights of
`synthetic_network`; here the same is computed on this package's modules. Shapes: M masks of an
image.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from samtok_ros.errors import CheckpointError
from samtok_ros.evaluation.synthetic_network import (
    build_from_inventory,
    fill_synthetic_,
    synthetic_image,
)
from samtok_ros.image.transforms import resize_to_square
from samtok_ros.masks.scores import iou
from samtok_ros.regions import NO_CODE, ImageSize
from samtok_ros.tokenizer.mask_tokenizer import ImageFeatures, MaskTokenizer
from samtok_ros.tokenizer.network import MaskCandidates
from samtok_ros.tokenizer.records import DecodeOptions
from samtok_ros.tokenizer.resampling import logits_to_masks


@dataclass(frozen=True)
class ParityReport:
    """Largest differences from the vectors over all images.

    Attributes:
        device, dtype: what the network ran on, and the number format of its heavy parts.
        max_abs_features: of the sampled feature maps.
        max_abs_embedding: of the mask embeddings before quantising.
        max_abs_logits: of the sampled low-res logits of the chosen masks.
        max_abs_score: of the predicted IoU.
        codes_equal: all codes are the same.
        codes_share: share of the encoded masks whose codes are all the same.
        index_equal: the same one of three candidates is chosen everywhere.
        max_mask_pixels_off: most pixels that differ in one final mask.
        masks_within_rounding: no mask differs in more pixels than lie at the threshold itself.
        mask_iou_mean, mask_iou_min: of the final masks with the recorded ones.
        masks: final masks compared.
        inventory_equal: names and shapes of all tensors are the published ones.
        weights_equal: checksums of the synthetic weights are the recorded ones.
    """

    device: str
    dtype: str
    max_abs_features: float
    max_abs_embedding: float
    max_abs_logits: float
    max_abs_score: float
    codes_equal: bool
    codes_share: float
    index_equal: bool
    max_mask_pixels_off: int
    masks_within_rounding: bool
    mask_iou_mean: float
    mask_iou_min: float
    masks: int
    inventory_equal: bool
    weights_equal: bool

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def run_parity(
    vectors: Mapping[str, np.ndarray], inventory: list[dict], device: str = 'cpu',
    dtype: str = 'float32',
) -> ParityReport:
    """Rebuild the network and compare it with recorded outputs.

    Args:
        vectors: arrays of the npz file, recorded in float32 on a CPU.
        inventory: entries of the json file, in state-dict order.
        device: a torch device.
        dtype: as in MaskTokenizer.
    Raises:
        ConfigError, DeviceError: as in MaskTokenizer.
    """
    network, inventory_equal = build_from_inventory(inventory)
    weights_equal = fill_synthetic_(network, inventory, vectors['weight_crc32'])
    tokenizer = MaskTokenizer(network, 'synthetic', device, dtype)
    comparison = _Comparison()
    for number in range(sum(1 for name in vectors if re.fullmatch(r'i\d+_hwk', name))):
        prefix = f'i{number}_'
        image = {name.removeprefix(prefix): vectors[name] for name in vectors
                 if name.startswith(prefix)}
        _compare_image(tokenizer, image, comparison)
    return comparison.report(device, dtype, inventory_equal, weights_equal)


def load_and_run(
    vectors_path: Path, inventory_path: Path, device: str = 'cpu', dtype: str = 'float32',
) -> ParityReport:
    """Read both files and compare.

    Raises:
        CheckpointError: a file is missing or of another form.
        ConfigError, DeviceError: as in MaskTokenizer.
    """
    try:
        inventory = json.loads(inventory_path.read_text(encoding='utf-8'))
        with np.load(vectors_path) as vectors:
            return run_parity(dict(vectors), inventory, device, dtype)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError('parity vectors cannot be used', got=error,
                              expected='an .npz of vectors and its .json inventory') from error


class _Comparison:
    """Collects the largest differences."""

    def __init__(self) -> None:
        self._largest = dict.fromkeys(('features', 'embedding', 'logits', 'score', 'pixels'), 0.0)
        self._same_codes: list[bool] = []
        self._ious: list[float] = []
        self._index_equal = self._within_rounding = True

    def differ(self, kind: str, ours: torch.Tensor, theirs: np.ndarray) -> None:
        difference = np.abs(ours.float().cpu().numpy() - theirs).max()
        self._largest[kind] = max(self._largest[kind], float(difference))

    def codes(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        self._same_codes += (ours == theirs).all(axis=1).tolist()

    def masks(self, ours: np.ndarray, theirs: np.ndarray, near_half: np.ndarray) -> None:
        off = (ours != theirs).sum(axis=(1, 2))
        self._ious += [iou(*pair) for pair in zip(ours, theirs, strict=True)]
        self._largest['pixels'] = max(self._largest['pixels'], float(off.max()))
        self._within_rounding &= bool((off <= near_half).all())

    def index(self, ours: torch.Tensor, theirs: np.ndarray) -> None:
        self._index_equal &= bool((ours.cpu().numpy() == theirs).all())

    def report(self, device: str, dtype: str, inventory_equal: bool,
               weights_equal: bool) -> ParityReport:
        largest = self._largest
        return ParityReport(
            device, dtype, largest['features'], largest['embedding'], largest['logits'],
            largest['score'], all(self._same_codes), float(np.mean(self._same_codes)),
            self._index_equal, int(largest['pixels']), self._within_rounding,
            float(np.mean(self._ious)), min(self._ious), len(self._ious), inventory_equal,
            weights_equal)


def _compare_image(tokenizer: MaskTokenizer, image: Mapping[str, np.ndarray],
                   comparison: _Comparison) -> None:
    height, width, key = (int(value) for value in image['hwk'])
    rgb = synthetic_image(height, width, key)
    _check_pixels(rgb, image, 'sha256_rgb')
    _check_pixels(resize_to_square(rgb, tokenizer.config.image_size), image, 'sha256_resized')
    features = tokenizer.embed_image(rgb)
    _compare_features(tokenizer, features, image, comparison)

    masks = _unpack(image['masks_packed'], features.size)
    comparison.differ('embedding', tokenizer.embed_masks(features, masks), image['embed'])
    codes = tokenizer.encode(features, masks)
    comparison.codes(codes, image['codes'])
    # The published code draws a missing second code, -1, as entry 0, and so does `giv`; `row` is
    # what it means to draw, the first code alone.
    as_meant, as_published = DecodeOptions(), DecodeOptions(missing_as_zero=True)
    for name, rows, options in (('rec', codes, as_meant),
                                ('giv', image['given_codes'], as_published),
                                ('row', [[int(image['row']), NO_CODE]], as_meant)):
        _compare_masks(tokenizer.candidates(features, np.array(rows), options), name, image,
                       tokenizer.config.logit_threshold, comparison)


def _check_pixels(pixels: np.ndarray, image: Mapping[str, np.ndarray], name: str) -> None:
    if hashlib.sha256(pixels.tobytes()).hexdigest() != str(image[name]):
        raise CheckpointError(f'input image differs from the recorded one ({name})',
                              fix='use a Pillow version that resizes like the recorded one')


def _compare_features(tokenizer: MaskTokenizer, features: ImageFeatures,
                      image: Mapping[str, np.ndarray], comparison: _Comparison) -> None:
    maps = features.maps
    comparison.differ('features', maps.high_res_0[0, 3::8, 5::32, 9::32], image['feat_s0'])
    comparison.differ('features', maps.high_res_1[0, 3::16, 5::16, 9::16], image['feat_s1'])
    coarse = maps.embedding - tokenizer.network.sam.no_mem_embed.permute(0, 2, 1).unsqueeze(-1)
    comparison.differ('features', coarse[0, 3::16, 5::8, 3::8], image['feat_top'])


def _compare_masks(candidates: MaskCandidates, name: str, image: Mapping[str, np.ndarray],
                   threshold: float, comparison: _Comparison) -> None:
    size = ImageSize(*map(int, image['hwk'][:2]))
    logits, _ = candidates.best()
    comparison.differ('logits', logits[:, 0, 1::4, 2::4], image[f'{name}_logits_sub'])
    comparison.differ('score', candidates.scores, image[f'{name}_iou'])
    comparison.index(candidates.scores.argmax(dim=1), image[f'{name}_index'])
    comparison.masks(logits_to_masks(logits, size, threshold).cpu().numpy(),
                     _unpack(image[f'{name}_mask_packed'], size), image[f'{name}_near_half'])


def _unpack(packed: np.ndarray, size: ImageSize) -> np.ndarray:
    count = size.height * size.width
    return np.unpackbits(packed, axis=1, count=count).reshape(-1, size.height, size.width) != 0
