# SPDX-License-Identifier: Apache-2.0
"""Weights of the mask tokenizer on disk: reading, checking, writing, naming them by content."""

import functools
import hashlib
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from samtok_ros.errors import CheckpointError
from samtok_ros.model_directory import model_name
from samtok_ros.tokenizer.config import CONFIG_FILE, MaskTokenizerConfig
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.skeleton import build_skeleton

logger = logging.getLogger(__name__)

SAFETENSORS_FILE = 'mask_tokenizer.safetensors'
PUBLISHED_FILE = 'mask_tokenizer_256x2.pth'
SAM2_FILE = 'sam2.1_hiera_large.pt'
"""Comes with published models; the published code loads it and then overwrites all of it."""

# Video memory of SAM2 that single images never touch; published files hold it.
VIDEO_PREFIXES = tuple(f'model.sam2_model.{name}' for name in (
    'memory_attention.', 'memory_encoder.', 'maskmem_tpos_enc', 'no_mem_pos_enc', 'no_obj_ptr',
    'no_obj_embed_spatial', 'obj_ptr_proj.', 'obj_ptr_tpos_proj.', 'mask_downsample.'))

_LISTED_NAMES = 8
_MEGABYTE = 1e6
_HASH_DIGITS = 16
_REFUSED_CLASS = re.compile(r'GLOBAL (\w+(?:\.\w+)+)')


def find_weights(model_dir: Path) -> Path:
    """Return the file with the mask tokenizer's weights, our layout first.

    Raises:
        CheckpointError: the directory has none.
    """
    for name in (SAFETENSORS_FILE, PUBLISHED_FILE):
        if (model_dir / name).is_file():
            if (model_dir / SAM2_FILE).is_file():
                logger.info('%s is not needed: %s holds all of SAM2', SAM2_FILE, name)
            return model_dir / name
    found = f'{model_dir} without them'
    if (model_dir / SAM2_FILE).is_file():
        found += f'; {SAM2_FILE} there has no mask encoder and no codebooks'
    raise CheckpointError('model directory has no mask tokenizer',
                          expected=f'{SAFETENSORS_FILE} or {PUBLISHED_FILE}', got=found,
                          fix='copy the file there, or name another model')


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Map a weights file into memory as a flat mapping of names to tensors.

    Nothing is copied: pages are read when a tensor is used, and the file must stay as it is while
    tensors of it are in use (replace it by renaming another one over it, never by writing into it).
    Files saved during tokenizer training are accepted too: entries under `state_dict` and the
    prefix `hf_model.` are unwrapped. Pickled files are read in weights-only mode.

    Raises:
        CheckpointError: the file is damaged or holds something else than tensors.
    """
    loaded = _load_mapped(path)
    state = loaded.get('state_dict', loaded) if isinstance(loaded, Mapping) else loaded
    if not isinstance(state, Mapping) or not all(
            isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f'{path.name} holds no weights', expected='a mapping of tensors',
                              got=type(state).__name__)
    weights = {name.removeprefix('hf_model.'): value.detach() for name, value in state.items()}
    if len(weights) < len(state):
        raise CheckpointError(f'{path.name} holds weights twice', got='names with and without '
                              'the prefix hf_model.', fix='save one of the two')
    return weights


def _load_mapped(path: Path) -> object:
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        # Files older than torch 1.6 are no archives and cannot be mapped.
        return torch.load(path, map_location='cpu', weights_only=True,
                          mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        refused = _REFUSED_CLASS.search(str(error))
        if refused is None:
            raise _unreadable(path, error) from error
        raise CheckpointError(f'{path.name} holds more than weights', expected='tensors alone',
                              got=refused[1], fix='save its state dict alone, if you trust the '
                              'file: no code of a checkpoint is run here') from error
    except (SafetensorError, RuntimeError, OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    lines = str(error).splitlines() or [type(error).__name__]
    return CheckpointError(f'{path.name} cannot be read', got=lines[0],
                           fix='fetch or copy the file again')


def check_weights(
    weights: Mapping[str, torch.Tensor], network: MaskTokenizerNetwork, source: str,
) -> None:
    """Compare names and shapes with the network's.

    Where there are too many differences for one message, the log has them all.

    Raises:
        CheckpointError: names every kind of difference: missing, extra, misshapen.
    """
    expected = network.state_dict()
    misshapen = [_misfit(name, weights[name], expected[name])
                 for name in sorted(expected.keys() & weights.keys())]
    groups = {'missing': sorted(expected.keys() - weights.keys()),
              'extra': sorted(weights.keys() - expected.keys()),
              'misshapen': [text for text in misshapen if text]}
    parts = [f'{len(names)} {kind} ({_listed(kind, names)})'
             for kind, names in groups.items() if names]
    if parts:
        raise CheckpointError(f'{source} does not fit the mask tokenizer', got='; '.join(parts),
                              fix=f'check that {CONFIG_FILE} belongs to these weights')


def _misfit(name: str, found: torch.Tensor, expected: torch.Tensor) -> str:
    if found.shape != expected.shape:
        return f'{name} {tuple(found.shape)} instead of {tuple(expected.shape)}'
    if not found.is_floating_point():
        return f'{name} {found.dtype} instead of floating point'
    return ''


def _listed(kind: str, names: list[str]) -> str:
    if len(names) <= _LISTED_NAMES:
        return ', '.join(names)
    logger.error('%d %s: %s', len(names), kind, ', '.join(names))
    return f'{", ".join(names[:_LISTED_NAMES])}, ...'


def load_network(model_dir: Path, video_memory: bool = False) -> MaskTokenizerNetwork:
    """Build the network of a model directory around its mapped weights, float32, in eval mode.

    Weights that are stored in another number format are copied into memory.

    Args:
        model_dir: with weights in either layout.
        video_memory: keep SAM2's video memory too; the file must have it.
    Raises:
        CheckpointError: files are missing, damaged or do not fit.
    """
    path = find_weights(model_dir)
    network = build_skeleton(MaskTokenizerConfig.load(model_dir), video_memory)
    weights = read_weights(path)
    if not video_memory:
        weights = _without_video_memory(weights)
    check_weights(weights, network, path.name)
    # Where numbers must be widened, all are copied: one mapped tensor keeps the whole file mapped.
    copy = any(value.dtype != torch.float32 for value in weights.values())
    network.load_state_dict({name: value.to(torch.float32, copy=copy)
                             for name, value in weights.items()}, assign=True)
    return network.requires_grad_(False)


def _without_video_memory(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    kept = {name: value for name, value in weights.items() if not is_video_memory(name)}
    if len(kept) < len(weights):
        left_out = sum(value.nbytes for name, value in weights.items() if name not in kept)
        logger.info('left out the video memory: %d tensors, %.1f MB', len(weights) - len(kept),
                    left_out / _MEGABYTE)
    return kept


def is_video_memory(name: str) -> bool:
    """Say whether a tensor belongs to SAM2's video memory, which single images do not need."""
    return name.startswith(VIDEO_PREFIXES)


