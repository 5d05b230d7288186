# SPDX-License-Identifier: Apache-2.0
"""Training sees the pixels that the model's processor makes, and the right things in them."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from samtok_ros.training.dense_vision import (  # noqa: E402
    DenseHeads,
    dense_loss,
    dense_targets,
    object_boxes,
)
from samtok_ros.training.scene_images import (  # noqa: E402
    CELLS_HW,
    PATCHES_HW,
    Augmentation,
    augment,
    resize_for_model,
    to_patches,
)
from samtok_ros.training.vlm_data import cell_masks  # noqa: E402


@pytest.mark.parametrize('size_hw', [(240, 320), (480, 640)])
def test_to_patches_when_compared_with_the_processor_then_equal(size_hw):
    from samtok_ros.language.text_tokenizer import train_text_tokenizer
    from samtok_ros.language.tiny_vlm import TinyVlmConfig, processor_for

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    processor = processor_for(TinyVlmConfig(), train_text_tokenizer([], 300)).image_processor
    theirs = processor(images=image, return_tensors='pt')
    ours = to_patches(torch.from_numpy(resize_for_model(image))[None])
    assert theirs['image_grid_thw'].tolist() == [[1, *PATCHES_HW]]
    assert torch.allclose(ours[0], theirs['pixel_values'], atol=1e-5)


@pytest.fixture
def labels():
    labels = torch.zeros(1, 224, 320, dtype=torch.uint8)
    labels[0, 32:96, 64:96] = 1    # cells (1, 2) and (2, 2)
    labels[0, 160:176, 300:320] = 2  # part of cell (5, 9)
    return labels


def test_object_boxes_when_two_things_then_edges_outside(labels):
    boxes = object_boxes(labels)[0]
    assert boxes[1].tolist() == [64, 32, 96, 96]
    assert boxes[2].tolist() == [300, 160, 320, 176]
    assert boxes[3].tolist() == [0, 0, 0, 0]


def test_dense_targets_when_cells_are_covered_then_owner_and_box_are_known(labels):
    attributes = torch.full((1, 13, 3), -1)
    attributes[0, 1] = torch.tensor([4, 0, 1])
    attributes[0, 2] = torch.tensor([7, 3, 0])
    targets = dense_targets(labels, attributes, object_boxes(labels), CELLS_HW)
    assert targets.owner.nonzero().tolist() == [[0, 1, 2], [0, 2, 2], [0, 5, 9]]
    assert targets.shape[0, 1, 2] == 4 and targets.shape[0, 0, 0] == 8
    # Cell (1, 2) has its centre at (80, 48); the unit is 32 pixels.
    assert targets.box[0, 1, 2].tolist() == [-0.5, -0.5, 0.5, 1.5]


def test_dense_loss_when_heads_learn_one_picture_then_falls(labels):
    torch.manual_seed(0)
    attributes = torch.ones(1, 13, 3, dtype=torch.int64)
    targets = dense_targets(labels, attributes, object_boxes(labels), CELLS_HW)
    heads, tokens = DenseHeads(16), torch.randn(1, 70, 16)
    optimizer = torch.optim.Adam(heads.parameters(), 0.05)
    losses = []
    for _ in range(30):
        loss, _ = dense_loss(heads(tokens)[0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_cell_masks_when_an_object_spans_two_cells_then_both_are_marked(labels):
    cells = cell_masks(labels)[0]
    assert cells[1].nonzero().flatten().tolist() == [12, 22]
    assert cells[2].nonzero().flatten().tolist() == [59]


def test_augment_when_mirrored_then_image_and_labels_move_together():
    rng = np.random.default_rng(0)
    image = np.zeros((224, 320, 3), np.uint8)
    label = np.zeros((224, 320), np.uint8)
    image[40:90, 20:80], label[40:90, 20:80] = 200, 1
    how = Augmentation(flip=1.0, warp=0.0, colour=0.0, blur=0.0)
    mirrored, moved = augment(image, label, rng, how)
    assert ((mirrored[..., 0] > 100) == (moved == 1)).all()
    assert moved[60, 270] == 1 and label[60, 270] == 0
    warped, moved = augment(image, label, rng, Augmentation(colour=0.0, blur=0.0, warp=1.0))
    agreement = ((warped[..., 0] > 100) == (moved == 1)).mean()
    assert agreement > 0.99
