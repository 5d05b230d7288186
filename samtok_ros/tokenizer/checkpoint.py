# SPDX-License-Identifier: Apache-2.0
"""Weights of the mask tokenizer on disk: reading, checking, writing, naming them by content."""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from samtok_ros.errors import CheckpointError
from samtok_ros.model_directory import model_name
from samtok_ros.tokenizer.config import CONFIG_FILE, MaskTokenizerConfig
from samtok_ros.tokenizer.network import MaskTokenizerNetwork

SAFETENSORS_FILE = 'mask_tokenizer.safetensors'
PUBLISHED_FILE = 'mask_tokenizer_256x2.pth'

# Video memory of SAM2 that single images never touch; published files hold it.
VIDEO_PREFIXES = tuple(f'model.sam2_model.{name}' for name in (
    'memory_attention.', 'memory_encoder.', 'maskmem_tpos_enc', 'no_mem_pos_enc', 'no_obj_ptr',
    'no_obj_embed_spatial', 'obj_ptr_proj.', 'obj_ptr_tpos_proj.', 'mask_downsample.'))

_LISTED_NAMES = 8


def find_weights(model_dir: Path) -> Path:
    """Return the file with the mask tokenizer's weights, our layout first.

    Raises:
        CheckpointError: the directory has none.
    """
    for name in (SAFETENSORS_FILE, PUBLISHED_FILE):
        if (model_dir / name).is_file():
            return model_dir / name
    raise CheckpointError('model directory has no mask tokenizer',
                          expected=f'{SAFETENSORS_FILE} or {PUBLISHED_FILE}',
                          got=f'{model_dir} without them',
                          fix='copy the file there, or name another model')


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a weights file as a flat mapping of names to tensors.

    Files saved during tokenizer training are accepted too: entries under `state_dict` and the
    prefix `hf_model.` are unwrapped. Pickled files are read in weights-only mode.

    Raises:
        CheckpointError: the file is damaged or holds something else than tensors.
    """
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        loaded = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, ValueError,
            EOFError) as error:
        raise CheckpointError(f'{path.name} cannot be read', got=str(error).splitlines()[0],
                              fix='fetch or copy the file again') from error
    state = loaded.get('state_dict', loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(
            isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f'{path.name} holds no weights', expected='a mapping of tensors',
                              got=type(state).__name__)
    return {name.removeprefix('hf_model.'): value for name, value in state.items()}


def check_weights(
    weights: Mapping[str, torch.Tensor], network: MaskTokenizerNetwork, source: str,
) -> None:
    """Compare names and shapes with the network's.

    Raises:
        CheckpointError: names every kind of difference: missing, extra, misshapen.
    """
    expected = network.state_dict()
    missing = sorted(expected.keys() - weights.keys())
    extra = sorted(weights.keys() - expected.keys())
    misshapen = [f'{name} {tuple(weights[name].shape)} instead of {tuple(expected[name].shape)}'
                 for name in sorted(expected.keys() & weights.keys())
                 if weights[name].shape != expected[name].shape]
    parts = [f'{len(names)} {kind} ({_listed(names)})' for kind, names in
             (('missing', missing), ('extra', extra), ('misshapen', misshapen)) if names]
    if parts:
        raise CheckpointError(f'{source} does not fit the mask tokenizer', got='; '.join(parts),
                              fix=f'check that {CONFIG_FILE} belongs to these weights')


def load_network(model_dir: Path) -> MaskTokenizerNetwork:
    """Build the network of a model directory and fill it, in float32 and eval mode.

    Raises:
        CheckpointError: files are missing, damaged or do not fit.
    """
    path = find_weights(model_dir)
    network = MaskTokenizerNetwork(MaskTokenizerConfig.load(model_dir))
    weights = {name: value for name, value in read_weights(path).items()
               if not name.startswith(VIDEO_PREFIXES)}
    check_weights(weights, network, path.name)
    network.load_state_dict(weights)
    return network.float().eval().requires_grad_(False)


def save_network(
    network: MaskTokenizerNetwork, model_dir: Path, dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and sizes of a network into a model directory, in our layout."""
    model_dir.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().to('cpu', dtype).contiguous()
               for name, value in network.state_dict().items()}
    save_file(weights, model_dir / SAFETENSORS_FILE, metadata={'format': 'pt'})
    (model_dir / CONFIG_FILE).write_text(network.config.to_json(), encoding='utf-8')


def content_hash(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()[:16]


def tokenizer_id(model_dir: Path) -> str:
    """Return name and content hash of a directory's mask tokenizer; codes of another mean nothing.

    Raises:
        CheckpointError: the directory has no mask tokenizer.
    """
    return f'{model_name(model_dir)}@{content_hash(find_weights(model_dir))}'


def _listed(names: list[str]) -> str:
    shown = ', '.join(names[:_LISTED_NAMES])
    return shown if len(names) <= _LISTED_NAMES else f'{shown}, ...'