def has_video_memory(model_dir: Path) -> bool:
    """Say whether a model directory holds SAM2's video memory.

    Raises:
        CheckpointError: files are missing or damaged.
    """
    return any(map(is_video_memory, read_weights(find_weights(model_dir))))


def save_network(
    network: MaskTokenizerNetwork, model_dir: Path, dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights and sizes of a network into a model directory, in our layout."""
    model_dir.mkdir(parents=True, exist_ok=True)
    write_safetensors({name: value.detach().to('cpu', dtype).contiguous()
                       for name, value in network.state_dict().items()},
                      model_dir / SAFETENSORS_FILE)
    (model_dir / CONFIG_FILE).write_text(network.config.to_json(), encoding='utf-8')


def write_safetensors(weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write weights beside their place, then move them there.

    Whoever has mapped the file that was there keeps the old weights instead of crashing.
    """
    draft = path.with_name(f'.{path.name}')
    draft.touch()
    mode = draft.stat().st_mode
    save_file(dict(weights), draft, metadata={'format': 'pt'})
    draft.chmod(mode)  # safetensors gives its files to their owner alone
    os.replace(draft, path)


def content_hash(path: Path) -> str:
    """Return the first 16 hexadecimal digits of a file's SHA-256."""
    with path.open('rb') as stream:
        return hashlib.file_digest(stream, 'sha256').hexdigest()[:_HASH_DIGITS]


def weights_hash(path: Path) -> str:
    """Return 16 hexadecimal digits that name the weights in a file, whatever its layout.

    Video memory does not count. A file is read once per process, as long as its size and its time
    of change stay the same.

    Raises:
        CheckpointError: the file is damaged.
    """
    found = path.stat()
    return _weights_hash(path.resolve(), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _weights_hash(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(read_weights(path).items()):
        if not is_video_memory(name):
            digest.update(f'{name} {value.dtype} {tuple(value.shape)};'.encode())
            digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:_HASH_DIGITS]


def tokenizer_id(model_dir: Path) -> str:
    """Return name and hash of a directory's mask tokenizer; codes of another one mean nothing.

    Raises:
        CheckpointError: the directory has no mask tokenizer, or a damaged one.
    """
    return f'{model_name(model_dir)}@{weights_hash(find_weights(model_dir))}'
