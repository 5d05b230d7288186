# SPDX-License-Identifier: Apache-2.0
"""Training of a mask tokenizer from scratch on rendered scenes.

Without help a small tokenizer settles on drawing the union of all objects. Two losses that exist in
training only break this: the mask embedding must tell its box, and the learned queries must look
inside the mask. Codebooks are switched on after a third of the run, started by k-means.
"""

import json
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from samtok_ros.tokenizer.checkpoint import save_network
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.training.codebook_training import (
    CodebookTrainingConfig,
    Quantised,
    quantise,
    start_codebooks_,
)
from samtok_ros.training.optim import (
    WeightAverage,
    build_optimizers,
    learning_rate_factor,
    load_optimizer_states_,
    optimizer_states,
    set_learning_rate_,
)
from samtok_ros.training.runs import Budget, RunDirectory
from samtok_ros.training.tokenizer_data import (
    AugmentationConfig,
    MaskBatch,
    MaskSource,
    sample_masks,
)
from samtok_ros.training.tokenizer_losses import (
    CrossAttentionProbe,
    attention_loss,
    candidate_ious,
    mask_losses,
)

logger = logging.getLogger(__name__)

TABLETOP_TOKENIZER = MaskTokenizerConfig(
    image_size=256, trunk_embed_dim=16, trunk_num_heads=1, trunk_stages=(1, 1, 2, 1),
    trunk_global_att_blocks=(3,), trunk_window_pos_size=(8, 8), trunk_window_spec=(8, 4, 8, 4),
    latent_dim=96, transformer_heads=4, transformer_mlp_dim=192, iou_head_dim=96,
)
"""Sizes of the embedded model's mask tokenizer."""

# Decoder tokens: object score, IoU, four masks (the last three are the candidates), two padding
# points, the code.
_DECODER_QUERIES = [3, 4, 5, 8]


