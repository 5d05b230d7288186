# SPDX-License-Identifier: Apache-2.0
"""Resizing without torch: the same numbers as with torch."""

import numpy as np
import pytest
import torch

from samtok_ros.onnx import resampling as arrays
from samtok_ros.regions import ImageSize
from samtok_ros.tokenizer import resampling as tensors

SIZES = [(480, 640, 64), (480, 640, 256), (48, 80, 64), (33, 517, 64), (100, 100, 256),
         (1, 7, 64), (200, 3, 16), (64, 64, 64)]


@pytest.mark.parametrize('height, width, side', SIZES)
def test_prompts_when_made_without_torch_then_they_differ_by_rounding_only(height, width, side):
    masks = np.random.default_rng(height).random((3, height, width)) > 0.6
    expected = tensors.masks_to_prompts(torch.as_tensor(masks), side).numpy()
    ours = arrays.masks_to_prompts(masks, side)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-6)


@pytest.mark.parametrize('height, width, side', SIZES)
def test_masks_when_made_without_torch_then_no_pixel_differs(height, width, side):
    logits = np.random.default_rng(width).normal(0, 20, (3, 1, side, side)).astype(np.float32)
    for threshold in (0.0, 0.5):
        expected = tensors.logits_to_masks(torch.as_tensor(logits), ImageSize(height, width),
                                           threshold).numpy()
        np.testing.assert_array_equal(
            arrays.logits_to_masks(logits, ImageSize(height, width), threshold), expected)


def test_masks_when_there_are_none_then_the_shape_is_kept():
    assert arrays.logits_to_masks(np.zeros((0, 1, 8, 8), np.float32), ImageSize(5, 6),
                                  0.5).shape == (0, 5, 6)
    assert arrays.masks_to_prompts(np.zeros((0, 5, 6), np.bool_), 8).shape == (0, 1, 8, 8)
