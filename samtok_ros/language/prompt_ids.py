# SPDX-License-Identifier: Apache-2.0
"""Instruction -> token ids, with a clear border between what we write and what users write.

The frame (chat markers, image) comes from the checkpoint's chat template and is tokenised with
markers recognised. Text inside is tokenised as if markers and mask words did not exist, so that
nothing typed into it can act as one. Region references become mask words by their ids.
"""

from typing import TYPE_CHECKING

from samtok_ros.errors import CheckpointError
from samtok_ros.language.instructions import Instruction, checked_text, joined
from samtok_ros.words.vocabulary import MaskTokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, ProcessorMixin

_PLACEHOLDER = 'INSTRUCTION'


class PromptBuilder:
    """Builds the prompt of one user turn: image, then instruction."""

    def __init__(self, processor: 'ProcessorMixin', token_ids: MaskTokenIds) -> None:
        """Work out the frame once.

        Raises:
            CheckpointError: the chat template does not place one image and one text.
        """
        self._text_tokenizer = processor.tokenizer
        self._token_ids = token_ids
        self._image_id = processor.image_token_id
        before, after = _frame(processor)
        self._before, self._after = (
            self._text_tokenizer(text, add_special_tokens=False).input_ids
            for text in (before, after))
        if self._before.count(self._image_id) != 1 or self._image_id in self._after:
            raise CheckpointError('chat template does not place the image before the text',
                                  expected='one image marker in front of the text',
                                  got=repr(before),
                                  fix='restore chat_template.jinja of the checkpoint')

    def build(self, instruction: Instruction, visual_tokens: int) -> list[int]:
        """Return the ids of the whole prompt, up to where the answer begins.

        Args:
            instruction: text and region references.
            visual_tokens: how many the image takes.
        Raises:
            ConfigError: a text is no valid Unicode.
            SpanError: codes of a region are not in the vocabulary.
        """
        image_at = self._before.index(self._image_id)
        ids = [*self._before[:image_at], *[self._image_id] * visual_tokens,
               *self._before[image_at + 1 :]]
        for part in joined(instruction):
            if isinstance(part, str):
                ids.extend(plain_text_ids(self._text_tokenizer, part))
            else:
                ids.extend(self._token_ids.codes_to_ids(part.codes))
        return [*ids, *self._after]


def plain_text_ids(text_tokenizer: 'PreTrainedTokenizerFast', text: str) -> list[int]:
    """Tokenise text without recognising any added token, special or not.

    The tokenizer's own switch (`split_special_tokens`) covers special tokens only, and mask words
    are not special; so its stages are called one by one, past the one that finds added tokens. For
    text without markers the ids are those of the ordinary call.

    Raises:
        ConfigError: the text is no valid Unicode.
    """
    checked_text(text, 'instruction')
    backend = text_tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    pieces = [(text, None)]
    if backend.pre_tokenizer is not None:
        pieces = backend.pre_tokenizer.pre_tokenize_str(text)
    return [token.id for piece, _ in pieces for token in backend.model.tokenize(piece)]


def _frame(processor: 'ProcessorMixin') -> tuple[str, str]:
    """Return what the chat template puts before and behind the instruction."""
    turn = [{'role': 'user', 'content': [{'type': 'image'},
                                         {'type': 'text', 'text': _PLACEHOLDER}]}]
    text = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    before, found, after = text.partition(_PLACEHOLDER)
    if not found:
        raise CheckpointError('chat template drops the text of the user',
                              fix='restore chat_template.jinja of the checkpoint')
    return before, after
