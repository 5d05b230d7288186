# SPDX-License-Identifier: Apache-2.0
"""Mask tokenizer training on drawn discs: it learns, survives a kill, and its parts are right."""

import dataclasses

import numpy as np
import pytest
import small_networks
import torch

from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskCandidates
from samtok_ros.tokenizer.quantizer import ResidualQuantizer
from samtok_ros.training.codebook_training import (
    CodebookTrainingConfig,
    kmeans,
    quantise,
    start_codebooks_,
)
from samtok_ros.training.runs import Budget, RunDirectory
from samtok_ros.training.tokenizer_data import AugmentationConfig, sample_masks
from samtok_ros.training.tokenizer_losses import candidate_ious, mask_losses
from samtok_ros.training.train_tokenizer import (
    TokenizerTrainer,
    TokenizerTrainingConfig,
    reconstruction_ious,
    train_tokenizer,
)

SMALL = dataclasses.replace(small_networks.SMALL, codebook_size=8)
CONFIG = TokenizerTrainingConfig(images=4, masks_per_image=3, network=SMALL, codebook_start=0.5)


class Discs:
    """Pictures of three discs; what a scene store offers, drawn by numpy."""

    def __init__(self, count=12):
        rng = np.random.default_rng(5)
        rows, columns = np.ogrid[:48, :64]
        self.scenes = []
        for _ in range(count):
            rgb = np.full((48, 64, 3), 90, np.uint8)
            ids = np.zeros((48, 64), np.uint8)
            for disc in (1, 2, 3):
                y, x, radius = rng.integers(8, 40), 20 * disc - 8, rng.integers(6, 10)
                inside = (rows - y) ** 2 + (columns - x) ** 2 < radius ** 2
                rgb[inside] = rng.integers(0, 256, 3)
                ids[inside] = disc
            self.scenes.append((rgb, ids))

    def __len__(self):
        return len(self.scenes)

    def rgb(self, index):
        return self.scenes[index][0]

    def segmentation(self, index):
        return self.scenes[index][1]


@pytest.fixture(scope='module')
def discs():
    return Discs()


def draw(discs, trainer):
    return sample_masks(discs, SMALL, trainer.rng, 4, 3, CONFIG.augmentation)


def test_batch_when_drawn_has_matching_targets(discs):
    plain = AugmentationConfig(flip=0.0, zoom=0.0)
    batch = sample_masks(discs, SMALL, np.random.default_rng(0), 4, 3, plain)
    assert batch.pixels.shape == (4, 3, 64, 64)
    assert batch.image_index.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert batch.prompts.shape == (12, 1, 16, 16)
    assert batch.targets.shape == (12, 1, 32, 32)
    # Area averaging keeps the area: cells times coverage is the share of the picture.
    areas = batch.targets.mean(dim=(1, 2, 3))
    assert areas.min() > 0.02
    assert areas.max() < 0.12
    assert (batch.box_unit[:, 2:] > batch.box_unit[:, :2]).all()


def test_training_when_run_for_some_steps_lowers_the_loss(discs):
    trainer = TokenizerTrainer(CONFIG)
    losses = [trainer.train_step(draw(discs, trainer), 0.2)['loss'] for _ in range(40)]
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:4])


def test_training_when_killed_and_resumed_takes_the_same_next_step(discs, tmp_path):
    budget = Budget(wall_s=1e9)
    whole = TokenizerTrainer(CONFIG)
    expected = [whole.train_step(draw(discs, whole), 0.1)['loss'] for _ in range(6)]

    run = RunDirectory(tmp_path)
    first = TokenizerTrainer(CONFIG)
    for _ in range(3):
        first.train_step(draw(discs, first), 0.1)
    run.save(first.state())
    resumed = TokenizerTrainer(CONFIG)
    resumed.load_state_(RunDirectory(tmp_path).load())
    again = [resumed.train_step(draw(discs, resumed), 0.1)['loss'] for _ in range(3)]
    np.testing.assert_allclose(again, expected[3:], rtol=1e-4)

    out = train_tokenizer(discs, None, RunDirectory(tmp_path), budget, CONFIG,
                          should_stop=lambda step: step >= 5)
    assert RunDirectory(tmp_path).load()['step'] == 5
    assert MaskTokenizer.load(out).config == SMALL


def test_training_when_codebooks_start_uses_them(discs, tmp_path):
    trainer = TokenizerTrainer(CONFIG)
    for _ in range(4):
        trainer.train_step(draw(discs, trainer), 0.1)
    values = trainer.train_step(draw(discs, trainer), 0.6)
    assert trainer.quantising
    assert values['commitment'] > 0
    assert trainer.network.quantizer.codebooks[0].weight[8].abs().max() == 0
    ious = reconstruction_ious(MaskTokenizer(trainer.averaged_network(), 'x'), discs, [0, 1])
    assert ious.shape == (6,)


def test_kmeans_when_clusters_are_plain_finds_them():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    vectors = centres.repeat_interleave(20, 0) + 0.1 * torch.randn(60, 2)
    found = kmeans(vectors, 3, seed=1)
    assert torch.cdist(centres, found).min(dim=1).values.max() < 0.2


def test_start_codebooks_when_there_are_fewer_vectors_than_entries_then_each_has_its_own():
    quantizer = ResidualQuantizer(16, 2, 4)
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    start_codebooks_(quantizer, vectors, seed=0)
    rows = quantizer.codebooks[0].weight[:16]
    assert torch.isfinite(quantizer.codebooks[1].weight).all()
    # Of 16 draws among 5, all are hit; what two share would be their mean.
    assert torch.cdist(vectors, rows).amin(dim=1).max() < 1e-3


def test_quantise_when_codebooks_fit_reconstructs_and_passes_gradients():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(16, 2, 4)
    vectors = torch.randn(200, 4)
    start_codebooks_(quantizer, vectors, seed=0)
    config = CodebookTrainingConfig(drop_second=0.0)
    leaf = vectors[:50].clone().requires_grad_()
    result = quantise(quantizer, leaf, config, np.random.default_rng(0))
    error = (result.embeddings - leaf).square().mean()
    assert error < 0.15 * vectors.var()
    assert result.codes.shape == (50, 2)
    result.embeddings.sum().backward()
    assert torch.equal(leaf.grad, torch.ones_like(leaf))


def test_quantise_when_an_entry_is_never_used_restarts_it():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(4, 1, 2)
    vectors = torch.randn(64, 2)
    start_codebooks_(quantizer, vectors, seed=0)
    book = quantizer.codebooks[0]
    book.weight[2] = book.embed_ema[2] = torch.tensor([500.0, 500.0])
    config = CodebookTrainingConfig(decay=0.5, dead_share=0.2, drop_second=0.0)
    rng = np.random.default_rng(0)
    for _ in range(12):
        quantise(quantizer, vectors, config, rng)
    assert book.weight[2].abs().max() < 10


def test_mask_losses_when_a_candidate_is_right_prefers_it():
    targets = torch.zeros(1, 1, 8, 8)
    targets[..., 2:6, 2:6] = 1
    right = torch.where(targets > 0, 8.0, -8.0)
    logits = torch.cat([right, -right, torch.zeros_like(right)], dim=1)
    candidates = MaskCandidates(logits, torch.tensor([[0.9, 0.1, 0.1]]))
    losses = mask_losses(candidates, targets, 0.5)[0]
    assert losses[0] < 0.1 < losses[2] < losses[1]
    # Logits of 0 lie below the threshold of 0.5: nothing is drawn.
    np.testing.assert_allclose(candidate_ious(candidates, targets, 0.5)[0], [1, 0, 0])
