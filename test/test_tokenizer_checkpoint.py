# SPDX-License-Identifier: Apache-2.0
"""Weights of the mask tokenizer on disk: layouts, damage, memory, identity."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_networks import SMALL

from samtok_ros.errors import CheckpointError
from samtok_ros.tokenizer import checkpoint
from samtok_ros.tokenizer.checkpoint import (
    PUBLISHED_FILE,
    SAFETENSORS_FILE,
    SAM2_FILE,
    load_network,
    read_weights,
    save_network,
    tokenizer_id,
)
from samtok_ros.tokenizer.config import CONFIG_FILE
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.skeleton import build_skeleton
from samtok_ros.tokenizer.video_memory import add_video_memory_

EXAMPLE = 'quantizer.codebooks.0.weight'


@pytest.fixture(scope='module')
def whole():
    """Weights of a small mask tokenizer with video memory, as a published file has them."""
    torch.manual_seed(7)
    network = MaskTokenizerNetwork(SMALL)
    add_video_memory_(network.sam, SMALL)
    return {name: value.detach() for name, value in network.state_dict().items()}


@pytest.fixture(scope='module')
def image_only(whole):
    return {name: value for name, value in whole.items() if not checkpoint.is_video_memory(name)}


def publish(weights, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(weights, folder / PUBLISHED_FILE)
    (folder / CONFIG_FILE).write_text(SMALL.to_json())
    return folder


def assert_same(network, weights):
    found = network.state_dict()
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        assert torch.equal(found[name], value), name


def test_load_when_file_is_published_style_strips_prefix_and_video_memory(
    tmp_path, whole, image_only
):
    wrapped = {'state_dict': {f'hf_model.{name}': value for name, value in whole.items()},
               'step': 7}
    assert_same(load_network(publish(wrapped, tmp_path)), image_only)


def test_load_when_video_memory_is_left_out_says_what_that_saves(tmp_path, whole, caplog):
    publish(whole, tmp_path)
    (tmp_path / SAM2_FILE).write_bytes(b'not read')
    saved = sum(value.nbytes for name, value in whole.items() if checkpoint.is_video_memory(name))
    with caplog.at_level(logging.INFO):
        load_network(tmp_path)
    assert f'left out the video memory: 160 tensors, {saved / 1e6:.1f} MB' in caplog.text
    assert f'{SAM2_FILE} is not needed' in caplog.text


def test_load_when_video_memory_is_wanted_keeps_it_and_it_can_run(tmp_path, whole):
    tokenizer = MaskTokenizer.load(publish(whole, tmp_path), video_memory=True)
    assert_same(tokenizer.network, whole)
    cells = SMALL.embedding_size ** 2
    now, past = torch.zeros(cells, 1, SMALL.latent_dim), torch.zeros(cells, 1, 64)
    seen = tokenizer.network.sam.memory_attention(now, past, now, past)
    assert seen.shape == now.shape


def test_load_when_video_memory_is_wanted_but_not_there_names_it(tmp_path, image_only):
    with pytest.raises(CheckpointError, match=r'160 missing \(model.sam2_model.mask_downsample'):
        load_network(publish(image_only, tmp_path), video_memory=True)


@pytest.mark.parametrize('name', [SAFETENSORS_FILE, PUBLISHED_FILE])
def test_weights_when_loaded_stay_in_the_mapped_file(tmp_path, image_only, name):
    folder = publish(image_only, tmp_path)
    if name == SAFETENSORS_FILE:
        save_file(image_only, folder / SAFETENSORS_FILE)
    network = load_network(folder)
    mapped = [tuple(int(end, 16) for end in line.split()[0].split('-'))
              for line in Path('/proc/self/maps').read_text().splitlines()
              if line.endswith(str(folder / name))]
    for key, value in network.state_dict().items():
        assert any(start <= value.data_ptr() < end for start, end in mapped), key


def test_weights_when_the_file_is_saved_anew_stay_as_they_were_loaded(tmp_path, image_only):
    network = load_network(publish(image_only, tmp_path))
    save_network(network, tmp_path)
    loaded = load_network(tmp_path)
    other = build_skeleton(SMALL)
    other.load_state_dict({name: torch.zeros_like(value) for name, value in image_only.items()},
                          assign=True)
    save_network(other, tmp_path)
    assert_same(loaded, image_only)
    assert float(load_network(tmp_path).state_dict()[EXAMPLE].abs().max()) == 0


def test_skeleton_when_built_has_no_memory_for_weights_but_for_its_tables():
    network = build_skeleton(SMALL, video_memory=True)
    for name, value in network.named_parameters():
        assert value.is_meta or value.ndim == 1, name
    assert not network.sam.pixel_mean.is_meta
    for module in network.modules():
        table = getattr(module, 'freqs_cis', None)
        assert table is None or not table.is_meta


def test_load_when_entries_differ_names_each(tmp_path, image_only):
    weights = dict(image_only)
    del weights[EXAMPLE]
    weights['extra.weight'] = torch.zeros(2)
    weights['quantizer.codebooks.1.weight'] = torch.zeros(5, 32)
    weights['quantizer.codebooks.1.embed_ema'] = torch.zeros(256, 32, dtype=torch.int8)
    with pytest.raises(CheckpointError) as caught:
        load_network(publish(weights, tmp_path))
    for part in (f'1 missing ({EXAMPLE})', '1 extra (extra.weight)',
                 'quantizer.codebooks.1.weight (5, 32) instead of (257, 32)',
                 'quantizer.codebooks.1.embed_ema torch.int8 instead of floating point'):
        assert part in str(caught.value)


def test_load_when_many_entries_are_missing_logs_every_name(tmp_path, image_only, caplog):
    weights = {name: value for name, value in image_only.items()
               if 'sam_mask_encoder' not in name}
    with pytest.raises(CheckpointError, match='83 missing'):
        load_network(publish(weights, tmp_path))
    gone = image_only.keys() - weights.keys()
    assert len(gone) == 83
    assert all(name in caplog.text for name in gone)


@pytest.mark.parametrize('name', [SAFETENSORS_FILE, PUBLISHED_FILE])
def test_load_when_file_is_cut_off_says_so(tmp_path, image_only, name):
    folder = publish(image_only, tmp_path)
    if name == SAFETENSORS_FILE:
        save_file(image_only, folder / SAFETENSORS_FILE)
    path = folder / name
    for length in (7, path.stat().st_size // 2):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(CheckpointError, match='cannot be read'):
            load_network(folder)


@pytest.mark.parametrize(('model', 'expected'), [
    ({}, ('mask_tokenizer.safetensors or mask_tokenizer_256x2.pth',)),
    ({SAM2_FILE: b''}, (SAM2_FILE, 'no mask encoder and no codebooks')),
])
def test_load_when_there_is_no_mask_tokenizer_names_the_files(tmp_path, model, expected):
    for name, content in model.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_network(tmp_path)
    for part in expected:
        assert part in str(caught.value)


def test_load_when_pickle_holds_code_refuses_it_and_names_it(tmp_path):
    publish({'weights': torch.nn.Linear(2, 2)}, tmp_path)
    with pytest.raises(CheckpointError, match='torch.nn.modules.linear.Linear'):
        load_network(tmp_path)


@pytest.mark.parametrize('content', [{'a': 1}, [1, 2], {'state_dict': 3}])
def test_load_when_pickle_holds_no_tensors_says_so(tmp_path, content):
    with pytest.raises(CheckpointError, match='holds no weights'):
        load_network(publish(content, tmp_path))


def test_load_when_names_come_with_and_without_prefix_is_refused(tmp_path):
    publish({'a': torch.zeros(1), 'hf_model.a': torch.ones(1)}, tmp_path)
    with pytest.raises(CheckpointError, match='twice'):
        load_network(tmp_path)


def test_load_when_file_is_of_an_old_torch_is_read_too(tmp_path, image_only):
    folder = publish(image_only, tmp_path)
    torch.save(image_only, folder / PUBLISHED_FILE, _use_new_zipfile_serialization=False)
    assert_same(load_network(folder), image_only)


def test_load_when_numbers_are_of_half_length_makes_them_float32(tmp_path, image_only):
    half = {name: value.bfloat16() for name, value in image_only.items()}
    network = load_network(publish(half, tmp_path))
    assert_same(network, {name: value.float() for name, value in half.items()})
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_tokenizer_id_when_layout_or_video_memory_differ_is_the_same(
    tmp_path, whole, image_only, monkeypatch
):
    published = publish(whole, tmp_path / 'one')
    ours = tmp_path / 'two' / 'one'
    ours.mkdir(parents=True)
    save_file(image_only, ours / SAFETENSORS_FILE)
    expected = tokenizer_id(published)
    assert tokenizer_id(ours) == expected
    save_file({**image_only, EXAMPLE: image_only[EXAMPLE] + 1e-6}, ours / SAFETENSORS_FILE)
    assert tokenizer_id(ours) != expected

    def read_again(path):
        raise AssertionError(f'{path} is read twice')

    monkeypatch.setattr(checkpoint, 'read_weights', read_again)
    assert tokenizer_id(published) == expected


def test_weights_when_read_need_no_gradient(tmp_path, image_only):
    publish({name: torch.nn.Parameter(value) for name, value in image_only.items()}, tmp_path)
    assert not any(value.requires_grad
                   for value in read_weights(tmp_path / PUBLISHED_FILE).values())
