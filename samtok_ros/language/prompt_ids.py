# SPDX-License-Identifier: Apache-2.0
"""Conversation -> token ids, with a clear border between what we write and what users write.

The frame (chat markers, image) comes from the checkpoint's chat template and is tokenised with
markers recognised. Text of users is tokenised as if markers and mask words did not exist, so that
nothing typed into it can act as one. Region references become mask words by their ids, pictures
become images.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from samtok_ros.errors import CheckpointError
from samtok_ros.language.instructions import (
    Instruction,
    Picture,
    Round,
    checked_text,
    joined,
)
from samtok_ros.words.vocabulary import MaskTokenIds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, ProcessorMixin

_PHRASE_MARKS = ('<|object_ref_start|>', '<|object_ref_end|>')


class PromptBuilder:
    """Builds the prompt of a conversation: image, earlier rounds if any, then the instruction."""

    def __init__(self, processor: 'ProcessorMixin', token_ids: MaskTokenIds) -> None:
        """Check the chat template.

        Raises:
            CheckpointError: it does not place one image in front of the first text, or cannot
                show an earlier round.
        """
        self._processor = processor
        self._text_tokenizer = processor.tokenizer
        self._token_ids = token_ids
        self._image_id = processor.image_token_id
        self._frames: dict[int, list[list[int]]] = {}
        for rounds in (0, 1):
            self._check(self._frame(rounds))

    def build(
        self, instruction: Instruction, visual_tokens: int, history: Sequence[Round] = (),
        further: Sequence[int] = (),
    ) -> list[int]:
        """Return the ids of the whole prompt, up to where the answer begins.

        Args:
            instruction: text, region references and pictures.
            visual_tokens: how many the image takes.
            history: earlier rounds about the same image, oldest first.
            further: how many each picture takes, of all instructions in their order.
        Raises:
            ConfigError: a text is no valid Unicode.
            SpanError: codes of a region are not in the vocabulary.
        """
        before, *pieces = self._frame(len(history))
        image_at = self.image_at
        ids = [*before[:image_at], *[self._image_id] * visual_tokens, *before[image_at + 1 :]]
        counts = iter(further)
        for said, piece in zip(self._said(instruction, history, counts), pieces, strict=True):
            ids += said
            ids += piece
        return ids

    def places_of(self, prompt_ids: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Return where the images of a prompt begin, given how many tokens each takes."""
        places, at = [], 0
        for length in lengths:
            at = prompt_ids.index(self._image_id, at)
            places.append(at)
            at += length
        return places

    @cached_property
    def image_at(self) -> int:
        """Tokens in front of the image."""
        return self._frame(0)[0].index(self._image_id)

    def _said(
        self, instruction: Instruction, history: Sequence[Round], counts: Iterator[int],
    ) -> Iterator[list[int]]:
        for one in history:
            yield self._instruction_ids(one.instruction, counts)
            yield self._answer_ids(one.answer)
        yield self._instruction_ids(instruction, counts)

    def _instruction_ids(self, instruction: Instruction, counts: Iterator[int]) -> list[int]:
        ids: list[int] = []
        for part in joined(instruction):
            if isinstance(part, str):
                ids += plain_text_ids(self._text_tokenizer, part)
            elif isinstance(part, Picture):
                before, behind = self._picture_frame
                ids += [*before, *[self._image_id] * next(counts), *behind]
            else:
                ids += self._token_ids.codes_to_ids(part.codes)
        return ids

    def _answer_ids(self, answer: str) -> list[int]:
        """Read an earlier answer: mask words and phrase marks count, markers of the chat do not."""
        ids: list[int] = []
        for index, piece in enumerate(self._answer_words.split(answer)):
            if index % 2:
                ids.append(self._text_tokenizer.convert_tokens_to_ids(piece))
            else:
                ids += plain_text_ids(self._text_tokenizer, piece)
        return ids

    @cached_property
    def _answer_words(self) -> re.Pattern[str]:
        """What a model may write as one token: added words that do not steer the conversation."""
        tokens = self._text_tokenizer.added_tokens_decoder.values()
        words = [t.content for t in tokens if not t.special or t.content in _PHRASE_MARKS]
        return re.compile('({})'.format('|'.join(map(re.escape, words))))

    def _frame(self, rounds: int) -> list[list[int]]:
        """Return what the chat template puts before, between and behind what is said."""
        if rounds not in self._frames:
            self._frames[rounds] = [
                self._text_tokenizer(text, add_special_tokens=False).input_ids
                for text in _frame_texts(self._processor, rounds)]
        return self._frames[rounds]

    @cached_property
    def _picture_frame(self) -> tuple[list[int], list[int]]:
        """What the chat template puts before and behind a picture inside a text.

        A template that shows all images in front of the text puts nothing there; then neither do
        we, and the picture stands where it is spoken of, as in the training data.
        """
        text = _picture_text(self._processor)
        ids = self._text_tokenizer(text, add_special_tokens=False).input_ids
        if ids.count(self._image_id) != 1:
            return [], []
        place = ids.index(self._image_id)
        return ids[:place], ids[place + 1:]

    def _check(self, frame: list[list[int]]) -> None:
        images = [piece.count(self._image_id) for piece in frame]
        if images[0] != 1 or any(images[1:]):
            raise CheckpointError('chat template does not place the image before the text',
                                  expected='one image marker in front of the first text',
                                  got=f'{images} image markers before, between and behind texts',
                                  fix='restore chat_template.jinja of the checkpoint')


def plain_text_ids(text_tokenizer: 'PreTrainedTokenizerFast', text: str) -> list[int]:
    """Tokenise text without recognising any added token, special or not.

    The tokenizer's own switch (`split_special_tokens`) covers special tokens only, and mask words
    are not special; so its stages are called one by one, past the one that finds added tokens. For
    text without markers the ids are those of the ordinary call.

    Raises:
        ConfigError: the text is no valid Unicode.
    """
    checked_text(text, 'text')
    backend = text_tokenizer.backend_tokenizer
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    pieces = [(text, None)]
    if backend.pre_tokenizer is not None:
        pieces = backend.pre_tokenizer.pre_tokenize_str(text)
    return [token.id for piece, _ in pieces for token in backend.model.tokenize(piece)]


def _picture_text(processor: 'ProcessorMixin') -> str:
    """Render a turn with a picture between two placeholders; return what stands between them."""
    before, behind = 'PLACE-0000', 'PLACE-0001'
    content = [{'type': 'image'}, {'type': 'text', 'text': before}, {'type': 'image'},
               {'type': 'text', 'text': behind}]
    text = processor.apply_chat_template([{'role': 'user', 'content': content}], tokenize=False)
    return text.partition(before)[2].partition(behind)[0]


def _frame_texts(processor: 'ProcessorMixin', rounds: int) -> list[str]:
    """Render a conversation of placeholders and cut it at them."""
    places = [f'PLACE-{number:04d}' for number in range(2 * rounds + 1)]
    turns = [{'role': ('user', 'assistant')[number % 2],
              'content': [{'type': 'text', 'text': place}]}
             for number, place in enumerate(places)]
    turns[0]['content'].insert(0, {'type': 'image'})
    try:
        rest = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of the checkpoint
        raise CheckpointError('chat template cannot show a conversation', got=str(error),
                              fix='restore chat_template.jinja of the checkpoint') from error
    texts = []
    for place in places:
        text, found, rest = rest.partition(place)
        if not found:
            raise CheckpointError('chat template drops the text of a turn',
                                  fix='restore chat_template.jinja of the checkpoint')
        texts.append(text)
    return [*texts, rest]
