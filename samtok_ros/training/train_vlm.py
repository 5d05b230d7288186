# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning of the vision-language model on questions about rendered scenes."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from samtok_ros.language.tiny_vlm import TinyVlmConfig, build_tiny_vlm
from samtok_ros.training import gradient_sync
from samtok_ros.training.code_targets import CodeTargets
from samtok_ros.training.fast_forward import Kernels
from samtok_ros.training.optim import (
    WeightAverage,
    build_optimizers,
    learning_rate_factor,
    load_optimizer_states_,
    optimizer_states,
    set_learning_rate_,
)
from samtok_ros.training.question_writer import PREFIX_END, PREFIX_TEXT, QuestionWriter
from samtok_ros.training.questions import corpus
from samtok_ros.training.runs import Budget, RunDirectory
from samtok_ros.training.vision_pretraining import TABLETOP_VLM
from samtok_ros.training.vlm_data import QuestionBatchConfig, VlmDataset
from samtok_ros.training.vlm_learner import Layout, VlmLearner, VlmLossConfig
from samtok_ros.training.vlm_start import load_start_, load_vision_, start_mask_words_

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VlmTrainingConfig:
    """Recipe of the fine-tuning.

    Attributes:
        vlm: sizes of the model.
        batch: what a batch holds, for each process.
        losses: shares of the losses.
        lr_matrix, lr_other: peak rates of Muon and AdamW.
        vision_lr_factor: factor on both for the vision tower, which comes pretrained.
        weight_decay: of the matrices.
        warm_up: share of the budget spent raising the rates.
        average_decay: of the averaged weights, which are the result.
        code_temperature: softness of the targets of mask words at first, see CodeTargets.
        code_temperature_end: softness at the end; in between it falls with the progress. Soft
            targets teach sooner, sharp ones give word probabilities that tell certain from
            uncertain.
        code_alternatives: share of masks written with another first word.
        corpus_scenes: imagined scenes whose texts train the text tokenizer.
        budget: how long to train; the rates decay to its end.
        steps: stop after so many steps whatever the budget says, 0 = no limit.
        save_every_s: seconds between checkpoints.
        validate_every_s: seconds between free generations on validation scenes.
        compiled: compile the blocks; pays off after a minute.
        autocast: run matrix products in bfloat16.
        device: 'cpu' or 'cuda'.
        seed: of weights, order and questions.
    """

    vlm: TinyVlmConfig = TABLETOP_VLM
    batch: QuestionBatchConfig = field(default_factory=QuestionBatchConfig)
    losses: VlmLossConfig = field(default_factory=VlmLossConfig)
    lr_matrix: float = 2e-3
    lr_other: float = 2e-3
    vision_lr_factor: float = 0.5
    weight_decay: float = 0.01
    warm_up: float = 0.02
    average_decay: float = 0.998
    code_temperature: float = 0.7
    code_temperature_end: float = 0.2
    code_alternatives: float = 0.3
    corpus_scenes: int = 3000
    budget: Budget = field(default_factory=lambda: Budget(wall_s=5400))
    steps: int = 0
    save_every_s: float = 180.0
    validate_every_s: float = 600.0
    compiled: bool = True
    autocast: bool = True
    device: str = 'cpu'
    seed: int = 0


@dataclass(frozen=True)
class VlmTrainingData:
    """What is trained on.

    Attributes:
        make_dataset: builds the dataset for a writer and its targets.
        codebooks: (2, K, C) of the finished mask tokenizer.
        vision_weights: `vision.pt` of the vision pretraining, None = start from nothing.
        start: directory of a finished model of the same sizes to go on from, None = from nothing.
        validate: measures a learner by free generation; returns figures. None = no validation.
    """

    make_dataset: Callable[[QuestionWriter, CodeTargets], VlmDataset]
    codebooks: np.ndarray
    vision_weights: Path | None = None
    start: Path | None = None
    validate: Callable[[VlmLearner, QuestionWriter], dict[str, float]] | None = None


