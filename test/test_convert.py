# SPDX-License-Identifier: Apache-2.0
"""`samtok convert`: both layouts, there and back."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_networks import SMALL

from samtok_ros.cli.main import main
from samtok_ros.hub.manifest import FileRecord, Manifest, damage, sha256_of
from samtok_ros.tokenizer.checkpoint import (
    PUBLISHED_FILE,
    SAFETENSORS_FILE,
    SAM2_FILE,
    tokenizer_id,
)
from samtok_ros.tokenizer.config import CONFIG_FILE, MaskTokenizerConfig
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.video_memory import add_video_memory_

ODD_NUMBERS = 'model.sam2_model.no_mem_embed'


@pytest.fixture(scope='module')
def weights():
    """Weights as published files hold them, some of them numbers that are easily lost."""
    torch.manual_seed(7)
    network = MaskTokenizerNetwork(SMALL)
    add_video_memory_(network.sam, SMALL)
    weights = {name: value.detach() for name, value in network.state_dict().items()}
    weights[ODD_NUMBERS][0, 0, :4] = torch.tensor([-0.0, 1e-42, float('nan'), float('inf')])
    weights['quantizer.codebooks.0.embed_ema'] = weights['quantizer.codebooks.0.embed_ema'].half()
    weights['quantizer.codebooks.1.embed_ema'] = torch.randn(32, 256).T
    return weights


@pytest.fixture
def published(tmp_path, weights):
    """A directory laid out as published, with the files of a language model."""
    folder = tmp_path / 'Model'
    folder.mkdir()
    torch.save(weights, folder / PUBLISHED_FILE)
    (folder / CONFIG_FILE).write_text(SMALL.to_json())
    (folder / SAM2_FILE).write_bytes(b'of no use')
    (folder / 'config.json').write_text('{"model_type": "qwen3_vl"}\n')
    (folder / 'model-00001-of-00001.safetensors').write_bytes(b'large')
    return folder


def convert(*arguments):
    return main(['convert', *map(str, arguments)])


def bits(weights):
    return {name: (value.dtype, tuple(value.shape),
                   value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
            for name, value in weights.items()}


def test_convert_when_there_and_back_keeps_every_bit(published, tmp_path, weights, capsys):
    ours, again = tmp_path / 'ours' / 'Model', tmp_path / 'again' / 'Model'
    assert convert(published, ours) == 0
    assert f'{len(weights)} tensors, 160 of them video memory' in capsys.readouterr().out
    assert bits(load_file(ours / SAFETENSORS_FILE)) == bits(weights)
    assert convert(ours, again, '--to', 'published') == 0
    back = torch.load(again / PUBLISHED_FILE, weights_only=True)
    assert type(back) is dict
    assert bits(back) == bits(weights)
    assert {value.untyped_storage().nbytes() - value.nbytes for value in back.values()} == {0}
    assert tokenizer_id(again) == tokenizer_id(ours) == tokenizer_id(published)


def test_convert_when_done_brings_the_other_files(published, tmp_path):
    ours = tmp_path / 'ours'
    assert convert(published, ours) == 0
    assert sorted(path.name for path in ours.iterdir()) == [
        'config.json', CONFIG_FILE, SAFETENSORS_FILE, 'model-00001-of-00001.safetensors']
    large = 'model-00001-of-00001.safetensors'
    assert (ours / large).samefile(published / large)
    assert not (ours / 'config.json').samefile(published / 'config.json')
    assert (ours / 'config.json').read_bytes() == (published / 'config.json').read_bytes()


def test_convert_when_loaded_gives_the_same_codes_and_masks(published, tmp_path, weights):
    finite = {name: value.nan_to_num(posinf=1.0) for name, value in weights.items()}
    torch.save(finite, published / PUBLISHED_FILE)
    assert convert(published, tmp_path / 'ours') == 0
    image_rgb = np.random.default_rng(3).integers(0, 256, (48, 80, 3), np.uint8)
    mask = np.zeros((1, 48, 80), np.bool_)
    mask[0, 8:30, 20:50] = True
    results = []
    for folder in (published, tmp_path / 'ours'):
        tokenizer = MaskTokenizer.load(folder)
        features = tokenizer.embed_image(image_rgb)
        codes = tokenizer.encode(features, mask)
        results.append((codes, tokenizer.decode(features, codes).low_res_logits))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    # Not to the last bit: where a tensor lies in its file decides how it is summed.
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)


def test_convert_when_model_was_fetched_keeps_its_name_and_a_true_record(published, tmp_path):
    files = {path.name: FileRecord(path.stat().st_size, sha256_of(path))
             for path in published.iterdir()}
    Manifest('owner/Model', 'main', 'c0ffee', files).write(published)
    ours = tmp_path / 'ours'
    assert convert(published, ours) == 0
    manifest = Manifest.read(ours)
    assert list(damage(ours, manifest)) == []
    assert SAFETENSORS_FILE in manifest.files
    assert PUBLISHED_FILE not in manifest.files
    assert tokenizer_id(ours) == tokenizer_id(published)
    assert tokenizer_id(ours).startswith('owner/Model@')


def test_convert_when_dtype_is_given_shortens_all_but_the_quantizer(published, tmp_path, weights):
    assert convert(published, tmp_path / 'half', '--dtype', 'bfloat16') == 0
    found = load_file(tmp_path / 'half' / SAFETENSORS_FILE)
    for name, value in weights.items():
        kept = name.startswith('quantizer.')
        assert found[name].dtype == (value.dtype if kept else torch.bfloat16), name


def test_convert_when_sizes_are_not_the_published_ones_writes_them_either_way(published, tmp_path):
    assert convert(published, tmp_path / 'again', '--to', 'published') == 0
    assert json.loads((tmp_path / 'again' / CONFIG_FILE).read_text())['latent_dim'] == 32
    assert MaskTokenizerConfig.load(tmp_path / 'again') == SMALL


def test_convert_when_video_memory_is_missing_says_what_that_means(
    tiny_model_dir, tmp_path, capsys
):
    assert convert(tiny_model_dir, tmp_path / 'out', '--to', 'published') == 0
    assert 'without video memory, which the published code insists on' in capsys.readouterr().out


@pytest.mark.parametrize('harm', ['video memory in part', 'misshapen', 'cut off'])
def test_convert_when_weights_are_damaged_names_it_and_leaves_nothing(
    published, tmp_path, weights, harm, capsys
):
    damaged, path = dict(weights), published / PUBLISHED_FILE
    if harm == 'video memory in part':
        del damaged['model.sam2_model.no_obj_ptr']
        named = '1 missing (model.sam2_model.no_obj_ptr)'
    elif harm == 'misshapen':
        damaged[ODD_NUMBERS] = torch.zeros(3)
        named = f'1 misshapen ({ODD_NUMBERS} (3,) instead of (1, 1, 32))'
    else:
        named = 'cannot be read'
    torch.save(damaged, path)
    if harm == 'cut off':
        path.write_bytes(path.read_bytes()[:1000])
    assert convert(published, tmp_path / 'out') == 2
    assert named in capsys.readouterr().err
    assert [folder.name for folder in tmp_path.iterdir()] == ['Model']


def test_convert_when_the_place_is_a_link_or_the_folder_we_are_in_fills_that_folder(
        published, tmp_path, monkeypatch, capsys):
    here, linked = tmp_path / 'here', tmp_path / 'linked'
    here.mkdir()
    linked.mkdir()
    (tmp_path / 'link').symlink_to(linked)
    (tmp_path / 'dangling').symlink_to(tmp_path / 'new')
    monkeypatch.chdir(here)
    for out, folder in (('.', here), ('../link', linked), ('../dangling', tmp_path / 'new')):
        before = folder.stat().st_ino if folder.exists() else None
        assert convert(published, out) == 0
        assert capsys.readouterr().out.startswith(f'{folder / SAFETENSORS_FILE}: ')
        assert before in (None, folder.stat().st_ino), 'replaced'
        assert tokenizer_id(folder) == tokenizer_id(published).replace('Model@', f'{folder.name}@')
        assert not [path for path in folder.iterdir() if path.name.startswith('.')]
    assert (tmp_path / 'link').is_symlink()


def test_convert_when_there_is_something_at_the_place_leaves_it(published, tmp_path, capsys):
    out = tmp_path / 'out'
    out.mkdir()
    (out / 'precious').write_text('mine')
    assert convert(published, out) == 2
    assert 'there is something at' in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ['precious']
    assert convert(published, published) == 2
