# SPDX-License-Identifier: Apache-2.0
"""What is measured: models of one size on one device, loaded once for all sides."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from samtok_ros.evaluation.synthetic_network import HIERA_LARGE, synthetic_weight
from samtok_ros.language.tiny_vlm import TinyVlmConfig, processor_for
from samtok_ros.language.vlm import DTYPES, VisionLanguageModel
from samtok_ros.model_directory import (
    EMBEDDED_MODEL,
    model_name,
    resolve_model,
    split_tokenizer_id,
)
from samtok_ros.recording import Recorder
from samtok_ros.runtime.backend import MaskModel
from samtok_ros.tokenizer.checkpoint import load_network, tokenizer_id
from samtok_ros.tokenizer.config import MaskTokenizerConfig
from samtok_ros.tokenizer.mask_tokenizer import MaskTokenizer
from samtok_ros.tokenizer.network import MaskTokenizerNetwork
from samtok_ros.tokenizer.video_memory import add_video_memory_
from samtok_ros.words.vocabulary import MaskVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin, Qwen3VLConfig

SIZES = ('tabletop', 'hiera-l')
LANGUAGES = ('auto', 'none', 'random-4b')

# What the published processors allow.
_PUBLISHED_PIXELS = {'min_pixels': 256 * 256, 'max_pixels': 4096 * 4096}


@dataclass(frozen=True)
class Language:
    """A vision-language model, wrapped by both sides.

    Attributes:
        name: for the report.
        model, processor: of transformers.
        ours: the same model, wrapped by this package.
        dtype: number format of its weights.
    """

    name: str
    model: 'PreTrainedModel'
    processor: 'ProcessorMixin'
    ours: VisionLanguageModel
    dtype: str


@dataclass(frozen=True)
class Subject:
    """All that is measured in one run.

    Attributes:
        masks_name: of the mask tokenizer.
        network: its weights, for the published way.
        masks: the same, for ours.
        language: None where only masks are measured.
        device: of all of them.
        dtype: of the mask tokenizer on our side. Where it is a short one the published side is in
            bfloat16 on a GPU, by autocast; weights stay in float32.
        video_memory: the mask tokenizer has SAM2's memory, which is timed too.
    """

    masks_name: str
    network: MaskTokenizerNetwork
    masks: MaskModel
    language: Language | None
    device: str
    dtype: str
    video_memory: bool = False

    @property
    def vocabulary(self) -> MaskVocabulary:
        """Mask words of the model."""
        config = self.network.config
        return MaskVocabulary(config.codebook_size, config.codebook_depth)


def load_subject(
    size: str, language: str, device: str, dtype: str, export_dir: Path | None = None,
    recorder: Recorder | None = None,
) -> Subject:
    """Load or make everything.

    Args:
        size: one of SIZES.
        language: one of LANGUAGES; auto is the one of `tabletop` beside its own mask tokenizer,
            and random weights of published size beside the large one on a GPU.
        device: a torch device.
        dtype: 'float32' or 'bfloat16'; the language model of published size is in bfloat16 always,
            as it is published.
        export_dir: exported mask tokenizer that runs on our side instead of torch, in the number
            format of its files; its weights must be those of `size`, which the comparison finds
            out.
        recorder: of the device, to record our side with.
    Raises:
        CheckpointError: a model is missing or damaged.
        DeviceError: the device is not there or too small.
    """
    # On a CPU one step of the memory takes as long as all other figures together.
    video_memory = size != 'tabletop' and device != 'cpu' and export_dir is None
    if size == 'tabletop':
        model_dir = resolve_model(EMBEDDED_MODEL)
        network, identity = load_network(model_dir), tokenizer_id(model_dir)
    else:
        network, identity = synthetic_network(HIERA_LARGE, video_memory), 'hiera-l@synthetic'
    if export_dir is None:
        masks, masks_dtype = MaskTokenizer(network, identity, device, dtype, recorder), dtype
    else:
        network = MaskTokenizer(network, identity, device).network  # on the device
        masks, masks_dtype = _onnx_masks(export_dir, device)
    vocabulary = MaskVocabulary(network.config.codebook_size, network.config.codebook_depth)
    return Subject(split_tokenizer_id(identity)[0], network, masks,
                   _language(size, language, device, dtype, vocabulary, recorder), device,
                   masks_dtype, video_memory)


def synthetic_network(
    config: MaskTokenizerConfig, video_memory: bool = False,
) -> MaskTokenizerNetwork:
    """Build a mask tokenizer whose every weight follows from its name.

    Args:
        config: sizes.
        video_memory: with SAM2's memory.
    """
    network = MaskTokenizerNetwork(config)
    if video_memory:
        add_video_memory_(network.sam, config)
    network.load_state_dict({
        name: torch.from_numpy(synthetic_weight(name, tuple(value.shape)))
        for name, value in network.state_dict().items()})
    return network.eval().requires_grad_(False)


def random_language(
    config: 'Qwen3VLConfig', processor: 'ProcessorMixin', name: str, device: str, dtype: str,
    vocabulary: MaskVocabulary, recorder: Recorder | None = None,
) -> Language:
    """Make a vision-language model with random weights, on the device from the start.

    Args:
        config: its sizes; the tokens of the processor must fit its vocabulary.
        processor: of any model of the same family.
        name: for the report.
        device: a torch device.
        dtype: 'float32' or 'bfloat16'.
        vocabulary: mask words of the processor.
        recorder: of the device, to record our side with.
    """
    from transformers import Qwen3VLForConditionalGeneration

    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])
    try:
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(0)
            model = Qwen3VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model = model.eval().requires_grad_(False)
    ours = VisionLanguageModel(model, processor, device, vocabulary, recorder)
    return Language(name, model, processor, ours, dtype)


def published_4b_config(text_tokenizer) -> 'Qwen3VLConfig':
    """Spell out Qwen3-VL-4B with the marker tokens of another text tokenizer.

    Source: the published configuration of that model; 4.4 billion weights.
    """
    from transformers import Qwen3VLConfig

    ids = text_tokenizer.convert_tokens_to_ids
    text = {
        'vocab_size': 151936, 'hidden_size': 2560, 'intermediate_size': 9728,
        'num_hidden_layers': 36, 'num_attention_heads': 32, 'num_key_value_heads': 8,
        'head_dim': 128, 'max_position_embeddings': 262144, 'tie_word_embeddings': True,
        'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e6,
                            'mrope_section': [24, 20, 20], 'mrope_interleaved': True}}
    vision = {
        'depth': 24, 'hidden_size': 1024, 'intermediate_size': 4096, 'num_heads': 16,
        'out_hidden_size': 2560, 'patch_size': 16, 'spatial_merge_size': 2,
        'temporal_patch_size': 1, 'num_position_embeddings': 2304,
        'deepstack_visual_indexes': [5, 11, 17]}
    return Qwen3VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=True,
        image_token_id=ids('<|image_pad|>'), video_token_id=ids('<|video_pad|>'),
        vision_start_token_id=ids('<|vision_start|>'), vision_end_token_id=ids('<|vision_end|>'))


def _language(size: str, language: str, device: str, dtype: str, vocabulary: MaskVocabulary,
              recorder: Recorder | None) -> Language | None:
    if language == 'auto':
        if size == 'tabletop':
            return _embedded_language(device, dtype, vocabulary, recorder)
        return None if device == 'cpu' else _random_4b(device, vocabulary, recorder)
    return _random_4b(device, vocabulary, recorder) if language == 'random-4b' else None


def _embedded_language(device: str, dtype: str, vocabulary: MaskVocabulary,
                       recorder: Recorder | None) -> Language:
    from samtok_ros.language.checkpoint import load_model, load_processor

    model_dir = resolve_model(EMBEDDED_MODEL)
    model, processor = load_model(model_dir, DTYPES[dtype]), load_processor(model_dir)
    ours = VisionLanguageModel(model, processor, device, vocabulary, recorder)
    return Language(model_name(model_dir), model, processor, ours, dtype)


def _random_4b(device: str, vocabulary: MaskVocabulary, recorder: Recorder | None) -> Language:
    """Qwen3-VL-4B with random weights and the small text tokenizer of the embedded model."""
    from samtok_ros.language.checkpoint import load_processor

    text_tokenizer = load_processor(resolve_model(EMBEDDED_MODEL)).tokenizer
    processor = processor_for(TinyVlmConfig(**_PUBLISHED_PIXELS), text_tokenizer)
    return random_language(published_4b_config(text_tokenizer), processor,
                           'Qwen3-VL-4B, random weights', device, 'bfloat16', vocabulary, recorder)


def _onnx_masks(export_dir: Path, device: str) -> tuple[MaskModel, str]:
    """Open an export; return it with its number format."""
    from samtok_ros.onnx.load import OnnxSettings, load_onnx

    loaded = load_onnx(export_dir, OnnxSettings(device=device))
    return loaded.model, loaded.facts['precision']
