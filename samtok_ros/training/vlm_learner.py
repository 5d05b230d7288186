# SPDX-License-Identifier: Apache-2.0
"""The vision-language model with everything that exists in training only: heads and losses."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import nn

from samtok_ros.language.positions import position_ids_for
from samtok_ros.training.dense_vision import DenseHeads, dense_loss, dense_targets, object_boxes
from samtok_ros.training.fast_forward import (
    Kernels,
    TextGroup,
    image_embeddings,
    text_hidden_states,
)
from samtok_ros.training.scene_images import CELLS_HW, PATCHES_HW, to_patches
from samtok_ros.training.vlm_data import QuestionTensors, VlmBatch


@dataclass(frozen=True)
class VlmLossConfig:
    """Shares of the losses beside that of the answers.

    Attributes:
        attention: minus log of the attention mass on the cells of what is spoken of.
        attention_layers: layers whose first heads are supervised.
        attention_heads: how many heads of each.
        dense: dense vision losses, so that the vision tower goes on learning shapes.
        embedding: regression of an object's quantised mask embedding from its cells.
    """

    attention: float = 0.3
    attention_layers: tuple[int, ...] = (3, 4)
    attention_heads: int = 2
    dense: float = 0.15
    embedding: float = 0.3


@dataclass(frozen=True)
class Layout:
    """Token ids that stand around the image, and where they are.

    Attributes:
        before: ids in front of the first visual token.
        after: ids between the last visual token and the question.
        first_words: id of code 0 on each level.
        codes: K.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    first_words: tuple[int, ...]
    codes: int


@dataclass
class LossParts:
    """A loss and figures for the curves."""

    loss: torch.Tensor
    figures: dict[str, float] = field(default_factory=dict)