def train_vlm(data: VlmTrainingData, run_dir: Path, config: VlmTrainingConfig) -> VlmLearner:
    """Train, or go on training, until the budget is used up.

    With several processes every one calls this after `gradient_sync.join_group`; all read the same
    checkpoint and only the first one writes.

    Args:
        data: scenes with codes, and the start.
        run_dir: curves, checkpoints; `model/` is the untrained directory with text tokenizer and
            processor, `averaged.pt` holds the result for `export_vlm`.
        config: the recipe.
    Returns:
        the learner with averaged weights.
    """
    torch.manual_seed(config.seed)
    rank = gradient_sync.rank()
    run = RunDirectory(run_dir if rank == 0 else run_dir / f'process-{rank}')
    learner, writer, targets = build_learner(run_dir / 'model', data, config)
    learner.to(config.device)
    optimizers = _optimizers(learner, config)
    average = WeightAverage(learner, config.average_decay)
    step = _resume_(run, learner, optimizers, average, rank)
    if step == 0:
        _start_(learner, writer, data)
        average = WeightAverage(learner, config.average_decay)
    dataset = data.make_dataset(writer, targets)
    kernels = Kernels.compiled() if config.compiled else None
    saved_s = checked_s = time.monotonic()
    progress = run.progress(config.budget)
    parameters = [p for p in learner.parameters() if p.requires_grad]
    while progress < 1.0 and not 0 < config.steps <= step:
        targets.set_temperature(config.code_temperature + progress * (
            config.code_temperature_end - config.code_temperature))
        set_learning_rate_(optimizers, learning_rate_factor(progress, config.warm_up))
        batch = _draw_batch(dataset, config, step, rank).to(config.device)
        figures = _add_gradients_(learner, batch, kernels, config)
        progress = gradient_sync.average_(parameters, run.progress(config.budget))
        figures['norm'] = nn.utils.clip_grad_norm_(parameters, 1.0).item()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        average.update(learner)
        if step % 10 == 0:
            run.log(step, **figures, progress=progress)
        if rank:
            continue
        if time.monotonic() - saved_s > config.save_every_s:
            _save(run, learner, optimizers, average, step)
            saved_s = time.monotonic()
        if data.validate and time.monotonic() - checked_s > config.validate_every_s:
            _validate(run, learner, average, writer, data, step)
            checked_s = time.monotonic()
    if rank == 0:
        _save(run, learner, optimizers, average, step)
        if data.validate:
            _validate(run, learner, average, writer, data, step)
    learner.load_state_dict(average.weights)
    return learner


def _start_(learner: VlmLearner, writer: QuestionWriter, data: VlmTrainingData) -> None:
    if data.vision_weights is not None:
        load_vision_(learner, data.vision_weights)
    if data.start is not None:
        load_start_(learner, writer, data.start)


def _add_gradients_(learner: VlmLearner, batch, kernels: Kernels | None,
                    config: VlmTrainingConfig) -> dict[str, float]:
    """Run one batch forward and backward; return its figures."""
    with torch.autocast(config.device, torch.bfloat16, enabled=config.autocast):
        parts = learner.loss(batch, kernels)
    parts.loss.backward()
    return {'loss': parts.loss.item(), **parts.figures}


def build_learner(model_dir: Path, data: VlmTrainingData, config: VlmTrainingConfig,
                  ) -> tuple[VlmLearner, QuestionWriter, CodeTargets]:
    """Build model, text tokenizer and losses; the directory is written if it is not there."""
    from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration

    if gradient_sync.rank() == 0 and not model_dir.exists():
        # Renamed when whole: neither another process nor a later run may find half of it.
        unfinished = model_dir.with_name(f'{model_dir.name}.part')
        shutil.rmtree(unfinished, ignore_errors=True)
        build_tiny_vlm(unfinished, corpus(config.corpus_scenes, config.seed), config.vlm,
                       config.seed)
        unfinished.rename(model_dir)
    gradient_sync.wait_for_all()
    model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir, dtype=torch.float32,
                                                            local_files_only=True)
    text_tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
    targets = CodeTargets(data.codebooks, config.code_temperature, config.code_alternatives)
    writer = QuestionWriter(text_tokenizer, targets, config.batch.weights)
    layout = Layout(tuple(writer.token_ids(PREFIX_TEXT)), tuple(writer.token_ids(PREFIX_END)),
                    tuple(ids[0] for ids in writer.ids.level_ids), data.codebooks.shape[1])
    sums = (data.codebooks[0][:, None] + data.codebooks[1][None]).reshape(
        -1, data.codebooks.shape[2])
    scale = torch.from_numpy(np.stack([sums.mean(0), sums.std(0) + 1e-6])).float()
    learner = VlmLearner(model, layout, scale, config.losses)
    start_mask_words_(model, layout, data.codebooks, config.seed)
    return learner, writer, targets


