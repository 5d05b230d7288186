# SPDX-License-Identifier: Apache-2.0
"""Copies a model directory with its mask tokenizer in the other layout, and back, bit for bit."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from samtok_ros.hub.manifest import MANIFEST_FILE, FileRecord, Manifest, sha256_of
from samtok_ros.new_folder import new_folder
from samtok_ros.tokenizer.checkpoint import (
    PUBLISHED_FILE,
    SAFETENSORS_FILE,
    SAM2_FILE,
    check_weights,
    find_weights,
    is_video_memory,
    read_weights,
    write_safetensors,
)
from samtok_ros.tokenizer.config import CONFIG_FILE, MaskTokenizerConfig
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.skeleton import build_skeleton

FILE_OF_LAYOUT = {'samtok': SAFETENSORS_FILE, 'published': PUBLISHED_FILE}

_REPLACED = (SAFETENSORS_FILE, PUBLISHED_FILE, SAM2_FILE, CONFIG_FILE, MANIFEST_FILE)
_QUANTIZER = 'quantizer.'


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        weights: the new file of the mask tokenizer.
        tensors: how many it holds.
        video_tensors: how many of them are SAM2's video memory; the published code needs all.
        linked: names of files that are hard links to those of the source, which needs no space.
        copied: names of the files that were copied.
    """

    weights: Path
    tensors: int
    video_tensors: int
    linked: tuple[str, ...]
    copied: tuple[str, ...]


def convert_model(
    model_dir: Path, out_dir: Path, layout: str = 'samtok', dtype: torch.dtype | None = None,
) -> Conversion:
    """Write a copy of a model directory whose mask tokenizer is in the layout that is asked for.

    Every tensor is kept as it is, video memory included. The other files are copied, the large
    weights of the vision-language model linked where the file system can do that. SAM2's own
    weights are left out: nothing needs them.

    Args:
        model_dir: in either layout.
        out_dir: the new folder; must not exist or be empty. It appears when all of it is written.
        layout: 'samtok' (safetensors) or 'published' (a pickled state dict).
        dtype: of the stored numbers; as they are when left out. Codebooks always stay as they are.
    Raises:
        CheckpointError: weights are missing or damaged; every tensor that does not fit is named.
        ConfigError: there is something at out_dir.
    """
    source = find_weights(model_dir)
    config = MaskTokenizerConfig.load(model_dir)
    weights = read_weights(source)
    video_tensors = sum(map(is_video_memory, weights))
    network = build_skeleton(config, video_memory=video_tensors > 0)
    check_weights(weights, network, source.name)
    with new_folder(out_dir) as part:
        written = part / FILE_OF_LAYOUT[layout]
        _write(_ready(weights, network, dtype), written)
        if layout == 'samtok' or config != MaskTokenizerConfig():
            (part / CONFIG_FILE).write_text(config.to_json(), encoding='utf-8')
        linked, copied = _bring_the_rest(model_dir, part)
        _bring_manifest(model_dir, part)
    return Conversion(out_dir / written.name, len(weights), video_tensors, linked, copied)


def _ready(
    weights: Mapping[str, torch.Tensor], network: MaskTokenizerNetwork, dtype: torch.dtype | None,
) -> dict[str, torch.Tensor]:
    """Return the tensors in the order of the network, each alone in its storage."""
    ready = {}
    for name in network.state_dict():
        value = weights[name]
        if dtype is not None and not name.startswith(_QUANTIZER):
            value = value.to(dtype)
        # A pickle would hold all of a storage for a tensor that is a part of it.
        alone = value.is_contiguous() and value.untyped_storage().nbytes() == value.nbytes
        ready[name] = value if alone else value.clone(memory_format=torch.contiguous_format)
    return ready


def _write(weights: dict[str, torch.Tensor], path: Path) -> None:
    if path.name == SAFETENSORS_FILE:
        write_safetensors(weights, path)
    else:
        torch.save(weights, path)


def _bring_the_rest(model_dir: Path, out_dir: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Link weights and copy the other files; return the names of both."""
    linked, copied = [], []
    for path in sorted(model_dir.iterdir()):
        if not path.is_file() or path.name in _REPLACED or path.name.startswith('.'):
            continue
        if path.suffix == '.safetensors' and _link(path, out_dir / path.name):
            linked.append(path.name)
        else:
            shutil.copyfile(path, out_dir / path.name)
            copied.append(path.name)
    return tuple(linked), tuple(copied)


def _link(path: Path, target: Path) -> bool:
    try:
        os.link(path.resolve(), target)  # files of the hub cache are symbolic links
    except OSError:
        return False
    return True


def _bring_manifest(model_dir: Path, out_dir: Path) -> None:
    """Keep the record of where the model came from, and with it its name."""
    manifest = Manifest.read(model_dir)
    if manifest is None:
        return
    files = {name: record for name, record in manifest.files.items() if name not in _REPLACED}
    for name in _REPLACED:
        path = out_dir / name
        if path.is_file():
            files[name] = FileRecord(path.stat().st_size, sha256_of(path))
    replace(manifest, files=files).write(out_dir)
