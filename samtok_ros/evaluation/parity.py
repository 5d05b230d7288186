# SPDX-License-Identifier: Apache-2.0
"""Agreement with the published mask tokenizer, by numbers instead of by weights.

The vectors hold what the published code computes with synthetic weights: every tensor follows from
its own name, so the same network can be rebuilt anywhere and compared. Shapes: M masks of an image.
"""

import dataclasses
import hashlib
import json
import math
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from samtok_ros.errors import CheckpointError
from samtok_ros.image.transforms import boxes_to_unit, masks_to_boxes, resize_to_square
from samtok_ros.regions import ImageSize
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.network import FeatureMaps, MaskCandidates, MaskTokenizerNetwork
from samtok_ros.tokenizer.resampling import logits_to_masks, masks_to_prompts
from samtok_ros.tokenizer.video_memory import add_video_memory_

HIERA_LARGE = MaskTokenizerConfig()
HIERA_TINY = MaskTokenizerConfig(
    trunk_embed_dim=96, trunk_num_heads=1, trunk_stages=(1, 2, 7, 2),
    trunk_global_att_blocks=(5, 7, 9), trunk_window_spec=(8, 4, 14, 7))
_TRUNKS = {config.trunk_embed_dim: config for config in (HIERA_LARGE, HIERA_TINY)}

_SMALL = re.compile(r'point_embeddings|not_a_point|tokens?\.weight|no_mask_embed|no_mem_embed')
_LATER_LAYERS = ('layers.1.weight', 'layers.2.weight')


@dataclass(frozen=True)
class ParityReport:
    """Largest differences from the vectors over all images.

    Attributes:
        max_abs_features: of the sampled feature maps.
        max_abs_embedding: of the mask embeddings before quantising.
        max_abs_logits: of the sampled low-res logits of the chosen masks.
        max_abs_score: of the predicted IoU.
        codes_equal: all codes are the same.
        index_equal: the same one of three candidates is chosen everywhere.
        max_mask_pixels_off: most pixels that differ in one final mask.
        masks_within_rounding: no mask differs in more pixels than lie at the threshold itself.
        masks: final masks compared.
        inventory_equal: names and shapes of all tensors are the published ones.
        weights_equal: checksums of the synthetic weights are the recorded ones.
    """

    max_abs_features: float
    max_abs_embedding: float
    max_abs_logits: float
    max_abs_score: float
    codes_equal: bool
    index_equal: bool
    max_mask_pixels_off: int
    masks_within_rounding: bool
    masks: int
    inventory_equal: bool
    weights_equal: bool

    def to_json(self) -> str:
        """Return one JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def synthetic_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 tensor that a name stands for.

    The second half of the columns of later feed-forward layers is minus the first half, so that
    outputs depend on inputs and not on the mean of an activation.
    """
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    noise = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        is_scale = name.endswith('weight')
        return (np.float32(1) + np.float32(0.1) * noise if is_scale
                else np.float32(0.02) * noise)
    if name.endswith(_LATER_LAYERS):
        half = shape[1] // 2
        noise[:, half:] = -noise[:, :half]
    return np.float32(_scale(name, noise)) * noise


