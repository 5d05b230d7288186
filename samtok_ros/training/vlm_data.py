# SPDX-License-Identifier: Apache-2.0
"""Batches for the fine-tuning of the vision-language model: images, questions, answers, weights."""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from samtok_ros.errors import ConfigError
from samtok_ros.model_directory import split_tokenizer_id
from samtok_ros.training.code_targets import CodeTargets
from samtok_ros.training.question_writer import LossWeights, QuestionWriter, WrittenQuestion
from samtok_ros.training.questions import draw_question
from samtok_ros.training.scene_images import (
    CELLS_HW,
    MAX_OBJECTS,
    Augmentation,
    SceneImages,
    Scenes,
)

_DRAWS = 20
_ANEW = 'name another run folder, or give the mask tokenizer and the scenes of before'


@dataclass(frozen=True)
class GroupPlan:
    """Questions that are padded to the same length.

    Attributes:
        families: with their shares.
        count: questions for each image.
        length: tokens, padding included; longer questions are drawn again.
    """

    families: tuple[tuple[str, float], ...]
    count: int
    length: int


@dataclass(frozen=True)
class QuestionBatchConfig:
    """What a batch holds.

    Attributes:
        images: images of a batch.
        groups: questions of each image.
        weights: of the answer's tokens.
        augmentation: of the images; mask words tell places, so nothing may move.
    """

    images: int = 8
    groups: tuple[GroupPlan, ...] = (
        GroupPlan((('single', 1.0),), 4, 36),
        GroupPlan((('none', 0.45), ('unknown', 0.15), ('region', 0.4)), 4, 28),
        GroupPlan((('several', 0.6), ('categories', 0.4)), 1, 64),
        GroupPlan((('caption', 0.25), ('relation', 0.25), ('choice', 0.5)), 2, 52),
        GroupPlan((('rounds', 0.6), ('relative', 0.4)), 1, 76),
        GroupPlan((('grounded caption', 0.6), ('scene graph', 0.4)), 1, 140),
    )
    weights: LossWeights = field(default_factory=LossWeights)
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(flip=0.0, warp=0.0, colour=0.1))