def _optimizers(learner: VlmLearner, config: VlmTrainingConfig) -> list[torch.optim.Optimizer]:
    """Vision tower at a lower rate; linear read-outs by AdamW."""
    read_outs = nn.ModuleList([learner.heads, learner.embedding_head])
    factor = config.vision_lr_factor
    return [
        *build_optimizers(learner.model.model.language_model, config.lr_matrix, config.lr_other,
                          config.weight_decay),
        *build_optimizers(learner.model.model.visual, factor * config.lr_matrix,
                          factor * config.lr_other, config.weight_decay),
        *build_optimizers(read_outs, 0.0, config.lr_other, config.weight_decay),
    ]


def _draw_batch(dataset: VlmDataset, config: VlmTrainingConfig, step: int, rank: int):
    """Seeded by step and process: a resumed run goes on with the batches it would have had."""
    rng = np.random.default_rng([config.seed, step, rank])
    indices = rng.integers(0, len(dataset.codes), config.batch.images)
    return dataset.batch(indices, rng, config.batch)


def _resume_(run: RunDirectory, learner: VlmLearner,
             optimizers: Sequence[torch.optim.Optimizer], average: WeightAverage, rank: int) -> int:
    # All processes go on from the first one's checkpoint, its used time included.
    state = run.load('state.pt' if rank == 0 else '../state.pt')
    if state is None:
        return 0
    learner.load_state_dict(state['learner'])
    load_optimizer_states_(list(optimizers), state['optimizers'])
    average.load_state_(state)
    logger.info('resumed at step %d', state['step'])
    return state['step']


def _save(run: RunDirectory, learner: VlmLearner, optimizers: list, average: WeightAverage,
          step: int) -> None:
    run.save({'learner': learner.state_dict(), 'optimizers': optimizer_states(optimizers),
              **average.state(), 'step': step})
    run.save({'learner': average.weights, 'step': step}, 'averaged.pt')


def _validate(run: RunDirectory, learner: VlmLearner, average: WeightAverage,
              writer: QuestionWriter, data: VlmTrainingData, step: int) -> None:
    """Measure the averaged weights, then put the present ones back."""
    present = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.load_state_dict(average.weights)
    figures = {f'val_{name}': value for name, value in data.validate(learner, writer).items()}
    learner.load_state_dict(present)
    run.log(step, **figures)
    logger.info('validation at step %d: %s', step, figures)


def export_vlm(run_dir: Path, out_dir: Path, dtype: str = 'float16') -> None:
    """Write the averaged weights as a model directory that transformers loads.

    Args:
        run_dir: of `train_vlm`.
        out_dir: gets configuration, text tokenizer, processor and weights; other files stay.
        dtype: of the stored weights.
    """
    from transformers import AutoProcessor, Qwen3VLForConditionalGeneration

    model_dir = run_dir / 'model'
    model = Qwen3VLForConditionalGeneration.from_pretrained(model_dir, local_files_only=True)
    weights = torch.load(run_dir / 'averaged.pt', map_location='cpu',
                         weights_only=False)['run']['learner']
    model.load_state_dict({name.removeprefix('model.'): value for name, value in weights.items()
                           if name.startswith('model.')}, strict=False)
    model.tie_weights()
    out_dir.mkdir(parents=True, exist_ok=True)
    model.to(getattr(torch, dtype)).save_pretrained(out_dir)
    AutoProcessor.from_pretrained(model_dir, local_files_only=True).save_pretrained(out_dir)
