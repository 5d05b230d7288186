# SPDX-License-Identifier: Apache-2.0
"""The directory of the small model: loads through the common classes, right sizes, same twice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samtok_ros.errors import ConfigError
from samtok_ros.language.tiny_vlm import (
    TinyVlmConfig,
    build_tiny_vlm,
    model_config_for,
    processor_for,
)


@pytest.mark.parametrize('size_hw', [(480, 640), (240, 320)])
def test_processor_when_camera_image_then_seventy_visual_tokens(tiny_vlm_dir, size_hw):
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(tiny_vlm_dir, local_files_only=True)
    image = np.zeros((*size_hw, 3), np.uint8)
    turn = [{'role': 'user', 'content': [{'type': 'image', 'image': image},
                                         {'type': 'text', 'text': 'What is this?'}]}]
    inputs = processor.apply_chat_template(turn, tokenize=True, add_generation_prompt=True,
                                           return_dict=True, return_tensors='pt')
    assert inputs['image_grid_thw'].tolist() == [[1, 14, 20]]  # 224 x 320 pixels in patches of 16
    assert inputs['pixel_values'].shape == (280, 3 * 16 * 16)
    text = processor.tokenizer.decode(inputs['input_ids'][0])
    assert text == ('<|im_start|>user\n<|vision_start|>' + 70 * '<|image_pad|>'
                    + '<|vision_end|>What is this?<|im_end|>\n<|im_start|>assistant\n')


def test_auto_class_when_loaded_then_generates(tiny_vlm_dir, processor, image_rgb):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(tiny_vlm_dir, local_files_only=True)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    turn = [{'role': 'user', 'content': [{'type': 'image', 'image': image_rgb},
                                         {'type': 'text', 'text': 'Hello'}]}]
    inputs = processor.apply_chat_template(turn, tokenize=True, add_generation_prompt=True,
                                           return_dict=True, return_tensors='pt')
    ids = model.generate(**inputs, max_new_tokens=3)
    assert inputs['input_ids'].shape[1] < ids.shape[1] <= inputs['input_ids'].shape[1] + 3


def test_build_when_repeated_then_same_files_and_callers_randomness_kept(
    tmp_path, tiny_vlm_dir, tiny_texts, tiny_sizes
):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    build_tiny_vlm(tmp_path, tiny_texts, tiny_sizes, seed=0)
    assert torch.equal(state, torch.get_rng_state())
    names = ['config.json', 'model.safetensors', 'processor_config.json', 'tokenizer.json']
    assert [(tmp_path / n).read_bytes() == (tiny_vlm_dir / n).read_bytes() for n in names] == [
        True] * 4


def test_config_when_tabletop_then_the_sizes_of_the_shipped_model(text_tokenizer):
    config = model_config_for(TinyVlmConfig(), text_tokenizer)
    assert config.text_config.vocab_size == len(text_tokenizer)
    assert config.text_config.rope_parameters['mrope_section'] == [8, 8, 8]
    assert config.text_config.head_dim == 48
    assert config.vision_config.num_position_embeddings == 256
    assert list(config.vision_config.deepstack_visual_indexes) == []
    assert config.image_token_id == text_tokenizer.convert_tokens_to_ids('<|image_pad|>')


def test_processor_when_pixel_limits_change_then_fewer_visual_tokens(text_tokenizer):
    small = replace(TinyVlmConfig(), min_pixels=1024, max_pixels=20000)
    processor = processor_for(small, text_tokenizer)
    grid = processor.image_processor([np.zeros((480, 640, 3), np.uint8)])['image_grid_thw']
    assert int(grid.prod()) * 16 * 16 <= 20000


@pytest.mark.parametrize('change', [{'vision_hidden': 150}, {'head_dim': 40}])
def test_config_when_heads_do_not_fit_then_config_error(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(TinyVlmConfig(), **change)