@dataclass(frozen=True)
class QuestionTensors:
    """Questions of one group, on B images.

    Attributes:
        token_ids: (B, Q, L) int64, padded at the end.
        weights: (B, Q, L) float32 weight of predicting this token from those before.
        word_places: (n,) int64 places of mask words of answers, counted over B*Q*L.
        word_levels: (n,) int64 level of each, from 0.
        word_targets: (n, K) float32 target distribution over the codes of its level.
        look_places: (m,) int64 places that should look at something, counted over B*Q*L.
        look_cells: (m, 70) float32, 1 where the thing is.
    """

    token_ids: torch.Tensor
    weights: torch.Tensor
    word_places: torch.Tensor
    word_levels: torch.Tensor
    word_targets: torch.Tensor
    look_places: torch.Tensor
    look_cells: torch.Tensor

    def to(self, device: torch.device) -> 'QuestionTensors':
        """Move everything."""
        return QuestionTensors(*(getattr(self, name).to(device)
                                 for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class VlmBatch:
    """One training batch.

    Attributes:
        images: (B, 224, 320, 3) uint8.
        labels: (B, 224, 320) uint8 object ids.
        attributes: (B, 13, 3) int64.
        embeddings: (B, 13, C) float32 quantised mask embedding by object id, zeros where none.
        groups: the questions.
    """

    images: torch.Tensor
    labels: torch.Tensor
    attributes: torch.Tensor
    embeddings: torch.Tensor
    groups: tuple[QuestionTensors, ...]

    def to(self, device: torch.device) -> 'VlmBatch':
        """Move everything."""
        return VlmBatch(self.images.to(device), self.labels.to(device),
                        self.attributes.to(device), self.embeddings.to(device),
                        tuple(group.to(device) for group in self.groups))


def encode_scenes(tokenizer, scenes: Scenes, cache_path: Path,
                  report: Callable[[int], None] | None = None) -> np.ndarray:
    """Encode every mask of every scene with a finished mask tokenizer, once.

    Args:
        tokenizer: a MaskTokenizer.
        scenes: the store; only ever grows.
        cache_path: `.npy` file; scenes already in it are not encoded again. A `.json` file beside
            it says whose codes they are.
        report: called with the number of finished scenes now and then.
    Returns:
        (S, 13, D) int16 codes by object id, -1 where there is no mask.
    Raises:
        ConfigError: the file holds codes of another mask tokenizer, or of other scenes.
    """
    _check_origin(tokenizer, scenes, cache_path)
    depth = tokenizer.config.codebook_depth
    done = np.load(cache_path) if cache_path.exists() else np.zeros((0, MAX_OBJECTS + 1, depth),
                                                                    np.int16)
    if len(done) > len(scenes):
        raise ConfigError(f'{cache_path} holds codes of more scenes than there are',
                          expected=f'at most {len(scenes)} scenes', got=len(done), fix=_ANEW)
    table = np.full((len(scenes), MAX_OBJECTS + 1, depth), -1, np.int16)
    table[:len(done)] = done
    for index in range(len(done), len(scenes)):
        segmentation = np.asarray(scenes.segmentation(index))
        ids = [number for number in np.unique(segmentation) if number]
        if ids:
            features = tokenizer.embed_image(np.asarray(scenes.rgb(index)))
            masks = np.stack([segmentation == number for number in ids])
            table[index, ids] = tokenizer.encode(features, masks)
        if (index + 1) % 500 == 0 or index + 1 == len(scenes):
            _save(table[:index + 1], cache_path)
            if report:
                report(index + 1)
    return table


def _check_origin(tokenizer, scenes: Scenes, cache_path: Path) -> None:
    """Compare whose codes a file holds with whose are wanted, or write it down beside it."""
    first = zlib.crc32(np.ascontiguousarray(scenes.rgb(0)))
    # The hash of the weights alone: a folder may be given another name.
    wanted = {'tokenizer': split_tokenizer_id(tokenizer.tokenizer_id)[1], 'first_picture': first}
    note = cache_path.with_suffix('.json')
    # Codes without a note are those of a run that was begun before there were notes.
    if cache_path.exists() and note.exists():
        found = json.loads(note.read_text(encoding='utf-8'))
        if found != wanted:
            raise ConfigError(f'{cache_path} holds codes of another mask tokenizer or of other '
                              'scenes', expected=wanted, got=found, fix=_ANEW)
        return
    scratch = note.with_name(note.name + '.part')
    scratch.write_text(json.dumps(wanted) + '\n', encoding='utf-8')
    scratch.replace(note)


def _save(table: np.ndarray, path: Path) -> None:
    """Write codes so that a kill leaves the old file or the new one."""
    scratch = path.with_name(path.name + '.part')
    with open(scratch, 'wb') as stream:
        np.save(stream, table)
    scratch.replace(path)


class VlmDataset:
    """Scenes with codes and descriptions, from which batches of questions are drawn."""

    def __init__(self, images: SceneImages, descriptions: Sequence, codes: np.ndarray,
                 writer: QuestionWriter, targets: CodeTargets):
        """Join what belongs to the same scenes.

        Args:
            images: of S scenes.
            descriptions: S SceneDescriptions.
            codes: (S, 13, D) of `encode_scenes`.
            writer: makes token ids.
            targets: of mask words.
        """
        self.images = images
        self.descriptions = descriptions
        self.codes = codes
        self.writer = writer
        self.targets = targets

    def batch(self, indices: Sequence[int], rng: np.random.Generator,
              config: QuestionBatchConfig) -> VlmBatch:
        """Draw questions on some scenes and write them as tensors."""
        images, labels, attributes = self.images.batch(indices, rng, config.augmentation)
        cells = cell_masks(labels)
        groups = []
        for plan in config.groups:
            written = [[self._draw(index, plan, rng) for _ in range(plan.count)]
                       for index in indices]
            groups.append(self._collate(written, cells, plan.length))
        table = self.codes[list(indices)].astype(np.int64)
        embeddings = self.targets.embedding(np.maximum(table, 0).reshape(-1, table.shape[-1]))
        embeddings = embeddings.reshape(*table.shape[:2], -1) * (table[..., :1] >= 0)
        return VlmBatch(images, labels, attributes, torch.from_numpy(embeddings), tuple(groups))

    def _draw(self, index: int, plan: GroupPlan, rng: np.random.Generator) -> WrittenQuestion:
        families, shares = zip(*plan.families, strict=True)
        for _ in range(_DRAWS):
            family = families[int(rng.choice(len(families), p=np.array(shares) / sum(shares)))]
            question = draw_question(self.descriptions[index], rng, family)
            written = self.writer.write(question, self.codes[index], rng)
            if len(written.token_ids) <= plan.length:
                return written
        raise AssertionError(f'no question of {plan} fits')

    def _collate(self, written: list[list[WrittenQuestion]], cells: torch.Tensor, length: int,
                 ) -> QuestionTensors:
        batch, count = len(written), len(written[0])
        token_ids = np.full((batch, count, length), self.writer.pad_id, np.int64)
        weights = np.zeros((batch, count, length), np.float32)
        words, looks, seen = [], [], []
        for image, questions in enumerate(written):
            for number, question in enumerate(questions):
                size = len(question.token_ids)
                token_ids[image, number, :size] = question.token_ids
                weights[image, number, :size] = question.weights
                base = (image * count + number) * length
                words += [(base + place, level, row) for place, level, row in question.words]
                for place, objects in question.looks:
                    looks.append(base + place)
                    seen.append(cells[image, objects].amax(0))
        size = self.targets.codebooks.shape[1]
        return QuestionTensors(
            torch.from_numpy(token_ids), torch.from_numpy(weights),
            torch.tensor([place for place, _, _ in words], dtype=torch.int64),
            torch.tensor([level for _, level, _ in words], dtype=torch.int64),
            torch.from_numpy(np.stack([row for _, _, row in words]) if words
                             else np.zeros((0, size), np.float32)),
            torch.tensor(looks, dtype=torch.int64),
            torch.stack(seen) if seen else torch.zeros(0, CELLS_HW[0] * CELLS_HW[1]))


def cell_masks(labels: torch.Tensor, least_share: float = 0.3) -> torch.Tensor:
    """Mark the cells an object is on: those with a fair share of what its fullest cell has.

    Args:
        labels: (B, 224, 320) uint8 object ids.
        least_share: of the object's pixels in its fullest cell.
    Returns:
        (B, 13, 70) float32 of 0 and 1.
    """
    batch = labels.shape[0]
    rows, columns = CELLS_HW
    step = labels.shape[1] // rows
    pixels = labels.view(batch, rows, step, columns, step).transpose(2, 3).reshape(
        batch, rows * columns, -1).long()
    counts = torch.zeros(batch, rows * columns, MAX_OBJECTS + 1)
    counts.scatter_add_(2, pixels, torch.ones_like(pixels, dtype=torch.float32))
    counts = counts.transpose(1, 2)
    most = counts.amax(-1, keepdim=True).clamp(min=1)
    return (counts >= least_share * most).float()
