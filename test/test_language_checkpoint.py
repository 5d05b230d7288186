# SPDX-License-Identifier: Apache-2.0
"""Damaged model directories: each error names the file or tensor."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from samtok_ros.errors import CheckpointError
from samtok_ros.language.checkpoint import load_model, load_processor
from samtok_ros.language.families import check_model_type


@pytest.fixture
def model_dir(tiny_vlm_dir, tmp_path):
    return shutil.copytree(tiny_vlm_dir, tmp_path / 'copy')


def change_weights(model_dir, change):
    path = model_dir / 'model.safetensors'
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={'format': 'pt'})


def test_load_model_when_directory_is_sound_then_in_eval_mode_on_the_cpu(model_dir):
    model = load_model(model_dir, torch.bfloat16)
    assert not model.training
    assert {(p.dtype, p.device.type) for p in model.parameters()} == {(torch.bfloat16, 'cpu')}


@pytest.mark.parametrize('is_equal', [True, False])
def test_load_model_when_a_tied_head_is_in_the_weights_too_then_said_if_it_is_another_one(
        model_dir, caplog, is_equal):
    def add_head(weights):
        name, = (name for name in weights if name.endswith('embed_tokens.weight'))
        weights['lm_head.weight'] = weights[name].clone() if is_equal else weights[name] + 1

    assert json.loads((model_dir / 'config.json').read_text())['tie_word_embeddings']
    change_weights(model_dir, add_head)
    load_model(model_dir, torch.float32)
    told = [one.getMessage() for one in caplog.records if one.name.startswith('samtok_ros')]
    assert ['the weights hold another head' in text for text in told] == [True] * (not is_equal)


def test_load_model_when_directory_is_missing_then_its_path(tmp_path):
    with pytest.raises(CheckpointError, match='directory does not exist.*nowhere'):
        load_model(tmp_path / 'nowhere', torch.float32)


@pytest.mark.parametrize(('name', 'message'), [
    ('config.json', 'lacks a file: expected config.json'),
    ('model.safetensors', 'expected model.safetensors or model.safetensors.index.json'),
    ('tokenizer.json', 'expected tokenizer.json or vocab.json'),
    ('processor_config.json', 'expected processor_config.json or preprocessor_config.json'),
])
def test_load_when_file_is_missing_then_named(model_dir, name, message):
    (model_dir / name).unlink()
    for load in (lambda: load_model(model_dir, torch.float32), lambda: load_processor(model_dir)):
        with pytest.raises(CheckpointError, match=message):
            load()


def test_load_processor_when_chat_template_is_missing_then_named(model_dir):
    (model_dir / 'chat_template.jinja').unlink()
    with pytest.raises(CheckpointError, match='no chat template.*chat_template.jinja'):
        load_processor(model_dir)


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'{"model_type": "none such"}'])
def test_load_model_when_config_is_damaged_then_checkpoint_error(model_dir, content):
    (model_dir / 'config.json').write_bytes(content)
    with pytest.raises(CheckpointError, match='cannot be loaded'):
        load_model(model_dir, torch.float32)


def test_load_processor_when_tokenizer_is_damaged_then_checkpoint_error(model_dir):
    (model_dir / 'tokenizer.json').write_text('{}')
    with pytest.raises(CheckpointError, match='processor in .* cannot be loaded'):
        load_processor(model_dir)


def test_load_model_when_weights_are_cut_short_then_file_named(model_dir):
    path = model_dir / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match='model.safetensors is damaged'):
        load_model(model_dir, torch.float32)


def test_load_model_when_tensors_differ_then_every_one_is_named(model_dir):
    def change(weights):
        del weights['model.language_model.norm.weight']
        weights['model.visual.surplus'] = torch.zeros(2)
        weights['model.visual.pos_embed.weight'] = torch.zeros(9, 32)
        weights['model.language_model.layers.1.mlp.up_proj.weight'] = torch.zeros(1, 48)

    change_weights(model_dir, change)
    with pytest.raises(CheckpointError) as caught:
        load_model(model_dir, torch.float32)
    text = str(caught.value)
    assert '1 missing (model.language_model.norm.weight)' in text
    assert '1 extra (model.visual.surplus)' in text
    assert '2 misshapen' in text
    assert 'model.visual.pos_embed.weight (9, 32) instead of (64, 32)' in text
    assert 'layers.1.mlp.up_proj.weight (1, 48) instead of (96, 48)' in text


def test_load_model_when_a_shard_is_missing_then_checkpoint_error(model_dir):
    weights = model_dir / 'model.safetensors'
    names = list(load_file(weights))
    weights.unlink()
    index = {'metadata': {}, 'weight_map': dict.fromkeys(names, 'model-00001-of-00001.safetensors')}
    (model_dir / 'model.safetensors.index.json').write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match='model-00001-of-00001.safetensors'):
        load_model(model_dir, torch.float32)


def test_load_model_when_a_package_is_missing_then_named(model_dir, monkeypatch):
    def load(*args, **more):
        raise ImportError('\nTimmWrapperConfig requires the timm library\nbut it is not there.')

    monkeypatch.setattr(AutoModelForImageTextToText, 'from_pretrained', load)
    with pytest.raises(CheckpointError, match='model in .* needs a package that is not installed: '
                       'got TimmWrapperConfig requires the timm library but it is not there'):
        load_model(model_dir, torch.float32)


def test_load_model_when_family_is_unknown_then_those_that_work(model_dir):
    model = load_model(model_dir, torch.float32)
    with pytest.raises(CheckpointError, match="cannot run that kind of model: expected model_type "
                       "qwen3_vl, qwen2_5_vl, perception_lm, got 'qwen9'"):
        check_model_type('qwen9')
    check_model_type(model.config.model_type)


def test_load_model_when_other_architecture_then_checkpoint_error(tmp_path):
    from transformers import CLIPConfig

    CLIPConfig().save_pretrained(tmp_path)
    for name in ('tokenizer.json', 'processor_config.json'):
        (tmp_path / name).write_text('{}')
    save_file({'x': torch.zeros(1)}, tmp_path / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(CheckpointError, match='cannot be loaded'):
        load_model(tmp_path, torch.float32)
