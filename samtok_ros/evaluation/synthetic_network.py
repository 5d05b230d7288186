# SPDX-License-Identifier: Apache-2.0
"""Mask tokenizers whose every tensor follows from its name, and pictures that follow from a key.

So the same network can be built anywhere and compared by numbers, without anyone's weights.
"""

import math
import re
import zlib

import numpy as np
import torch

from samtok_ros.errors import CheckpointError
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.skeleton import build_skeleton

HIERA_LARGE = MaskTokenizerConfig()
HIERA_TINY = MaskTokenizerConfig(
    trunk_embed_dim=96, trunk_num_heads=1, trunk_stages=(1, 2, 7, 2),
    trunk_global_att_blocks=(5, 7, 9), trunk_window_spec=(8, 4, 14, 7))
_TRUNKS = {config.trunk_embed_dim: config for config in (HIERA_LARGE, HIERA_TINY)}

_SMALL = re.compile(r'point_embeddings|not_a_point|tokens?\.weight|no_mask_embed|no_mem_embed')
_LATER_LAYERS = ('layers.1.weight', 'layers.2.weight')


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
    """Build the published network that an inventory lists, with video memory, without weights.

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
    network = build_skeleton(_TRUNKS[position[1]], video_memory=True)
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    return network, found == shapes


def fill_synthetic_(network: MaskTokenizerNetwork, inventory: list[dict],
                    checksums: np.ndarray) -> bool:
    """Fill a network by name; return whether every tensor has its recorded checksum."""
    weights, equal = {}, True
    for entry, checksum in zip(inventory, checksums, strict=True):
        values = synthetic_weight(entry['name'], tuple(entry['shape']))
        equal &= zlib.crc32(values.astype('<f4').tobytes()) == int(checksum)
        weights[entry['name']] = torch.from_numpy(values)
    network.load_state_dict(weights, assign=True)
    network.requires_grad_(False)
    return equal