@dataclass(frozen=True)
class TokenizerTrainingConfig:
    """Settings of one run.

    Attributes:
        images: per step.
        masks_per_image: at most.
        lr_matrix: peak rate of Muon.
        lr_other: peak rate of AdamW.
        weight_decay: of matrices.
        clip: largest norm of the gradient.
        codebook_start: share of the run after which masks pass through the codebooks.
        box_weight: of the loss that reads the box off the mask embedding.
        attention_weight: of the loss on where queries look.
        commitment_weight: of the pull towards codebook entries.
        score_weight: of the predicted IoU.
        all_candidates: share of the loss that goes to all candidates, not only the best.
        autocast: train the heavy parts in bfloat16; on CUDA. Slower than float32 on the CPUs tried.
        validation_every_s: wall seconds between two validations.
        save_every_s: wall seconds between two checkpoints.
        seed: of everything random.
    """

    images: int = 8
    masks_per_image: int = 4
    lr_matrix: float = 3e-3
    lr_other: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    codebook_start: float = 0.35
    box_weight: float = 5.0
    attention_weight: float = 0.3
    commitment_weight: float = 0.25
    score_weight: float = 0.1
    all_candidates: float = 0.1
    autocast: bool = False
    validation_every_s: float = 240.0
    save_every_s: float = 120.0
    seed: int = 0
    network: MaskTokenizerConfig = TABLETOP_TOKENIZER
    codebooks: CodebookTrainingConfig = field(default_factory=CodebookTrainingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


class TokenizerTrainer:
    """One run; network, heads of the losses, optimisers and counters go into its checkpoint."""

    def __init__(self, config: TokenizerTrainingConfig, device: str = 'cpu') -> None:
        """Build everything anew from the seed."""
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.network = MaskTokenizerNetwork(config.network).to(device)
        nn.init.trunc_normal_(self.network.sam.image_encoder.trunk.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.network.sam.image_encoder.trunk.pos_embed_window, std=0.02)
        self.box_head = nn.Linear(config.network.latent_dim, 4).to(device)
        self.model = nn.ModuleDict({'network': self.network, 'box_head': self.box_head})
        self.optimizers = build_optimizers(self.model, config.lr_matrix, config.lr_other,
                                           config.weight_decay)
        self.average = WeightAverage(self.network)
        self.rng = np.random.default_rng(config.seed)
        self.recent: deque[torch.Tensor] = deque(maxlen=100)
        self.quantising = False
        self.step = 0
        sam = self.network.sam
        self._encoder_probe = CrossAttentionProbe(_cross_attentions(sam.sam_mask_encoder))
        self._decoder_probe = CrossAttentionProbe(_cross_attentions(sam.sam_mask_decoder))

    def train_step(self, batch: MaskBatch, progress: float) -> dict[str, float]:
        """Take one step.

        Args:
            batch: on any device.
            progress: share of the run that is over, 0..1.
        Returns:
            Values for the curves.
        """
        batch = batch.to(self.device)
        set_learning_rate_(self.optimizers, learning_rate_factor(progress))
        if progress >= self.config.codebook_start and not self.quantising and self.recent:
            start_codebooks_(self.network.quantizer, torch.cat(list(self.recent)),
                             self.config.seed)
            self.quantising = True
        self.network.train()
        loss, values = self._losses(batch)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.network)
        self.step += 1
        return values

    def _losses(self, batch: MaskBatch) -> tuple[torch.Tensor, dict[str, float]]:
        config, sam = self.config, self.network.sam
        with torch.autocast(torch.device(self.device).type, torch.bfloat16,
                            enabled=config.autocast):
            features = sam.embed_image(batch.pixels).for_regions(batch.image_index)
            embeddings = sam.embed_masks(features, batch.prompts, batch.box_unit)
        quantised = self._quantise(embeddings.float())
        with torch.autocast(torch.device(self.device).type, torch.bfloat16,
                            enabled=config.autocast):
            candidates = sam.decode_embeddings(features, quantised.embeddings)
        losses = mask_losses(candidates, batch.targets, config.network.logit_threshold)
        best = losses.min(dim=1).values.mean()
        ious = candidate_ious(candidates, batch.targets, config.network.logit_threshold)
        score = F.mse_loss(candidates.scores, ious)
        box = F.smooth_l1_loss(self.box_head(embeddings.float()), batch.box_unit, beta=0.05)
        inside = F.adaptive_max_pool2d(batch.targets, features.embedding.shape[-1]).flatten(1)
        attention = (attention_loss(self._encoder_probe.mass_inside(inside, [0]))
                     + attention_loss(self._decoder_probe.mass_inside(inside, _DECODER_QUERIES)))
        loss = ((1 - config.all_candidates) * best + config.all_candidates * losses.mean()
                + config.score_weight * score + config.box_weight * box
                + config.attention_weight * attention
                + config.commitment_weight * quantised.commitment)
        chosen = ious.gather(1, candidates.scores.argmax(dim=1, keepdim=True))
        return loss, {
            'loss': loss.item(), 'mask_loss': best.item(), 'iou': chosen.mean().item(),
            'iou_best': ious.max(dim=1).values.mean().item(), 'box': box.item(),
            'attention': attention.item(), 'commitment': quantised.commitment.item(),
        }

    def _quantise(self, embeddings: torch.Tensor) -> Quantised:
        if self.quantising:
            return quantise(self.network.quantizer, embeddings, self.config.codebooks, self.rng)
        self.recent.append(embeddings.detach().cpu())
        return Quantised(embeddings, embeddings.new_zeros(()),
                         embeddings.new_zeros((len(embeddings), 0)))

    def averaged_network(self) -> MaskTokenizerNetwork:
        """Return a copy with averaged weights and the present codebooks, in eval mode."""
        network = MaskTokenizerNetwork(self.config.network)
        weights = dict(self.average.weights)
        # Rows are running averages already; averaged once more they would lag behind.
        weights.update({name: value for name, value in self.network.state_dict().items()
                        if name.startswith('quantizer.')})
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)

    def state(self) -> dict[str, object]:
        """Return everything a resumed run needs."""
        return {'model': self.model.state_dict(), **self.average.state(),
                'optimizers': optimizer_states(self.optimizers),
                'rng': self.rng.bit_generator.state, 'recent': list(self.recent),
                'quantising': self.quantising, 'step': self.step}

    def load_state_(self, state: dict) -> None:
        """Continue where `state` was taken."""
        self.model.load_state_dict(state['model'])
        self.average.load_state_(state)
        load_optimizer_states_(self.optimizers, state['optimizers'])
        self.rng.bit_generator.state = state['rng']
        self.recent.extend(state['recent'])
        self.quantising, self.step = state['quantising'], state['step']


