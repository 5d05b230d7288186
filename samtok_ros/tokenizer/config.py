# SPDX-License-Identifier: Apache-2.0
"""Sizes of a mask tokenizer: the published Hiera-L one and small ones are the same code."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from samtok_ros.errors import CheckpointError, ConfigError

BACKBONE_STRIDE = 16
"""Source pixels of the model input per cell of the image embedding; fixed by Hiera's design."""

CONFIG_FILE = 'mask_tokenizer.json'


@dataclass(frozen=True)
class MaskTokenizerConfig:
    """Numbers that define the network; the defaults are the published `256x2` tokenizer.

    Source: samtok-spec 1.2 (identical to the sam2 package's `sam2.1_hiera_l.yaml`).

    Attributes:
        image_size: side of the square model input, pixels.
        trunk_embed_dim: channels of the first Hiera stage; doubled by each next stage.
        trunk_num_heads: attention heads of the first stage; doubled by each next stage.
        trunk_stages: blocks per stage.
        trunk_global_att_blocks: blocks with global attention; none may open a stage.
        trunk_window_pos_size: side of the background position embedding.
        trunk_window_spec: attention window per stage, cells.
        latent_dim: channels of image embedding, prompts, mask embedding and codebook rows.
        transformer_depth: layers of both two-way transformers.
        transformer_heads: attention heads of both.
        transformer_mlp_dim: hidden width of their feed-forward parts.
        iou_head_dim: hidden width of the head that predicts IoU.
        mask_prompt_channels: hidden channels of the dense mask prompt.
        codebook_size: K, entries per codebook without the padding row.
        codebook_depth: D, residual levels.
        logit_threshold: a pixel belongs to the mask when its logit is above this.
        reads_prompts: whether the decoder was trained to draw what boxes and points show, as
            SAM 2's was.
    """

    image_size: int = 1024
    trunk_embed_dim: int = 144
    trunk_num_heads: int = 2
    trunk_stages: tuple[int, ...] = (2, 6, 36, 4)
    trunk_global_att_blocks: tuple[int, ...] = (23, 33, 43)
    trunk_window_pos_size: tuple[int, int] = (7, 7)
    trunk_window_spec: tuple[int, ...] = (8, 4, 16, 8)
    latent_dim: int = 256
    transformer_depth: int = 2
    transformer_heads: int = 8
    transformer_mlp_dim: int = 2048
    iou_head_dim: int = 256
    mask_prompt_channels: int = 16
    codebook_size: int = 256
    codebook_depth: int = 2
    logit_threshold: float = 0.5
    reads_prompts: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built.

        Raises:
            ConfigError: a size does not divide as the network needs it.
        """
        if len(self.trunk_window_spec) != len(self.trunk_stages):
            raise ConfigError('each stage needs an attention window',
                              expected=f'{len(self.trunk_stages)} windows',
                              got=len(self.trunk_window_spec))
        if self.image_size % (2 * BACKBONE_STRIDE):
            raise ConfigError('image_size does not fit the backbone',
                              expected=f'a multiple of {2 * BACKBONE_STRIDE}', got=self.image_size)
        if self.latent_dim % (8 * self.transformer_heads) and self.latent_dim % 16:
            raise ConfigError('latent_dim does not fit the heads', expected='a multiple of 16',
                              got=self.latent_dim)
        stage_starts = [sum(self.trunk_stages[:i]) for i in range(1, len(self.trunk_stages))]
        clash = sorted(set(stage_starts) & set(self.trunk_global_att_blocks))
        if clash:
            raise ConfigError('a block that opens a stage cannot have global attention', got=clash)

    @property
    def embedding_size(self) -> int:
        """Side of the image embedding, cells."""
        return self.image_size // BACKBONE_STRIDE

    @property
    def low_res_size(self) -> int:
        """Side of the low-res logits and of the dense mask prompt, cells."""
        return 4 * self.embedding_size

    def to_json(self) -> str:
        """Return the file form; `from_json` is its inverse."""
        return json.dumps(dataclasses.asdict(self), indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str) -> 'MaskTokenizerConfig':
        """Read the file form.

        Raises:
            CheckpointError: the text is no JSON object, has unknown keys or values of other types.
            ConfigError: sizes that cannot be built.
        """
        usual = {field.name: field.default for field in dataclasses.fields(cls)}
        try:
            values = json.loads(text)
        except ValueError as error:
            raise CheckpointError(f'{CONFIG_FILE} cannot be read', got=str(error)) from error
        if not isinstance(values, dict):
            raise CheckpointError(f'{CONFIG_FILE} cannot be read', expected='a JSON object',
                                  got=type(values).__name__)
        if unknown := sorted(set(values) - set(usual)):
            raise CheckpointError(f'{CONFIG_FILE} has unknown keys', expected=sorted(usual),
                                  got=unknown)
        values = {key: tuple(value) if isinstance(value, list) else value
                  for key, value in values.items()}
        for key, value in values.items():
            if not _is_like(value, usual[key]):
                raise CheckpointError(f'{CONFIG_FILE}: {key} has a wrong value',
                                      expected=f'one like {usual[key]!r}', got=repr(value))
        return cls(**values)

    @classmethod
    def load(cls, model_dir: Path) -> 'MaskTokenizerConfig':
        """Read it from a model directory; a published directory has none and needs none."""
        path = model_dir / CONFIG_FILE
        return cls.from_json(path.read_text(encoding='utf-8')) if path.exists() else cls()


def _is_like(value: object, usual: object) -> bool:
    """Say whether a value has the type of another one; sizes are 1 or more, indices 0 or more."""
    if isinstance(usual, tuple):
        return isinstance(value, tuple) and all(type(one) is int and one >= 0 for one in value)
    if type(usual) is int:
        return type(value) is int and value >= 1
    # 1 for 1.0 is what JSON writers do; true for 1.0 is none.
    return type(value) in (type(usual), *((int,) if type(usual) is float else ()))