def _scale(name: str, values: np.ndarray) -> float:
    by_inputs = 1 / math.sqrt(values.size // values.shape[0])
    if 'codebooks' in name:
        return 0.5
    if _SMALL.search(name):
        return 0.3
    if 'gaussian_matrix' in name or 'pos_embed' in name:
        return 1.0
    if 'neck.convs' in name:
        return by_inputs * 0.5
    if '.q_proj.' in name or '.k_proj.' in name:
        return by_inputs * 2
    return by_inputs


def synthetic_image(height: int, width: int, key: int) -> np.ndarray:
    """Return the (H, W, 3) uint8 picture of a key: blocks and stripes in whole numbers."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    block = (((y // 32) * 1009 + (x // 32) * 9176 + key * 77) * 2654435761) % 2 ** 32
    image = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        period = 97 + 40 * channel + 13 * key
        ramp = (x * (3 + channel) + y * (5 - channel) * (key + 1)) % (2 * period)
        stripes = np.abs(ramp - period) * 255 // period
        image[..., channel] = np.where(block // 2 ** 28 < 5, block // 2 ** (8 * channel) % 256,
                                       stripes)
    return image


def build_from_inventory(inventory: list[dict]) -> tuple[MaskTokenizerNetwork, bool]:
    """Build the published network that an inventory lists, with video memory.

    Returns:
        The network, and whether its tensors have exactly the listed names and shapes.
    Raises:
        CheckpointError: the trunk is none that this package knows.
    """
    shapes = {entry['name']: tuple(entry['shape']) for entry in inventory}
    position = next((shape for name, shape in shapes.items() if name.endswith('trunk.pos_embed')),
                    (0, 0))
    if position[1] not in _TRUNKS:
        raise CheckpointError('inventory has an unknown trunk', got=f'{position[1]} channels',
                              expected=f'{sorted(_TRUNKS)} channels')
    config = _TRUNKS[position[1]]
    network = MaskTokenizerNetwork(config)
    add_video_memory_(network.sam, config)
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return network.eval().requires_grad_(False), found == shapes


def fill_synthetic_(network: MaskTokenizerNetwork, inventory: list[dict],
                    checksums: np.ndarray) -> bool:
    """Fill a network by name; return whether every tensor has its recorded checksum."""
    weights, equal = {}, True
    for entry, checksum in zip(inventory, checksums, strict=True):
        values = synthetic_weight(entry['name'], tuple(entry['shape']))
        equal &= zlib.crc32(values.astype('<f4').tobytes()) == int(checksum)
        weights[entry['name']] = torch.from_numpy(values)
    network.load_state_dict(weights)
    return equal


def run_parity(vectors: Mapping[str, np.ndarray], inventory: list[dict]) -> ParityReport:
    """Rebuild the network and compare it with recorded outputs, in float32 on the CPU.

    Args:
        vectors: arrays of the npz file.
        inventory: entries of the json file, in state-dict order.
    """
    network, inventory_equal = build_from_inventory(inventory)
    weights_equal = fill_synthetic_(network, inventory, vectors['weight_crc32'])
    count = sum(1 for name in vectors if re.fullmatch(r'i\d+_hwk', name))
    comparison = _Comparison()
    with torch.inference_mode():
        for number in range(count):
            prefix = f'i{number}_'
            image = {name.removeprefix(prefix): vectors[name] for name in vectors
                     if name.startswith(prefix)}
            _compare_image(network, image, comparison)
    return comparison.report(inventory_equal, weights_equal)


def load_and_run(vectors_path: Path, inventory_path: Path) -> ParityReport:
    """Read both files and compare.

    Raises:
        CheckpointError: a file is missing or of another form.
    """
    try:
        inventory = json.loads(inventory_path.read_text(encoding='utf-8'))
        with np.load(vectors_path) as vectors:
            return run_parity(dict(vectors), inventory)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError('parity vectors cannot be used', got=error,
                              expected='an .npz of vectors and its .json inventory') from error


class _Comparison:
    """Collects the largest differences."""

    def __init__(self) -> None:
        self._largest = dict.fromkeys(('features', 'embedding', 'logits', 'score', 'pixels'), 0.0)
        self._codes_equal = self._index_equal = self._within_rounding = True
        self._masks = 0

    def differ(self, kind: str, ours: torch.Tensor, theirs: np.ndarray) -> None:
        difference = np.abs(ours.numpy() - theirs).max()
        self._largest[kind] = max(self._largest[kind], float(difference))

    def codes(self, ours: torch.Tensor, theirs: np.ndarray) -> None:
        self._codes_equal &= bool((ours.numpy() == theirs).all())

    def masks(self, ours: np.ndarray, theirs: np.ndarray, near_half: np.ndarray) -> None:
        off = (ours != theirs).sum(axis=(1, 2))
        self._masks += len(off)
        self._largest['pixels'] = max(self._largest['pixels'], float(off.max()))
        self._within_rounding &= bool((off <= near_half).all())

    def index(self, ours: torch.Tensor, theirs: np.ndarray) -> None:
        self._index_equal &= bool((ours.numpy() == theirs).all())

    def report(self, inventory_equal: bool, weights_equal: bool) -> ParityReport:
        largest = self._largest
        return ParityReport(largest['features'], largest['embedding'], largest['logits'],
                            largest['score'], self._codes_equal, self._index_equal,
                            int(largest['pixels']), self._within_rounding, self._masks,
                            inventory_equal, weights_equal)


def _compare_image(network: MaskTokenizerNetwork, image: Mapping[str, np.ndarray],
                   comparison: _Comparison) -> None:
    height, width, key = (int(value) for value in image['hwk'])
    size = ImageSize(height, width)
    rgb = synthetic_image(height, width, key)
    square = resize_to_square(rgb, network.config.image_size)
    for pixels, name in ((rgb, 'sha256_rgb'), (square, 'sha256_resized')):
        if hashlib.sha256(pixels.tobytes()).hexdigest() != str(image[name]):
            raise CheckpointError(f'input image differs from the recorded one ({name})',
                                  fix='use a Pillow version that resizes like the recorded one')
    maps = network.sam.embed_image(
        torch.tensor(square).permute(2, 0, 1).unsqueeze(0).float())
    comparison.differ('features', maps.high_res_0[0, 3::8, 5::32, 9::32], image['feat_s0'])
    comparison.differ('features', maps.high_res_1[0, 3::16, 5::16, 9::16], image['feat_s1'])
    coarse = maps.embedding - network.sam.no_mem_embed.permute(0, 2, 1).unsqueeze(-1)
    comparison.differ('features', coarse[0, 3::16, 5::8, 3::8], image['feat_top'])

    masks = _unpack(image['masks_packed'], size)
    embeddings = network.sam.embed_masks(
        _repeated(maps, len(masks)),
        masks_to_prompts(torch.as_tensor(masks), network.config.low_res_size),
        torch.as_tensor(boxes_to_unit(masks_to_boxes(masks), size)))
    codes = network.quantizer.embeddings_to_codes(embeddings)
    comparison.differ('embedding', embeddings, image['embed'])
    comparison.codes(codes, image['codes'])
    # The published code decodes a missing second code, -1, as entry 0; so do the vectors.
    given = torch.as_tensor(image['given_codes']).clamp(min=0)
    for name, rows in (('rec', codes), ('giv', given),
                       ('row', torch.tensor([[int(image['row'])]]))):
        quantised = network.quantizer.codes_to_embeddings(rows)
        candidates = network.sam.decode_embeddings(_repeated(maps, len(rows)), quantised)
        _compare_masks(candidates, name, image, size, network.config.logit_threshold, comparison)


def _compare_masks(candidates: MaskCandidates, name: str, image: Mapping[str, np.ndarray],
                   size: ImageSize, threshold: float, comparison: _Comparison) -> None:
    logits, _ = candidates.best()
    comparison.differ('logits', logits[:, 0, 1::4, 2::4], image[f'{name}_logits_sub'])
    comparison.differ('score', candidates.scores, image[f'{name}_iou'])
    comparison.index(candidates.scores.argmax(dim=1), image[f'{name}_index'])
    comparison.masks(logits_to_masks(logits, size, threshold).numpy(),
                     _unpack(image[f'{name}_mask_packed'], size), image[f'{name}_near_half'])


def _repeated(maps: FeatureMaps, count: int) -> FeatureMaps:
    return maps.for_regions(torch.zeros(count, dtype=torch.int64))


def _unpack(packed: np.ndarray, size: ImageSize) -> np.ndarray:
    count = size.height * size.width
    return np.unpackbits(packed, axis=1, count=count).reshape(-1, size.height, size.width) != 0
