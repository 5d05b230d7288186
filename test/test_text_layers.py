# SPDX-License-Identifier: Apache-2.0
"""Text is read with fewer operations, with the numbers of transformers."""

import pytest
import torch
from tiny_checkpoints import LAYOUTS, write_checkpoint
from torch.multiprocessing.reductions import StorageWeakRef

from samtok_ros.language.checkpoint import load_model
from samtok_ros.language.generation import GenerationLimits
from samtok_ros.language.reading import Reading
from samtok_ros.language.text_layers import text_layers_for
from samtok_ros.language.vlm import VisionLanguageModel

GOAL = 'Please segment the red mug in this image.'
TEXTS = ([5], [6, 7], [8, 9, 10, 11, 12, 13, 14])


@pytest.fixture(scope='module', params=LAYOUTS)
def model_dir(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp('models') / 'model'
    return write_checkpoint(directory, request.param, tied=False)


def read_texts(vlm, image, layers):
    """Return the scores behind an image with a goal, and behind each of several texts."""
    reading = Reading(vlm._model, vlm._family, vlm._prompts.image_at, layers)
    with torch.inference_mode():
        inputs = vlm._family.look(image)
        scores = [reading.read_prompt(vlm._prompts.build((GOAL,), inputs.visual_tokens), inputs)]
        return [*scores, *(reading.read(text) for text in TEXTS)]


@pytest.mark.parametrize(('dtype', 'tolerance'), [('float32', 1e-5), ('bfloat16', 0.02)])
def test_read_when_text_follows_an_image_then_the_scores_of_transformers(
        model_dir, image_rgb, dtype, tolerance):
    vlm = VisionLanguageModel.load(model_dir, dtype=dtype)
    assert vlm._layers is not None
    own, expected = (read_texts(vlm, image_rgb, layers) for layers in (vlm._layers, None))
    for found, wanted in zip(own, expected, strict=True):
        assert (found - wanted).norm() <= tolerance * wanted.norm()


def test_layers_when_made_then_weights_are_the_same_and_take_no_more_memory(model_dir):
    model = load_model(model_dir, torch.float32)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert text_layers_for(model) is not None
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    storages = [tensor.untyped_storage() for tensor in after.values()]
    sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
    assert sum(sizes.values()) == sum(tensor.nbytes for tensor in before.values())


def test_layers_when_joined_then_a_gpu_gets_back_what_they_had_before(model_dir, monkeypatch):
    model = load_model(model_dir, torch.float32)
    layers = model.model.language_model.layers
    # After .to(device) every tensor has memory of its own.
    model._apply(torch.clone)
    old = [StorageWeakRef(getattr(layer.mlp, name).weight.untyped_storage())
           for layer in layers for name in ('gate_proj', 'up_proj')]
    alive = [sum(not one.expired() for one in old)]
    monkeypatch.setattr(torch.cuda, 'empty_cache',
                        lambda: alive.append(sum(not one.expired() for one in old)))
    assert text_layers_for(model) is not None
    assert (alive[0], alive[-1]) == (len(old), 0)


def test_layers_when_numbers_differ_then_said_and_the_model_reads_itself(
        model_dir, image_rgb, caplog):
    model = load_model(model_dir, torch.float32)
    model.model.language_model.layers[0].mlp.register_forward_hook(
        lambda module, args, output: -output)
    assert text_layers_for(model) is None
    assert 'give other numbers here' in caplog.text


@pytest.mark.parametrize('change', [
    lambda text: setattr(text.config, 'hidden_act', 'gelu'),
    lambda text: setattr(text.rotary_emb, 'rope_type', 'dynamic'),
    lambda text: setattr(text.config, 'layer_types', ['full_attention', 'sliding_attention']),
    lambda text: setattr(text.layers[1].self_attn, 'k_proj',
                         torch.nn.utils.parametrize.register_parametrization(
                             text.layers[1].self_attn.k_proj, 'weight', torch.nn.Identity())),
])
def test_layers_when_model_is_built_otherwise_then_none_and_weights_untouched(model_dir, change):
    model = load_model(model_dir, torch.float32)
    change(model.model.language_model)
    pointers = {p.data_ptr() for p in model.parameters()}
    assert text_layers_for(model) is None
    assert {p.data_ptr() for p in model.parameters()} == pointers


def test_generate_when_the_model_reads_itself_then_same_answer(model_dir, image_rgb):
    vlm = VisionLanguageModel.load(model_dir)
    limits = GenerationLimits(12)
    expected = list(vlm.generate(image_rgb, GOAL, limits))
    vlm._layers = None
    assert list(vlm.generate(image_rgb, GOAL, limits, image_key=1)) == expected
    assert list(vlm.generate(image_rgb, GOAL, limits, image_key=1)) == expected  # goes on from it
