# SPDX-License-Identifier: Apache-2.0
"""Trains the vision tower alone to tell what lies where, before any language.

A vision-language model trained from scratch learns colours at once but shapes only very late, as
long as its only signal is the answer. Here every cell of every picture is a training example.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from samtok_ros.language.tiny_vlm import TinyVlmConfig
from samtok_ros.training.dense_vision import DenseHeads, dense_loss, dense_targets, object_boxes
from samtok_ros.training.fast_forward import Kernels, image_embeddings
from samtok_ros.training.optim import (
    WeightAverage,
    build_optimizers,
    learning_rate_factor,
    load_optimizer_states_,
    optimizer_states,
    set_learning_rate_,
)
from samtok_ros.training.runs import Budget, RunDirectory
from samtok_ros.training.scene_images import (
    CELLS_HW,
    PATCHES_HW,
    Augmentation,
    SceneImages,
    Scenes,
    to_patches,
)

logger = logging.getLogger(__name__)

TABLETOP_VLM = TinyVlmConfig(text_layers=6)
"""Sizes of the embedded model."""


@dataclass(frozen=True)
class VisionPretrainingConfig:
    """Recipe of the vision pretraining.

    Attributes:
        vlm: sizes of the model; only its vision tower is trained here.
        batch_size: images a step.
        lr_matrix, lr_other: peak rates of Muon and AdamW.
        weight_decay: of the matrices.
        warm_up: share of the budget spent raising the rates.
        average_decay: of the averaged weights, which are the result.
        augmentation: how images are varied.
        budget: how long to train; the rates decay to its end.
        steps: stop after so many steps whatever the budget says, 0 = no limit.
        validation_scenes: scenes of the store's end kept for validation.
        validate_every_s: seconds between validations, each with a checkpoint.
        compiled: compile the blocks; pays off after a minute.
        autocast: run matrix products in bfloat16.
        device: 'cpu' or 'cuda'.
        seed: of weights, order and augmentation.
    """

    vlm: TinyVlmConfig = TABLETOP_VLM
    batch_size: int = 16
    lr_matrix: float = 3e-3
    lr_other: float = 1.5e-3
    weight_decay: float = 0.02
    warm_up: float = 0.02
    average_decay: float = 0.998
    augmentation: Augmentation = field(default_factory=Augmentation)
    budget: Budget = field(default_factory=lambda: Budget(cpu_s=2400))
    steps: int = 0
    validation_scenes: int = 200
    validate_every_s: float = 120.0
    compiled: bool = True
    autocast: bool = True
    device: str = 'cpu'
    seed: int = 0


class VisionLearner(nn.Module):
    """The vision tower of the model with its dense heads."""

    def __init__(self, config: TinyVlmConfig):
        """Build with random weights; the text side is left out."""
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

        from samtok_ros.language.text_tokenizer import train_text_tokenizer
        from samtok_ros.language.tiny_vlm import model_config_for

        super().__init__()
        # The vision part of the configuration does not depend on the text tokenizer.
        whole = model_config_for(config, train_text_tokenizer([], 300))
        self.visual = Qwen3VLVisionModel(whole.vision_config)
        self.heads = DenseHeads(config.text_hidden)

    def loss(self, images: torch.Tensor, labels: torch.Tensor, attributes: torch.Tensor,
             kernels: Kernels | None = None) -> tuple[torch.Tensor, dict]:
        """Dense loss of (B, 224, 320, 3) uint8 images, with the figures of the cells."""
        tokens = image_embeddings(self.visual, to_patches(images), PATCHES_HW, kernels)
        cells, patches = self.heads(tokens)
        boxes = object_boxes(labels)
        by_cell, figures = dense_loss(cells, dense_targets(labels, attributes, boxes, CELLS_HW))
        by_patch, fine = dense_loss(patches,
                                    dense_targets(labels, attributes, boxes, PATCHES_HW))
        figures['patch_shape_accuracy'] = fine['shape_accuracy']
        return by_cell + 0.5 * by_patch, figures


def pretrain_vision(open_scenes: Callable[[], Scenes], run_dir: Path,
                    config: VisionPretrainingConfig) -> dict[str, float]:
    """Train, or go on training, until the budget is used up.

    Args:
        open_scenes: opens the scene store; called again now and then, as the store may still grow.
        run_dir: curves, checkpoints, the cache of resized images; `vision.pt` is the result.
        config: the recipe.
    Returns:
        figures of the last validation.
    """
    run = RunDirectory(run_dir)
    torch.manual_seed(config.seed)
    device = torch.device(config.device)
    learner = VisionLearner(config.vlm).to(device)
    optimizers = build_optimizers(learner, config.lr_matrix, config.lr_other, config.weight_decay,
                                  keep_out=lambda name: name.startswith('heads'))
    average = WeightAverage(learner, config.average_decay)
    step, figures = 0, {}
    state = run.load()
    if state is not None:
        learner.load_state_dict(state['learner'])
        load_optimizer_states_(optimizers, state['optimizers'])
        average.load_state_(state)
        step = state['step']
        logger.info('resumed at step %d', step)
    scenes = SceneImages.prepare(open_scenes(), run.path / 'images')
    held_back = _validation_indices(scenes, config)
    kernels = Kernels.compiled() if config.compiled else None
    last_check_s = time.monotonic()
    while run.progress(config.budget) < 1.0 and not 0 < config.steps <= step:
        set_learning_rate_(optimizers, learning_rate_factor(run.progress(config.budget),
                                                            config.warm_up))
        # Seeded by the step, so that a resumed run goes on with the same pictures.
        rng = np.random.default_rng([config.seed, step])
        count = len(scenes)
        indices = rng.integers(0, count, config.batch_size * 2)
        indices = [i for i in indices if i not in held_back][:config.batch_size]
        batch = [part.to(device) for part in scenes.batch(indices, rng, config.augmentation)]
        with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
            loss, values = learner.loss(*batch, kernels)
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        average.update(learner)
        step += 1
        if step % 10 == 0:
            run.log(step, loss=loss.item(), images=step * config.batch_size, **values)
        if time.monotonic() - last_check_s > config.validate_every_s:
            figures = _validate(run, learner, average, scenes, held_back, config, step)
            _save(run, learner, optimizers, average, step, figures)
            scenes = SceneImages.prepare(open_scenes(), run.path / 'images')
            last_check_s = time.monotonic()
    figures = _validate(run, learner, average, scenes, held_back, config, step)
    _save(run, learner, optimizers, average, step, figures)
    return figures


def _validation_indices(scenes: SceneImages, config: VisionPretrainingConfig) -> set[int]:
    """Keep the first scenes back: they exist from the start, however far the store has grown."""
    return set(range(min(config.validation_scenes, len(scenes) // 4)))


@torch.no_grad()
def _validate(run: RunDirectory, learner: VisionLearner, average: WeightAverage,
              scenes: SceneImages, held_back: set[int], config: VisionPretrainingConfig,
              step: int) -> dict[str, float]:
    """Measure the averaged weights on the scenes kept back."""
    present = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.load_state_dict(average.weights)
    rng = np.random.default_rng(0)
    sums: dict[str, float] = {}
    order = sorted(held_back)
    chunks = [order[i:i + config.batch_size] for i in range(0, len(order), config.batch_size)]
    for chunk in chunks:
        batch = [part.to(config.device) for part in scenes.batch(chunk, rng, None)]
        with torch.autocast(config.device, torch.bfloat16, enabled=config.autocast):
            loss, values = learner.loss(*batch)
        for name, value in {**values, 'loss': loss.item()}.items():
            sums[name] = sums.get(name, 0.0) + value / len(chunks)
    learner.load_state_dict(present)
    figures = {f'val_{name}': value for name, value in sums.items()}
    run.log(step, **figures, scenes=len(scenes))
    logger.info('validation at step %d: %s', step, figures)
    return figures


def _save(run: RunDirectory, learner: VisionLearner, optimizers: list, average: WeightAverage,
          step: int, figures: dict[str, float]) -> None:
    run.save({'learner': learner.state_dict(), 'optimizers': optimizer_states(optimizers),
              **average.state(), 'step': step})
    run.save({'learner': average.weights, 'figures': figures}, 'vision.pt')