def _cross_attentions(part: nn.Module) -> list[nn.Module]:
    """Return the attentions from queries to image of a mask encoder or mask decoder."""
    transformer = part.transformer
    return [layer.cross_attn_token_to_image for layer in transformer.layers[1:]] + [
        transformer.final_attn_token_to_image]


def reconstruction_ious(
    tokenizer: MaskTokenizer, source: MaskSource, indices: list[int], least_area: float = 0.003,
) -> np.ndarray:
    """Return the IoU of every mask with what comes back from its codes, at source resolution."""
    result = []
    for index in indices:
        ids = source.segmentation(index)
        areas = np.bincount(ids.ravel(), minlength=2)
        areas[0] = 0
        present = np.flatnonzero(areas >= least_area * ids.size)
        masks = ids[None] == present[:, None, None].astype(ids.dtype)
        features = tokenizer.embed_image(source.rgb(index))
        drawn = tokenizer.decode(features, tokenizer.encode(features, masks)).masks
        overlap = (drawn & masks).sum(axis=(1, 2))
        result.append(overlap / (drawn | masks).sum(axis=(1, 2)))
    return np.concatenate(result)


def train_tokenizer(
    source: MaskSource, validation: MaskSource | None, run: RunDirectory, budget: Budget,
    config: TokenizerTrainingConfig, device: str = 'cpu',
    should_stop: Callable[[int], bool] = lambda step: False,
) -> Path:
    """Train until the budget is used, resuming from the run directory.

    Args:
        source: training scenes; may grow meanwhile.
        validation: scenes for the curve, None for none.
        run: where checkpoints and curves go.
        budget: its end is the end of the learning-rate decay.
        config: the settings.
        device: a torch device.
        should_stop: asked before each step; ends the run early, with a checkpoint.
    Returns:
        The directory with the exported mask tokenizer.
    """
    trainer = TokenizerTrainer(config, device)
    state = run.load()
    if state is not None:
        trainer.load_state_(state)
        logger.info('resumed at step %d', trainer.step)
    saved_s = validated_s = run.wall_s
    while run.progress(budget) < 1.0 and not should_stop(trainer.step):
        batch = sample_masks(source, config.network, trainer.rng, config.images,
                             config.masks_per_image, config.augmentation)
        values = trainer.train_step(batch, run.progress(budget))
        if trainer.step % 20 == 0:
            run.log(trainer.step, **values)
        if run.wall_s - saved_s > config.save_every_s:
            saved_s = run.wall_s
            run.save(trainer.state())
        if run.wall_s - validated_s > config.validation_every_s:
            validated_s = run.wall_s
            _export(trainer, run, validation)
    run.save(trainer.state())
    (run.path / 'config.json').write_text(json.dumps(asdict(config), indent=2) + '\n',
                                          encoding='utf-8')
    return _export(trainer, run, validation)


def _export(trainer: TokenizerTrainer, run: RunDirectory, validation: MaskSource | None) -> Path:
    """Write the averaged network and, once codebooks are in use, log how well masks survive."""
    network = trainer.averaged_network()
    out = run.path / 'model'
    save_network(network, out)
    if validation is not None and trainer.quantising:
        tokenizer = MaskTokenizer(network, 'validation', trainer.device)
        ious = reconstruction_ious(tokenizer, validation, list(range(min(60, len(validation)))))
        run.log(trainer.step, val_miou=float(ious.mean()), val_iou50=float((ious > 0.5).mean()))
    return out
