# SPDX-License-Identifier: Apache-2.0
"""Builds the directory of a small, untrained Qwen3-VL: sizes, text tokenizer, processor, weights.

The result loads through the same classes as a published checkpoint:

    build_tiny_vlm(out_dir, texts, TinyVlmConfig(), seed=0)
    processor = AutoProcessor.from_pretrained(out_dir, local_files_only=True)
    model = AutoModelForImageTextToText.from_pretrained(out_dir, local_files_only=True)

Inside (B images of P patches each, V = P / 4 visual tokens, T tokens, hidden sizes C):

    pixels = processor.image_processor(images=[rgb], return_tensors='pt')
        # pixel_values (B * P, 3 * 16 * 16) float32 in -1..1, image_grid_thw (B, 3) in patches;
        # patches come in 2 x 2 blocks: row by row of blocks, inside a block row by row
    tower = model.model.visual(pixel_values, grid_thw=image_grid_thw)
        # .last_hidden_state (B * P, C_vision), same patch order; .pooler_output (B * V, C_text)
    features = model.model.get_image_features(pixel_values, image_grid_thw).pooler_output
        # tuple of B tensors (V, C_text), visual tokens row by row
    embeddings = model.get_input_embeddings()(token_ids)     # (B, T, C_text)
        # put the visual tokens in place of the <|image_pad|> positions
    hidden = model.model.language_model(inputs_embeds=embeddings, attention_mask=mask,
                                        position_ids=positions).last_hidden_state
        # mask (B, 1, T, T) bool, True = may attend ('sdpa') or additive float ('eager');
        # positions (3, B, T) int64, see positions.py
    logits = model.lm_head(hidden)                           # tied to the input embeddings

The temporal patch size is 1: the published models stack every still image twice to fill their
patch of two frames, which would double the patch embedding for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtok_ros.errors import ConfigError
from samtok_ros.language.text_tokenizer import CHAT_MARKERS, END_OF_TURN, train_text_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3VLConfig, Qwen3VLProcessor
    from transformers.models.qwen3_vl import Qwen3VLVisionConfig

# Turns as the Qwen models write them; images stand for one marker triple, which the processor
# widens to the number of visual tokens. No system turn is added.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif part['type'] == 'text' -%}{{- part['text'] -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class TinyVlmConfig:
    """Sizes of the small model; the defaults are those of `tabletop`.

    Attributes:
        vision_depth: transformer blocks of the vision tower.
        vision_hidden: width of the vision tower.
        vision_intermediate: width inside its feed-forward blocks.
        vision_heads: attention heads of the vision tower.
        position_grid: learned positions on each side of a square, interpolated to the image.
        text_layers: layers of the language model.
        text_hidden: width of the language model.
        text_intermediate: width inside its feed-forward blocks.
        text_heads: attention heads, each with its own keys and values.
        head_dim: width of one text head; a multiple of 6, to share out over three axes.
        text_pieces: byte and BPE entries to aim for, before markers and mask words.
        max_positions: longest text the model is laid out for, in tokens.
        min_pixels: images with fewer pixels are enlarged.
        max_pixels: images with more pixels are shrunk.
    """

    vision_depth: int = 4
    vision_hidden: int = 192
    vision_intermediate: int = 768
    vision_heads: int = 4
    position_grid: int = 16
    text_layers: int = 6
    text_hidden: int = 192
    text_intermediate: int = 512
    text_heads: int = 4
    head_dim: int = 48
    text_pieces: int = 640
    max_positions: int = 4096
    min_pixels: int = 50000
    max_pixels: int = 77000

    def __post_init__(self) -> None:
        """Refuse sizes that the architecture cannot have.

        Raises:
            ConfigError: heads do not divide a width, or the head cannot be shared by three axes.
        """
        if self.vision_hidden % (4 * self.vision_heads):
            raise ConfigError('vision heads do not fit the vision width',
                              expected=f'a multiple of {4 * self.vision_heads}',
                              got=self.vision_hidden, fix='change vision_hidden')
        if self.head_dim % 6:
            raise ConfigError('text head cannot be shared by time, row and column',
                              expected='a multiple of 6', got=self.head_dim, fix='change head_dim')


PATCH_SIZE = 16
MERGE_SIZE = 2
TEMPORAL_PATCH_SIZE = 1


def build_tiny_vlm(
    out_dir: Path, texts: Iterable[str], config: TinyVlmConfig | None = None, seed: int = 0
) -> None:
    """Write a model directory with random weights and a text tokenizer trained on `texts`.

    Same texts, sizes and seed give the same files; the caller's random state is left alone.

    Args:
        out_dir: directory to write to; created, files in it replaced.
        texts: sample questions and answers, with their exact layout.
        config: sizes.
        seed: seed of the random weights.
    Raises:
        ConfigError: the sizes do not fit together.
    """
    import torch
    from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

    config = config or TinyVlmConfig()
    text_tokenizer = train_text_tokenizer(texts, config.text_pieces)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(model_config_for(config, text_tokenizer))
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=text_tokenizer.convert_tokens_to_ids(END_OF_TURN),
        pad_token_id=text_tokenizer.pad_token_id,
    )
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out_dir)
    processor_for(config, text_tokenizer).save_pretrained(out_dir)


def vision_config_for(config: TinyVlmConfig) -> 'Qwen3VLVisionConfig':
    """Spell out the vision tower, which does not depend on the text tokenizer."""
    from transformers.models.qwen3_vl import Qwen3VLVisionConfig

    return Qwen3VLVisionConfig(
        depth=config.vision_depth,
        hidden_size=config.vision_hidden,
        intermediate_size=config.vision_intermediate,
        num_heads=config.vision_heads,
        patch_size=PATCH_SIZE,
        spatial_merge_size=MERGE_SIZE,
        temporal_patch_size=TEMPORAL_PATCH_SIZE,
        out_hidden_size=config.text_hidden,
        num_position_embeddings=config.position_grid**2,
        deepstack_visual_indexes=[],
    )


def model_config_for(
    config: TinyVlmConfig, text_tokenizer: 'PreTrainedTokenizerFast'
) -> 'Qwen3VLConfig':
    """Spell out the Qwen3-VL configuration for these sizes and this tokenizer."""
    from transformers import Qwen3VLConfig

    third = config.head_dim // 6
    ids = dict(zip(CHAT_MARKERS, text_tokenizer.convert_tokens_to_ids(list(CHAT_MARKERS)),
                   strict=True))
    text = {
        'vocab_size': len(text_tokenizer),
        'hidden_size': config.text_hidden,
        'intermediate_size': config.text_intermediate,
        'num_hidden_layers': config.text_layers,
        'num_attention_heads': config.text_heads,
        'num_key_value_heads': config.text_heads,
        'head_dim': config.head_dim,
        'max_position_embeddings': config.max_positions,
        'tie_word_embeddings': True,
        'rope_parameters': {'rope_type': 'default', 'rope_theta': 1e4,
                            'mrope_section': [third] * 3, 'mrope_interleaved': True},
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision_config_for(config),
        tie_word_embeddings=True,
        image_token_id=ids['<|image_pad|>'],
        video_token_id=ids['<|video_pad|>'],
        vision_start_token_id=ids['<|vision_start|>'],
        vision_end_token_id=ids['<|vision_end|>'],
    )


def processor_for(
    config: TinyVlmConfig, text_tokenizer: 'PreTrainedTokenizerFast'
) -> 'Qwen3VLProcessor':
    """Join image processor, text tokenizer and chat template, as AutoProcessor expects them."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    patches = {
        'patch_size': PATCH_SIZE,
        'merge_size': MERGE_SIZE,
        'temporal_patch_size': TEMPORAL_PATCH_SIZE,
        'size': {'shortest_edge': config.min_pixels, 'longest_edge': config.max_pixels},
        'image_mean': [0.5] * 3,
        'image_std': [0.5] * 3,
    }
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches),
        tokenizer=text_tokenizer,
        video_processor=Qwen3VLVideoProcessor(**patches),  # the class asks for one; never used
        chat_template=CHAT_TEMPLATE,
    )
