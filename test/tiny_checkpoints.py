# SPDX-License-Identifier: Apache-2.0
"""Tiny checkpoints with random weights, in the file layout in which real ones are published.

Written file by file rather than saved by transformers, whose present layout is another one: shards
with an index, flat and nested configs, weight names of older releases, files of the text tokenizer
as the 4.x releases wrote them, processor settings in `preprocessor_config.json`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing

from samtok_ros.words.vocabulary import MaskVocabulary

_QWEN_MARKERS = (
    '<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|object_ref_start|>', '<|object_ref_end|>',
    '<|vision_start|>', '<|vision_end|>', '<|vision_pad|>', '<|image_pad|>', '<|video_pad|>',
)
_QWEN_WORDS = ('<tool_call>', '</tool_call>')            # added, but not special
_QWEN3_WORDS = (*_QWEN_WORDS, '<think>', '</think>')
_LLAMA_MARKERS = (
    '<|begin_of_text|>', '<|end_of_text|>', '<|image|>', '<|video|>', '<|start_header_id|>',
    '<|end_header_id|>', '<|eot_id|>',
)
_MERGES = (('t', 'h'), ('th', 'e'), ('Ġ', 'the'), ('r', 'e'), ('re', 'd'), ('Ġ', 'm'), ('Ċ', 'Ċ'))
# Cuts words, single digits, signs, line ends and blanks apart, as the published expressions do.
_PIECES = r' ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'

_QWEN_TURNS = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_QWEN_SYSTEM = ("{% if messages[0].role != 'system' %}<|im_start|>system\nYou help with images."
                "<|im_end|>\n{% endif %}")
_LLAMA_TURNS = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nYou help with images.<|eot_id|>"
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{% for part in message.content %}{% if part.type == 'image' %}<|image|>{% endif %}{% endfor %}"
    "{% for part in message.content %}{% if part.type == 'text' %}{{ part.text | trim }}{% endif %}"
    "{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


@dataclass(frozen=True)
class Layout:
    """What a family's directory looks like.

    Attributes:
        markers: special tokens behind the text pieces; their order gives their ids.
        words: ordinary added tokens behind the markers.
        chat_template: of one or several turns.
        tokenizer_class: as in tokenizer_config.json.
        end_of_turn: a marker.
        end_of_text: the other marker that ends an answer; pads too.
    """

    markers: tuple[str, ...]
    words: tuple[str, ...]
    chat_template: str
    tokenizer_class: str
    end_of_turn: str
    end_of_text: str


LAYOUTS = {
    'qwen3_vl': Layout(_QWEN_MARKERS, _QWEN3_WORDS, _QWEN_TURNS, 'Qwen2Tokenizer', '<|im_end|>',
                       '<|endoftext|>'),
    'qwen2_5_vl': Layout(_QWEN_MARKERS, _QWEN_WORDS, _QWEN_SYSTEM + _QWEN_TURNS, 'Qwen2Tokenizer',
                         '<|im_end|>', '<|endoftext|>'),
    'perception_lm': Layout(_LLAMA_MARKERS, (), _LLAMA_TURNS, 'PreTrainedTokenizerFast',
                            '<|eot_id|>', '<|end_of_text|>'),
}


def write_checkpoint(
    directory: Path, family: str, *, tied: bool, with_words: bool = True, seed: int = 0
) -> Path:
    """Write one model directory.

    Args:
        directory: created; its parents too.
        family: a key of LAYOUTS.
        tied: whether the head shares the table of the input embeddings.
        with_words: add the 514 mask words, as SAMTok checkpoints have them; without, it is a base
            model.
        seed: of the weights.
    Returns:
        The directory.
    """
    directory.mkdir(parents=True)
    layout = LAYOUTS[family]
    words = (*layout.words, *(MaskVocabulary().words if with_words else ()))
    ids = _write_text_tokenizer(directory, layout, words)
    # Real tables of base models are padded; those with mask words are as long as the tokenizer.
    rows = len(ids) if with_words else len(ids) + 40
    config = _CONFIGS[family](ids, rows, tied)
    _write_json(directory / 'config.json', config)
    # Models made from Qwen2.5-VL ask for a penalty, which counts without sampling too.
    penalty = {'repetition_penalty': 1.05} if family == 'qwen2_5_vl' else {}
    _write_json(directory / 'generation_config.json', {
        **penalty, 'do_sample': False, 'pad_token_id': ids[layout.end_of_text],
        'eos_token_id': [ids[layout.end_of_turn], ids[layout.end_of_text]]})
    for name, content in _PROCESSORS[family].items():
        _write_json(directory / name, content)
    (directory / 'chat_template.jinja').write_text(layout.chat_template)
    _write_weights(directory, family, seed)
    return directory


def _write_text_tokenizer(directory: Path, layout: Layout, words: tuple[str, ...]) -> dict:
    """Write all files of a byte-level text tokenizer; return the id of every token."""
    vocab = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for first, second in _MERGES:
        vocab[first + second] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(_MERGES)))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(_PIECES), behavior='isolated'),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(m, special=True, normalized=False)
                                  for m in layout.markers])
    tokenizer.add_tokens([AddedToken(w, special=False, normalized=False) for w in words])
    first = layout.markers[0]
    if first == '<|begin_of_text|>':
        tokenizer.post_processor = TemplateProcessing(
            single=f'{first} $A', special_tokens=[(first, tokenizer.token_to_id(first))])
    tokenizer.save(str(directory / 'tokenizer.json'))
    _write_json(directory / 'vocab.json', vocab)
    (directory / 'merges.txt').write_text('\n'.join(map(' '.join, _MERGES)), encoding='utf-8')
    added = {token: tokenizer.token_to_id(token) for token in (*layout.markers, *words)}
    _write_json(directory / 'added_tokens.json', added)
    _write_tokenizer_config(directory, layout, added)
    return {**vocab, **added}


def _write_tokenizer_config(directory: Path, layout: Layout, added: dict[str, int]) -> None:
    flags = {'lstrip': False, 'normalized': False, 'rstrip': False, 'single_word': False}
    config = {
        'added_tokens_decoder': {
            str(i): {'content': token, **flags, 'special': token in layout.markers}
            for token, i in added.items()},
        'clean_up_tokenization_spaces': False,
        'eos_token': layout.end_of_turn,
        'model_max_length': 131072,
        'tokenizer_class': layout.tokenizer_class,
    }
    if layout.markers is _LLAMA_MARKERS:
        config |= {'bos_token': '<|begin_of_text|>', 'pad_token': '<|end_of_text|>',
                   'image_token': '<|image|>', 'video_token': '<|video|>',
                   'extra_special_tokens': {'image_token': '<|image|>',
                                            'video_token': '<|video|>'}}
    else:
        config |= {'pad_token': '<|endoftext|>', 'unk_token': None, 'bos_token': None,
                   'add_prefix_space': False, 'errors': 'replace', 'split_special_tokens': False,
                   'additional_special_tokens': list(_QWEN_MARKERS[1:])}
    _write_json(directory / 'tokenizer_config.json', config)
    _write_json(directory / 'special_tokens_map.json', {
        name: {'content': config[name], **flags}
        for name in ('bos_token', 'eos_token', 'pad_token') if config.get(name)})


def _qwen_ids(ids: dict[str, int]) -> dict[str, int]:
    return {'bos_token_id': ids['<|endoftext|>'], 'eos_token_id': ids['<|im_end|>'],
            'image_token_id': ids['<|image_pad|>'], 'video_token_id': ids['<|video_pad|>'],
            'vision_start_token_id': ids['<|vision_start|>'],
            'vision_end_token_id': ids['<|vision_end|>']}


def _qwen3_config(ids: dict[str, int], rows: int, tied: bool) -> dict:
    """Nested, with the rope settings beside each other, as 4.57 wrote them."""
    return {
        'architectures': ['Qwen3VLForConditionalGeneration'], 'model_type': 'qwen3_vl',
        **_qwen_ids(ids), 'tie_word_embeddings': tied, 'transformers_version': '4.57.1',
        'text_config': {
            'model_type': 'qwen3_vl_text', 'attention_bias': False, 'dtype': 'bfloat16',
            'head_dim': 12, 'hidden_act': 'silu', 'hidden_size': 24, 'intermediate_size': 48,
            'max_position_embeddings': 2048, 'num_attention_heads': 2, 'num_hidden_layers': 3,
            'num_key_value_heads': 1, 'rms_norm_eps': 1e-6, 'rope_theta': 5000000,
            'rope_scaling': {'mrope_interleaved': True, 'mrope_section': [2, 2, 2],
                             'rope_type': 'default'},
            'tie_word_embeddings': tied, 'vocab_size': rows},
        'vision_config': {
            'model_type': 'qwen3_vl', 'deepstack_visual_indexes': [0, 1], 'depth': 2,
            'hidden_act': 'gelu_pytorch_tanh', 'hidden_size': 16, 'in_channels': 3,
            'intermediate_size': 32, 'num_heads': 2, 'num_position_embeddings': 16,
            'out_hidden_size': 24, 'patch_size': 16, 'spatial_merge_size': 2,
            'temporal_patch_size': 2},
    }


def _qwen2_5_config(ids: dict[str, int], rows: int, tied: bool) -> dict:
    """Flat: the sizes of the language model stand beside the names of the vision tower."""
    return {
        'architectures': ['Qwen2_5_VLForConditionalGeneration'], 'model_type': 'qwen2_5_vl',
        **_qwen_ids(ids), 'attention_dropout': 0.0, 'hidden_act': 'silu', 'hidden_size': 32,
        'intermediate_size': 48, 'max_position_embeddings': 2048, 'max_window_layers': 2,
        'num_attention_heads': 2, 'num_hidden_layers': 2, 'num_key_value_heads': 1,
        'rms_norm_eps': 1e-6, 'rope_theta': 1000000.0, 'sliding_window': 1024,
        'rope_scaling': {'type': 'mrope', 'mrope_section': [2, 3, 3]},
        'tie_word_embeddings': tied, 'torch_dtype': 'bfloat16', 'transformers_version': '4.41.2',
        'use_sliding_window': False, 'vocab_size': rows,
        'vision_config': {
            'depth': 2, 'fullatt_block_indexes': [1], 'hidden_act': 'silu', 'hidden_size': 16,
            'in_chans': 3, 'intermediate_size': 24, 'num_heads': 2, 'out_hidden_size': 32,
            'patch_size': 14, 'spatial_merge_size': 2, 'spatial_patch_size': 14,
            'temporal_patch_size': 2, 'tokens_per_second': 2, 'window_size': 56},
    }


def _perception_config(ids: dict[str, int], rows: int, tied: bool) -> dict:
    """A Llama behind a Perception Encoder, which is a model of the timm package."""
    eos = [ids['<|end_of_text|>'], ids['<|eot_id|>']]
    return {
        'architectures': ['PerceptionLMForConditionalGeneration'], 'model_type': 'perception_lm',
        'image_token_id': ids['<|image|>'], 'video_token_id': ids['<|video|>'],
        'projector_pooling_ratio': 2, 'vision_use_cls_token': True,
        'tie_word_embeddings': tied, 'torch_dtype': 'bfloat16', 'transformers_version': '4.54.0',
        'text_config': {
            'model_type': 'llama', 'bos_token_id': ids['<|begin_of_text|>'], 'eos_token_id': eos,
            'head_dim': 16, 'hidden_act': 'silu', 'hidden_size': 32, 'intermediate_size': 48,
            'max_position_embeddings': 11520, 'num_attention_heads': 2, 'num_hidden_layers': 2,
            'num_key_value_heads': 1, 'rms_norm_eps': 1e-5, 'rope_theta': 500000.0,
            'rope_scaling': {'factor': 32.0, 'high_freq_factor': 4.0, 'low_freq_factor': 1.0,
                             'original_max_position_embeddings': 8192, 'rope_type': 'llama3'},
            'tie_word_embeddings': tied, 'vocab_size': rows},
        'vision_config': {
            'model_type': 'timm_wrapper', 'architecture': 'vit_pe_core_large_patch14_336',
            'do_pooling': False, 'global_pool': 'map', 'initializer_range': 0.02,
            'label_names': ['LABEL_0', 'LABEL_1'], 'num_classes': 2, 'num_features': 16,
            'model_args': {
                'depth': 1, 'embed_dim': 16, 'num_heads': 2, 'global_pool': '', 'init_values': 0.1,
                'img_size': [56, 56], 'ref_feat_shape': [4, 4],
                'use_post_transformer_norm': False}},
    }


_CONFIGS = {'qwen3_vl': _qwen3_config, 'qwen2_5_vl': _qwen2_5_config,
            'perception_lm': _perception_config}

_CLIP = {'image_mean': [0.481, 0.458, 0.408], 'image_std': [0.269, 0.261, 0.276]}
_HALF = {'image_mean': [0.5] * 3, 'image_std': [0.5] * 3}
_QWEN3_IMAGES = {'size': {'longest_edge': 77000, 'shortest_edge': 4096}, 'patch_size': 16,
                 'temporal_patch_size': 2, 'merge_size': 2, **_HALF,
                 'processor_class': 'Qwen3VLProcessor'}
_PROCESSORS = {
    'qwen3_vl': {
        'preprocessor_config.json': {
            **_QWEN3_IMAGES, 'image_processor_type': 'Qwen2VLImageProcessorFast'},
        'video_preprocessor_config.json': {
            **_QWEN3_IMAGES, 'video_processor_type': 'Qwen3VLVideoProcessor'}},
    'qwen2_5_vl': {
        'preprocessor_config.json': {
            'min_pixels': 3136, 'max_pixels': 60000, 'patch_size': 14, 'temporal_patch_size': 2,
            'merge_size': 2, **_CLIP, 'image_processor_type': 'Qwen2VLImageProcessor',
            'processor_class': 'Qwen2_5_VLProcessor'}},
    'perception_lm': {
        'preprocessor_config.json': {
            'image_processor_type': 'PerceptionLMImageProcessorFast', 'do_resize': True,
            'do_rescale': True, 'do_normalize': True, **_HALF, 'max_num_tiles': 36,
            'tile_size': 56, 'size': {'height': 56, 'width': 56},
            'vision_input_type': 'thumb+tile', 'processor_class': 'PerceptionLMProcessor'},
        'processor_config.json': {
            'patch_size': 14, 'pooling_ratio': 2, 'processor_class': 'PerceptionLMProcessor'},
        'video_preprocessor_config.json': {
            'video_processor_type': 'PerceptionLMVideoProcessor',
            'size': {'height': 56, 'width': 56}}},
}


def _write_weights(directory: Path, family: str, seed: int) -> None:
    """Write random weights as bfloat16 in three shards, under the names that are published."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(directory))
    weights = {
        _published_name(family, name): _louder(name, tensor).bfloat16()
        for name, tensor in model.state_dict().items()
        if not (name == 'lm_head.weight' and model.config.tie_word_embeddings)}
    names = sorted(weights)
    shards = [names[start::3] for start in range(3)]
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f'model-{number:05d}-of-{len(shards):05d}.safetensors'
        save_file({name: weights[name] for name in shard}, directory / file,
                  metadata={'format': 'pt'})
        weight_map |= dict.fromkeys(shard, file)
    size = sum(tensor.nbytes for tensor in weights.values())
    _write_json(directory / 'model.safetensors.index.json', {
        'metadata': {'total_size': size}, 'weight_map': dict(sorted(weight_map.items()))})


def _louder(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Scale blocks up: as initialised, a model repeats its last token whatever it sees."""
    return tensor * (1 if tensor.ndim < 2 or 'embed_tokens' in name else 8)


def _published_name(family: str, name: str) -> str:
    if family != 'qwen2_5_vl':
        return name
    return name.replace('model.visual.', 'visual.').replace('model.language_model.', 'model.')


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')