class VlmLearner(nn.Module):
    """Qwen3-VL with the losses of the fine-tuning."""

    def __init__(self, model: nn.Module, layout: Layout, embedding_scale: torch.Tensor,
                 config: VlmLossConfig):
        """Wrap a model.

        Args:
            model: Qwen3VLForConditionalGeneration.
            layout: tokens around the image.
            embedding_scale: (2, C) mean and standard deviation of quantised mask embeddings.
            config: shares of the losses.
        """
        super().__init__()
        self.model = model
        self.layout = layout
        self.config = config
        width = model.config.text_config.hidden_size
        self.heads = DenseHeads(width)
        self.embedding_head = nn.Linear(width, embedding_scale.shape[1])
        self.register_buffer('embedding_scale', embedding_scale, persistent=False)

    def prefix(self, images: torch.Tensor, kernels: Kernels | None = None,
               ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embed images and the tokens around them.

        Args:
            images: (B, 224, 320, 3) uint8.
            kernels: compiled blocks.
        Returns:
            (B, P, C) embeddings, (3, P) positions, (B, 70, C) visual tokens.
        """
        visual = image_embeddings(self.model.model.visual, to_patches(images), PATCHES_HW, kernels)
        embed = self.model.get_input_embeddings()
        batch, device = len(images), images.device

        def tokens(ids):
            return embed(torch.tensor(ids, device=device)).expand(batch, -1, -1)

        before, after = self.layout.before, self.layout.after
        prefix = torch.cat([tokens(before), visual.to(embed.weight.dtype), tokens(after)], 1)
        positions = position_ids_for(len(before), CELLS_HW, [len(after)]).to(device)
        return prefix, positions, visual

    def loss(self, batch: VlmBatch, kernels: Kernels | None = None) -> LossParts:
        """Sum all losses of a batch."""
        prefix, positions, visual = self.prefix(batch.images, kernels)
        output = text_hidden_states(
            self.model.model.language_model, prefix, positions,
            [TextGroup(group.token_ids) for group in batch.groups],
            self.config.attention_layers, kernels)
        answers, figures = self._answer_loss(output.hidden, batch.groups)
        looks = self._attention_loss(output.image_attention, batch.groups)
        dense, seen = self._dense_loss(visual, batch)
        embedding = self._embedding_loss(visual, batch)
        loss = (answers + self.config.attention * looks + self.config.dense * dense
                + self.config.embedding * embedding)
        figures.update(answer_loss=answers.item(), attention_loss=looks.item(),
                       dense_loss=dense.item(), embedding_loss=embedding.item(),
                       shape_accuracy=seen['shape_accuracy'])
        return LossParts(loss, figures)

    def _answer_loss(self, hidden: list[torch.Tensor], groups: tuple[QuestionTensors, ...],
                     ) -> tuple[torch.Tensor, dict[str, float]]:
        """Weighted cross-entropy of the answers, soft for mask words."""
        total, weight_sum = 0.0, 0.0
        figures: dict[str, float] = {}
        hits: list[torch.Tensor] = []
        decisions: list[torch.Tensor] = []
        table = self.model.get_input_embeddings().weight
        for states, group in zip(hidden, groups, strict=True):
            weights = group.weights.flatten()
            places = weights.nonzero()[:, 0]  # never the first token of a question
            scores = F.linear(states.flatten(0, 2)[places - 1], table).float()
            log_probabilities = scores.log_softmax(-1)
            wanted = group.token_ids.flatten()[places]
            losses = -log_probabilities.gather(1, wanted[:, None])[:, 0]
            rows = torch.searchsorted(places, group.word_places)
            if len(rows):
                soft = self._word_losses(log_probabilities[rows], group)
                losses = losses.index_copy(0, rows, soft)
                hits.append(self._word_hits(scores[rows], group))
            total = total + (losses * weights[places]).sum()
            weight_sum = weight_sum + weights.sum()
            right = scores.argmax(-1) == wanted
            decisions.append(right[weights[places] == 1.0].float())
        if hits:
            figures['word_accuracy'] = torch.cat(hits).float().mean().item()
        figures['decision_accuracy'] = torch.cat(decisions).mean().item()
        return total / weight_sum, figures

    def _word_losses(self, log_probabilities: torch.Tensor, group: QuestionTensors,
                     ) -> torch.Tensor:
        columns = self._word_columns(group)
        return -(log_probabilities.gather(1, columns) * group.word_targets).sum(1)

    def _word_hits(self, scores: torch.Tensor, group: QuestionTensors) -> torch.Tensor:
        """Say of first words whether the model's choice is as good as a likely target."""
        chosen = scores.gather(1, self._word_columns(group)).argmax(1)
        probability = group.word_targets.gather(1, chosen[:, None])[:, 0]
        return (probability >= 0.2 * group.word_targets.amax(1))[group.word_levels == 0]

    def _word_columns(self, group: QuestionTensors) -> torch.Tensor:
        first = torch.tensor(self.layout.first_words, device=group.word_levels.device)
        codes = torch.arange(self.layout.codes, device=group.word_levels.device)
        return first[group.word_levels][:, None] + codes

    def _attention_loss(self, watched: dict[int, list[torch.Tensor]],
                        groups: tuple[QuestionTensors, ...]) -> torch.Tensor:
        """Minus log of the attention on the cells that matter, where it matters."""
        losses = []
        start = len(self.layout.before)
        cells = CELLS_HW[0] * CELLS_HW[1]
        for layer in self.config.attention_layers:
            for weights, group in zip(watched[layer], groups, strict=True):
                if not len(group.look_places):
                    continue
                picked = weights[:, :self.config.attention_heads, ..., start:start + cells]
                picked = picked.permute(0, 2, 3, 1, 4).flatten(0, 2)[group.look_places].float()
                mass = (picked * group.look_cells[:, None]).sum(-1)
                losses.append(-(mass + 1e-4).log().mean(1))
        return torch.cat(losses).mean()

    def _dense_loss(self, visual: torch.Tensor, batch: VlmBatch) -> tuple[torch.Tensor, dict]:
        cells, patches = self.heads(visual)
        boxes = object_boxes(batch.labels)
        by_cell, figures = dense_loss(
            cells, dense_targets(batch.labels, batch.attributes, boxes, CELLS_HW))
        by_patch, _ = dense_loss(
            patches, dense_targets(batch.labels, batch.attributes, boxes, PATCHES_HW))
        return by_cell + 0.5 * by_patch, figures

    def _embedding_loss(self, visual: torch.Tensor, batch: VlmBatch) -> torch.Tensor:
        """Regress the mask embedding of a cell's object: the place and form that words encode."""
        boxes = object_boxes(batch.labels)
        owner = dense_targets(batch.labels, batch.attributes, boxes, CELLS_HW).owner.flatten(1)
        mean, deviation = self.embedding_scale
        wanted = torch.gather(batch.embeddings, 1,
                              owner[..., None].expand(-1, -1, len(mean)))
        there = (owner > 0) & (wanted.abs().sum(-1) > 0)
        wanted = (wanted - mean) / deviation
        errors = F.smooth_l1_loss(self.embedding_head(visual).float(), wanted, beta=0.5,
                                  reduction='none').mean(-1)
        return (errors * there).sum() / there.sum().clamp(min=1)
