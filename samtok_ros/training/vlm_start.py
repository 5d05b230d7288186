# SPDX-License-Identifier: Apache-2.0
"""What a language model starts its training from."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from samtok_ros.errors import ConfigError
from samtok_ros.training.question_writer import QuestionWriter
from samtok_ros.training.vlm_learner import Layout, VlmLearner


@torch.no_grad()
def start_mask_words_(model: nn.Module, layout: Layout, codebooks: np.ndarray, seed: int) -> None:
    """Give neighbouring codes neighbouring embeddings: a random projection of the codebook rows.

    Source: differs: the published rows start as noise around the mean of the old ones, which suits
    a pretrained model.
    """
    table = model.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    for level, first in enumerate(layout.first_words):
        rows = torch.from_numpy(np.asarray(codebooks[level])).float()
        rows = (rows - rows.mean(0)) / (rows - rows.mean(0)).std().clamp(min=1e-6)
        projection = torch.randn(rows.shape[1], table.shape[1], generator=generator)
        table[first:first + len(rows)] = 0.03 * rows @ projection / rows.shape[1] ** 0.5


def load_vision_(learner: VlmLearner, path: Path) -> None:
    """Start vision tower and dense heads from the vision pretraining."""
    weights = torch.load(path, map_location='cpu', weights_only=False)['run']['learner']
    learner.model.model.visual.load_state_dict(
        {name.removeprefix('visual.'): value for name, value in weights.items()
         if name.startswith('visual.')})
    learner.heads.load_state_dict(
        {name.removeprefix('heads.'): value for name, value in weights.items()
         if name.startswith('heads.')})


def load_start_(learner: VlmLearner, writer: QuestionWriter, model_dir: Path) -> None:
    """Start from a finished model; tokens are matched by their text, new ones stay as they are.

    Raises:
        ConfigError: the model has other sizes.
        CheckpointError: the model cannot be read.
    """
    from samtok_ros.language.checkpoint import load_model, load_processor

    old = load_model(model_dir, torch.float32)
    old_ids = load_processor(model_dir).tokenizer.get_vocab()
    weights, table = old.state_dict(), learner.model.get_input_embeddings().weight
    old_rows = old.get_input_embeddings().weight
    shared = [(new, old_ids[text]) for text, new in writer.vocabulary_ids().items()
              if text in old_ids]
    with torch.no_grad():
        new_ids, ids = (torch.tensor(numbers) for numbers in zip(*shared, strict=True))
        table[new_ids] = old_rows[ids]
    own = learner.model.state_dict()
    body = {name: value for name, value in weights.items() if value.shape != old_rows.shape}
    if {name: value.shape for name, value in body.items()} != {
            name: value.shape for name, value in own.items() if value.shape != table.shape}:
        raise ConfigError('the model to start from has other sizes', got=model_dir,
                          fix='start from a model that was trained with the same sizes')
    learner.model.load_state_dict({**own, **body})
