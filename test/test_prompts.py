# SPDX-License-Identifier: Apache-2.0
"""Masks from boxes and points, compared with the image predictor of the sam2 package itself."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sam2.sam2_image_predictor import SAM2ImagePredictor
from small_networks import SMALL

from samtok_ros.errors import ImageError
from samtok_ros.regions import BoxPrompt, ImageSize, PointPrompt
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.prompts import group_prompts

HEIGHT, WIDTH = 48, 80
SIZE = ImageSize(HEIGHT, WIDTH)


@pytest.fixture(scope='module')
def tokenizer():
    torch.manual_seed(11)
    network = MaskTokenizerNetwork(SMALL).eval().requires_grad_(False)
    # Fresh heads draw nearly flat logits; steeper ones tell masks and candidates apart.
    for parameter in network.sam.sam_mask_decoder.output_hypernetworks_mlps.parameters():
        parameter.data *= 3
    return MaskTokenizer(network, 'small@test')


@pytest.fixture(scope='module')
def features(tokenizer):
    image_rgb = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return tokenizer.embed_image(image_rgb)


@pytest.fixture(scope='module')
def predictor(tokenizer, features):
    """SAM2's own predictor around the same modules, as if it had embedded the same image."""
    sam = tokenizer.network.sam
    model = SimpleNamespace(image_size=SMALL.image_size, device='cpu',
                            sam_prompt_encoder=sam.sam_prompt_encoder,
                            sam_mask_decoder=sam.sam_mask_decoder)
    predictor = SAM2ImagePredictor(model)
    maps = features.maps
    predictor._features = {'image_embed': maps.embedding,
                           'high_res_feats': [maps.high_res_0, maps.high_res_1]}
    predictor._orig_hw, predictor._is_image_set = [(HEIGHT, WIDTH)], True
    return predictor


def test_box_when_drawn_is_the_mask_of_sam2s_predictor(tokenizer, features, predictor):
    masks, scores, _ = predictor.predict(box=np.array([10, 5, 49, 30]), multimask_output=False)
    # SAM2 names the last pixel inside, a box of ours the edges around them.
    drawn = tokenizer.draw_prompts(features, [BoxPrompt(10, 5, 50, 31)])
    np.testing.assert_array_equal(drawn.masks[0], masks[0] > 0)
    np.testing.assert_allclose(drawn.scores, scores, rtol=1e-6)
    assert 0 < drawn.masks.mean() < 1


def test_point_when_drawn_is_the_best_mask_of_sam2s_predictor(tokenizer, features, predictor):
    masks, scores, _ = predictor.predict(np.array([[33, 20]]), np.array([1]))
    drawn = tokenizer.draw_prompts(features, [PointPrompt(33.5, 20.5)])
    np.testing.assert_array_equal(drawn.masks[0], masks[scores.argmax()] > 0)
    np.testing.assert_allclose(drawn.scores[0], scores.max(), rtol=1e-6)
    assert drawn.low_res_logits.shape == (1, 1, 16, 16)


def test_box_when_one_mask_is_not_stable_is_the_best_of_three(tokenizer, features, monkeypatch):
    decoder = tokenizer.network.sam.sam_mask_decoder
    box = [BoxPrompt(10, 5, 50, 31)]
    monkeypatch.setattr(decoder, 'dynamic_multimask_stability_thresh', 0.0)
    stable = tokenizer.draw_prompts(features, box)
    monkeypatch.setattr(decoder, 'dynamic_multimask_stability_thresh', 1.1)
    fallback = tokenizer.draw_prompts(features, box)
    assert not np.allclose(stable.low_res_logits, fallback.low_res_logits)


def test_prompts_when_mixed_keep_their_order(tokenizer, features):
    prompts = [PointPrompt(33.5, 20.5), BoxPrompt(10, 5, 50, 31), PointPrompt(1, 47),
               BoxPrompt(0, 0, 80, 48)]
    together = tokenizer.draw_prompts(features, prompts)
    assert together.masks.shape == (4, HEIGHT, WIDTH)
    for row, prompt in enumerate(prompts):
        alone = tokenizer.draw_prompts(features, [prompt])
        np.testing.assert_allclose(together.low_res_logits[row], alone.low_res_logits[0],
                                   atol=1e-4)
        np.testing.assert_allclose(together.scores[row], alone.scores[0], atol=1e-5)


def test_prompts_when_there_are_none_give_nothing(tokenizer, features):
    drawn = tokenizer.draw_prompts(features, [])
    assert drawn.masks.shape == (0, HEIGHT, WIDTH)
    assert drawn.scores.shape == (0,)


def test_prompts_when_grouped_are_in_pixels_of_the_model_input():
    boxes, points = group_prompts([PointPrompt(40.5, 24.5), BoxPrompt(8, 6, 80, 48)], SIZE, 160)
    assert (boxes.rows, boxes.labels, boxes.one_mask) == ([1], (2, 3), True)
    np.testing.assert_allclose(boxes.points, [[[16, 20], [158, 47 / 48 * 160]]], rtol=1e-6)
    assert (points.rows, points.labels, points.one_mask) == ([0], (1,), False)
    np.testing.assert_allclose(points.points, [[[80, 80]]])


def test_box_when_thinner_than_a_pixel_keeps_its_corners_in_order():
    group, = group_prompts([BoxPrompt(8, 6, 8.5, 6.25)], SIZE, 160)
    np.testing.assert_allclose(group.points[0, 0], group.points[0, 1])


@pytest.mark.parametrize('prompt', [
    PointPrompt(80, 1), PointPrompt(-0.1, 1), PointPrompt(1, float('nan')), PointPrompt(1, 48),
    BoxPrompt(0, 0, 81, 10), BoxPrompt(-1, 0, 8, 10), BoxPrompt(5, 5, 5, 10),
    BoxPrompt(8, 5, 7, 10), BoxPrompt(0, 0, float('inf'), 10), BoxPrompt(0, 9, 4, float('nan')),
])
def test_prompt_when_not_inside_the_image_is_refused_by_number(tokenizer, features, prompt):
    with pytest.raises(ImageError, match='prompt 2 is not inside the image'):
        tokenizer.draw_prompts(features, [PointPrompt(1, 1), prompt])
