# SPDX-License-Identifier: Apache-2.0
"""The whole way from scenes and a finished mask tokenizer to a vision-language model directory.

Codes of all masks, vision pretraining, fine-tuning, export: each stage goes on where it stopped.
"""

import logging
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from samtok_ros.errors import ConfigError
from samtok_ros.scenes.store import SceneStore
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.training import gradient_sync
from samtok_ros.training.runs import Budget
from samtok_ros.training.scene_images import SceneImages, resize_for_model
from samtok_ros.training.train_vlm import (
    VlmTrainingConfig,
    VlmTrainingData,
    export_vlm,
    train_vlm,
)
from samtok_ros.training.vision_pretraining import VisionPretrainingConfig, pretrain_vision
from samtok_ros.training.vlm_data import VlmDataset, encode_scenes
from samtok_ros.training.vlm_validation import ValidationScenes, validate

logger = logging.getLogger(__name__)

VISION_SHARE = 0.33
"""Share of the time for the vision pretraining, enough for nine of ten shapes to be right."""


@dataclass(frozen=True)
class VlmInputs:
    """Folders that a training reads and writes.

    Attributes:
        scenes: training scenes.
        tokenizer: finished mask tokenizer; its files are copied into the result.
        run_dir: checkpoints and curves; the result is in `out/`.
        validation: held-out scenes for the validation curve, None = none.
        start: finished model that the fine-tuning goes on from, None = from nothing.
    """

    scenes: Path
    tokenizer: Path
    run_dir: Path
    validation: Path | None = None
    start: Path | None = None


@dataclass(frozen=True)
class VlmStagesConfig:
    """Recipe of all stages.

    Attributes:
        vision: of the vision pretraining.
        fine_tuning: of the fine-tuning.
        processes: data-parallel ones for the fine-tuning; one a core on a CPU, 1 on a GPU.
        validation_scenes: how many scenes the validation curve is drawn from.
    """

    vision: VisionPretrainingConfig = field(default_factory=VisionPretrainingConfig)
    fine_tuning: VlmTrainingConfig = field(default_factory=VlmTrainingConfig)
    processes: int = 1
    validation_scenes: int = 40

    def __post_init__(self) -> None:
        """Refuse stages that do not fit together.

        Raises:
            ConfigError: they build different models, or share one GPU between processes.
        """
        if self.vision.vlm != self.fine_tuning.vlm:
            raise ConfigError('vision pretraining and fine-tuning build different models',
                              expected=self.vision.vlm, got=self.fine_tuning.vlm)
        if self.processes > 1 and self.fine_tuning.device != 'cpu':
            raise ConfigError('several processes are for the CPU only', expected=1,
                              got=self.processes)


def recipe(hours: float, device: str = 'cpu', processes: int = 1, seed: int = 0,
           started: bool = False) -> VlmStagesConfig:
    """Share out a time budget over the stages, restarts included.

    Args:
        hours: for both trainings together; encoding the masks comes on top.
        device: 'cpu' or 'cuda'.
        processes: of the fine-tuning.
        seed: of everything random.
        started: from a finished model: the whole time is for the fine-tuning, which begins with
            lower rates and sharper targets.
    """
    vision_s = 0.0 if started else VISION_SHARE * hours * 3600
    fine_tuning = VlmTrainingConfig(budget=Budget(wall_s=hours * 3600 - vision_s), device=device,
                                    seed=seed)
    if started:
        fine_tuning = replace(fine_tuning, lr_matrix=1.2e-3, lr_other=1.2e-3, code_temperature=0.3)
    return VlmStagesConfig(
        VisionPretrainingConfig(budget=Budget(wall_s=vision_s), device=device, seed=seed),
        fine_tuning, processes)


def train_all_stages(inputs: VlmInputs, config: VlmStagesConfig) -> Path:
    """Run every stage that is not finished yet.

    Returns:
        the folder of the finished model, mask tokenizer included.
    Raises:
        SamtokError: scenes, mask tokenizer or a checkpoint cannot be used.
    """
    scenes = SceneStore(inputs.scenes)
    tokenizer = MaskTokenizer.load(inputs.tokenizer, config.fine_tuning.device)
    inputs.run_dir.mkdir(parents=True, exist_ok=True)
    encode_scenes(tokenizer, scenes, _codes_path(inputs),
                  lambda done: logger.info('masks of %d of %d scenes encoded', done, len(scenes)))
    if inputs.start is None:
        pretrain_vision(lambda: SceneStore(inputs.scenes), inputs.run_dir / 'vision',
                        config.vision)
    _fine_tune_in_processes(inputs, config)
    out = inputs.run_dir / 'out'
    export_vlm(inputs.run_dir / 'fine_tuning', out)
    for file in sorted(inputs.tokenizer.glob('mask_tokenizer.*')):
        shutil.copy2(file, out / file.name)
    return out


