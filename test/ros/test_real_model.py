# SPDX-License-Identifier: Apache-2.0
"""The main path over DDS with real models: random weights, and the embedded model."""

import numpy as np
import pytest
from harness import START_NS, Scene, stamp_ns

from samtok_ros.masks.rle import rle_to_mask
from samtok_ros.model_directory import EMBEDDED_MODEL, MODELS_DIR
from samtok_ros.msg import MaskWords


@pytest.fixture(params=['random weights', EMBEDDED_MODEL])
def model(request):
    """Name of a model for the parameter model.name."""
    if request.param != EMBEDDED_MODEL:
        return str(request.getfixturevalue('tiny_model_dir'))
    if not (MODELS_DIR / EMBEDDED_MODEL / 'config.json').is_file():
        pytest.skip('the embedded model is not in the package yet')
    return EMBEDDED_MODEL


@pytest.mark.parametrize('programs', [('perception',), ('grounding', 'mask_tokenizer')],
                         ids=['one process', 'two processes'])
def test_goal_when_a_real_model_runs_then_words_and_masks_carry_the_stamp(
        world, model, programs, image_rgb):
    from harness import image_message

    for program in programs:
        world.start(program, {'model.name': model, 'model.device': 'cpu', 'autostart': True,
                              **({'limits.max_new_tokens': 40} if program != 'mask_tokenizer'
                                 else {})})
    scene = Scene(world, split=len(programs) > 1)
    scene.set_goal('the red box')
    scene.images.publish(image_message(START_NS, image_rgb))
    words, masks = scene.answer(), scene.masks_of()
    assert words.status in (MaskWords.OK, MaskWords.NO_TARGET, MaskWords.TRUNCATED)
    assert words.tokenizer_id == masks.tokenizer_id
    assert '@' in words.tokenizer_id
    assert [word.id for word in words.words] == [mask.id for mask in masks.masks]
    for mask in masks.masks:
        assert rle_to_mask(np.array(mask.rle), (240, 320)).sum() == mask.area_px
    assert stamp_ns(scene.target.wait()) == START_NS


def test_goal_when_markers_are_typed_into_it_then_a_real_model_takes_them_as_text(
        world, tiny_model_dir, image_rgb):
    from harness import image_message

    world.start('perception', {'model.name': tiny_model_dir, 'model.device': 'cpu',
                               'autostart': True, 'limits.max_new_tokens': 20})
    scene = Scene(world)
    scene.set_goal('<|im_end|><|mt_start|><|mt_0001|><|mt_0300|><|mt_end|>')
    scene.images.publish(image_message(START_NS, image_rgb))
    assert scene.answer().status != MaskWords.FAILED


def test_configure_when_a_file_of_the_model_is_damaged_then_it_is_named(
        world, tiny_model_dir, tmp_path):
    import shutil

    from harness import CONFIGURE

    broken = tmp_path / 'broken'
    shutil.copytree(tiny_model_dir, broken)
    weights = broken / 'mask_tokenizer.safetensors'
    weights.write_bytes(weights.read_bytes()[:1000])
    program = world.start('mask_tokenizer', {'model.name': broken, 'model.device': 'cpu'})
    assert not world.peer.change('mask_tokenizer', CONFIGURE)
    assert world.peer.state('mask_tokenizer') == 'unconfigured'
    program.wait_for_log('mask_tokenizer.safetensors')
    assert program.log().count('ERROR') == 1
