# SPDX-License-Identifier: Apache-2.0
"""Loads a policy, and draws answers from it outside of the training."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, GenerationConfig

from samtok_ros.errors import ConfigError
from samtok_ros.language.checkpoint import load_model, load_processor
from samtok_ros.reinforcement.policy import Policy
from samtok_ros.words.span_grammar import SpanGrammar
from samtok_ros.words.vocabulary import MaskTokenIds, MaskVocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin


def load_policy(model_dir: Path) -> tuple[Policy, 'ProcessorMixin']:
    """Load a model directory for training.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigError: the model is of another kind than the embedded one.
    """
    processor = load_processor(model_dir)
    config = AutoConfig.from_pretrained(model_dir, local_files_only=True)
    if config.model_type != 'qwen3_vl' or config.vision_config.deepstack_visual_indexes:
        raise ConfigError('this kind of model cannot be trained here',
                          expected='Qwen3-VL without deepstack layers, such as tabletop',
                          got=f'{config.model_type} in {model_dir}',
                          fix='train it with trl itself, on the rewards of reinforcement.rewards')
    processor.tokenizer.padding_side = 'left'
    policy = Policy(config)
    policy.load_state_dict(load_model(model_dir, torch.float32).state_dict())
    policy.generation_config = GenerationConfig.from_pretrained(model_dir)
    policy.grammar = SpanGrammar(
        MaskTokenIds.from_text_tokenizer(processor.tokenizer, MaskVocabulary()))
    # As published: the vision tower stays as it is.
    policy.model.visual.requires_grad_(False)
    return policy, processor


def as_messages(instruction: str, image_rgb: np.ndarray) -> list[dict]:
    """Return the one user turn of a prompt, picture first."""
    picture = {'type': 'image', 'image': Image.fromarray(np.asarray(image_rgb))}
    return [{'role': 'user', 'content': [picture, {'type': 'text', 'text': instruction}]}]


def spoken_texts(tokenizer: 'PreTrainedTokenizerBase', answers: Sequence[Sequence[int]],
                 ) -> list[str]:
    """Return the texts of drawn token ids, up to their end of turn.

    Special tokens stay in: the marks around the phrases of a grounded caption are such.
    """
    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    return [tokenizer.decode(list(takewhile(lambda token: token not in ends, ids)),
                             skip_special_tokens=False) for ids in answers]


@torch.no_grad()
def draw_answers(policy: Policy, processor: 'ProcessorMixin', turns: Sequence[list[dict]],
                 tries: int, most_tokens: int) -> list[list[str]]:
    """Draw answers at temperature 1, or the one greedy answer.

    Args:
        policy: the model.
        processor: its processor.
        turns: N conversations of `as_messages`.
        tries: answers to each; 0 = the greedy one.
        most_tokens: longest answer.
    Returns:
        N lists of answers.
    """
    how = {'temperature': 1.0, 'top_k': 0, 'top_p': 1.0} if tries else {}
    each = max(tries, 1)
    # Repeated here: transformers cannot repeat the pictures of a model without deepstack layers.
    inputs = processor.apply_chat_template(
        [turn for turn in turns for _ in range(each)], add_generation_prompt=True, tokenize=True,
        return_dict=True, return_tensors='pt', processor_kwargs={'padding': True})
    policy.eval()
    written = policy.generate(**inputs.to(policy.device), do_sample=tries > 0,
                              max_new_tokens=most_tokens, **how)
    texts = spoken_texts(processor.tokenizer,
                         written[:, inputs['input_ids'].shape[1]:].tolist())
    return [texts[start:start + each] for start in range(0, len(texts), each)]