def _codes_path(inputs: VlmInputs) -> Path:
    return inputs.run_dir / 'codes.npy'


def _fine_tune_in_processes(inputs: VlmInputs, config: VlmStagesConfig) -> None:
    if config.processes == 1:
        _fine_tune(0, inputs, config)
        return
    meeting_file = inputs.run_dir / 'meeting'
    meeting_file.unlink(missing_ok=True)
    torch.multiprocessing.spawn(_fine_tune, (inputs, config), config.processes)


def _fine_tune(rank: int, inputs: VlmInputs, config: VlmStagesConfig) -> None:
    """Fine-tune as one of the processes."""
    if config.processes > 1:
        logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING,
                            format='%(asctime)s %(message)s', datefmt='%H:%M:%S')
        torch.set_num_threads(1)  # one core each; more only wait for each other
        gradient_sync.join_group(rank, config.processes, inputs.run_dir / 'meeting')
    train_vlm(training_data(inputs, config, with_validation=rank == 0),
              inputs.run_dir / 'fine_tuning', config.fine_tuning)


def training_data(inputs: VlmInputs, config: VlmStagesConfig, with_validation: bool,
                  ) -> VlmTrainingData:
    """Open what the earlier stages made."""
    tokenizer = MaskTokenizer.load(inputs.tokenizer)
    codes = np.load(_codes_path(inputs))
    images = SceneImages.prepare(SceneStore(inputs.scenes), inputs.run_dir / 'vision' / 'images')
    scenes = SceneStore(inputs.scenes)
    descriptions = [scenes.description(index) for index in range(len(codes))]
    vision = inputs.run_dir / 'vision' / 'vision.pt'
    check = None
    if with_validation and inputs.validation is not None:
        held_out = validation_scenes(tokenizer, inputs, config)

        def check(learner, writer):
            return validate(learner, writer, held_out, autocast=config.fine_tuning.autocast)

    return VlmTrainingData(
        lambda writer, targets: VlmDataset(images, descriptions, codes, writer, targets),
        codebooks_of(tokenizer), vision if vision.exists() else None, inputs.start, check)


def codebooks_of(tokenizer: MaskTokenizer) -> np.ndarray:
    """Return the codebook rows that codes stand for: (D, K, C) float32."""
    weights = tokenizer.network.state_dict()
    size = tokenizer.config.codebook_size
    return np.stack([weights[f'quantizer.codebooks.{level}.weight'][:size].float().cpu().numpy()
                     for level in range(tokenizer.config.codebook_depth)])


class _FirstScenes:
    """The first scenes of a store."""

    def __init__(self, store: SceneStore, count: int):
        self._store = store
        self._count = min(count, len(store))
        self.rgb, self.segmentation = store.rgb, store.segmentation
        self.description = store.description

    def __len__(self) -> int:
        return self._count


def validation_scenes(tokenizer: MaskTokenizer, inputs: VlmInputs, config: VlmStagesConfig,
                      ) -> ValidationScenes:
    """Load held-out scenes with their true codes, and a way to draw masks on them."""
    scenes = _FirstScenes(SceneStore(inputs.validation), config.validation_scenes)
    codes = encode_scenes(tokenizer, scenes, inputs.run_dir / 'validation_codes.npy')
    features: dict[int, object] = {}

    def decode(index: int, wanted: np.ndarray) -> np.ndarray:
        if index not in features:
            features[index] = tokenizer.embed_image(np.asarray(scenes.rgb(index)))
        return tokenizer.decode(features[index], wanted).masks

    every = range(len(scenes))
    return ValidationScenes(np.stack([resize_for_model(scenes.rgb(index)) for index in every]),
                            [np.asarray(scenes.segmentation(index)) for index in every],
                            [scenes.description(index) for index in every], codes, decode)
